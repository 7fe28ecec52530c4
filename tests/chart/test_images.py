"""What can be known of the container images without building them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serving.stack.process import CALM_THREADS
from tests.chart.dockerfiles import Ignore, arguments, bases, copied, expanded, instructions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
SERVING = ROOT / "serving" / "Dockerfile"
LOCKS = ROOT / "serving" / "locks"
TRITON = ROOT / "triton" / "Dockerfile"
PROJECT = "facenet-serving"
# (Dockerfile, its build context)
IMAGES = [
    pytest.param(SERVING, ROOT, id="serving"),
    pytest.param(TRITON, ROOT / "triton", id="triton"),
]
# In the folder of the package, and no part of it.
BUILD_FILES = {
    "Dockerfile",
    "requirements.lock",
    "torch.lock",
    "torch-cuda.lock",
    "torch-cpu.txt",
}
# Modules that are not for the image, or of a command that says what to install.
WITH_AN_EXTRA = {
    "serving.operations.batch.parquet": "pyarrow",
    "serving.operations.tensor_files": "torch",
    **{f"serving.stack.{name}": "trustme" for name in ("run", "s3", "serve", "tls")},
    "serving.torchscript": "torch",
    "serving.vision.mtcnn.convert": "torch",
}
# As if only the distributions of its arguments were installed, imports every module of the package;
# prints those that cannot be, and what each lacks.
IMPORT_ALL = """
import importlib, pkgutil, sys
from importlib.metadata import packages_distributions
from pathlib import Path

import ray, serving

brought = {path.stem for path in (Path(ray.__file__).parent / "thirdparty_files").glob("*")}

def is_absent(names):
    return not any(name.lower().replace("_", "-").replace(".", "-") in sys.argv for name in names)

absent = {package for package, names in packages_distributions().items() if is_absent(names)}
absent -= {"serving", *brought}

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Absent)
for module in pkgutil.walk_packages(serving.__path__, "serving."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            print(module.name, error.name)
"""


@pytest.mark.parametrize(("dockerfile", "context"), IMAGES)
def test_the_builder_gets_every_source(dockerfile: Path, context: Path) -> None:
    ignore = Ignore.read(context / ".dockerignore")
    sources = copied(dockerfile)
    assert sources
    for source in sources:
        assert (context / source).exists(), f"{source} is not there"
        assert list(ignore.files(context, source)), f"{source} is ignored"


def test_the_builder_gets_the_whole_package() -> None:
    ignore = Ignore.read(ROOT / ".dockerignore")
    package = set((ROOT / "serving").rglob("*.py"))
    assert package == {p for p in ignore.files(ROOT, "serving") if p.suffix == ".py"}


def test_nothing_else_gets_to_the_builder() -> None:
    """Keys, what was enrolled, and gigabytes of environment."""
    ignore = Ignore.read(ROOT / ".dockerignore")
    for path in (".run/s3.json", ".git/config", ".venv/bin/python", ".env", "tests/__init__.py"):
        assert ignore.ignores(path), path
    # The image traces its own model; what was measured of it is taken over from its card.
    assert {path.name for path in ignore.files(ROOT, "triton/models")} == {"model.json"}


def test_the_last_matching_line_of_dockerignore_decides(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("*\n!kept\nkept/*.tmp\n**/cache\n")
    ignore = Ignore.read(tmp_path / ".dockerignore")
    assert [ignore.ignores(p) for p in ("other", "kept/a", "kept/a.tmp", "kept/b/a.tmp")] == [
        True,
        False,
        True,
        False,
    ]
    assert ignore.ignores("kept/b/cache/file")


@pytest.mark.parametrize(("dockerfile", "context"), IMAGES)
def test_bases_are_pinned(dockerfile: Path, context: Path) -> None:
    assert bases(dockerfile)
    for base in bases(dockerfile):
        assert re.search(r"(:[\w.-]*\d[\w.-]*|@sha256:[0-9a-f]{64})$", base), base


@pytest.mark.parametrize(("dockerfile", "context"), IMAGES)
def test_the_user_is_a_number_and_not_root(dockerfile: Path, context: Path) -> None:
    names = [i.name for i in instructions(dockerfile)]
    last_stage = instructions(dockerfile)[len(names) - names[::-1].index("FROM") :]
    (user,) = (i.rest for i in last_stage if i.name == "USER")
    assert re.fullmatch(r"[1-9]\d*(:\d+)?", user)
    # Whatever comes after it writes as this user.
    assert {i.name for i in last_stage[[i.name for i in last_stage].index("USER") + 1 :]} <= {
        "EXPOSE",
        "CMD",
        "HEALTHCHECK",
    }


@pytest.mark.parametrize("dockerfile", [SERVING, TRITON], ids=["serving", "triton"])
def test_no_threads_spin_while_they_wait(dockerfile: Path) -> None:
    env = " ".join(i.rest for i in instructions(dockerfile) if i.name == "ENV")
    assert CALM_THREADS.items() <= dict(re.findall(r"(\w+)=(\S+)", env)).items()


def test_the_python_of_the_image_is_one_that_the_project_supports() -> None:
    (version,) = set(re.findall(r"python:(\d+\.\d+)-", " ".join(bases(SERVING))))
    supported = metadata.metadata(PROJECT)["Requires-Python"]
    assert version in Requirement(f"x{supported}").specifier


def test_triton_is_of_the_release_that_the_chart_runs() -> None:
    values = (ROOT / "helm" / "facenet-serving" / "values.yaml").read_text()
    assert list(_values(yaml.safe_load(values), "runtimeVersion")) == [arguments(TRITON)["TRITON"]]


def _version(name: str) -> str:
    """What is installed beside pytest: Ray, once imported, puts packages of its own before it."""
    site_packages = str(Path(pytest.__file__).parents[1])
    (found,) = metadata.distributions(name=name, path=[site_packages])
    return found.version


def test_the_image_installs_the_closure_of_the_main_dependencies() -> None:
    installed = _locked(LOCKS / "requirements.lock")
    needed = {canonicalize_name(name): _version(name) for name in _closure()}
    assert installed.keys() - needed.keys() == set(), "locked and not needed"
    assert {name: installed.get(name) for name in needed} == needed


def test_the_stage_with_torch_installs_the_closure_of_the_extra() -> None:
    names = ("requirements.lock", "torch.lock", "torch-cuda.lock")
    parts = [_locked(LOCKS / name) for name in names]
    installed = {name: version for part in parts for name, version in part.items()}
    assert len(installed) == sum(map(len, parts)), "locked twice"
    assert installed == {canonicalize_name(name): _version(name) for name in _closure("torch")}


def test_only_torch_and_cuda_are_apart() -> None:
    """What the stage for CPUs leaves out of torch-cuda.lock, nobody but torch may need."""
    apart = _locked(LOCKS / "torch-cuda.lock").keys()
    assert {"torch", "torchvision"} <= apart
    without_torch = _closure("torch", stop=frozenset({"torch", "torchvision"}))
    assert apart & without_torch == {"torch", "torchvision"}


def test_the_image_has_nothing_large_that_it_can_do_without() -> None:
    absent = {"torch", "torchvision", "facenet-pytorch", "sympy", "networkx", "triton"}
    # They come with kserve.
    absent |= {"kserve", "kubernetes", "pandas"}
    assert not absent & _locked(LOCKS / "requirements.lock").keys()


def test_what_runs_has_torch_only_for_gpus() -> None:
    assert _locks_of("environment", gpu="0") == {"requirements.lock"}
    assert _locks_of("environment", gpu="1") == {path.name for path in LOCKS.iterdir()}
    environments = [i.rest for i in instructions(SERVING) if "/opt/venv /opt/venv" in i.rest]
    assert environments == ["--from=environment /opt/venv /opt/venv"]


def test_what_the_image_installs_is_all_that_its_modules_import() -> None:
    locked = sorted(_locked(LOCKS / "requirements.lock"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORT_ALL, *locked],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert dict(line.split() for line in done.stdout.splitlines()) == WITH_AN_EXTRA


def test_the_locks_of_the_image_are_parts_of_the_lock() -> None:
    whole = _hashes(ROOT / "requirements.lock")
    for name in ("requirements.lock", "torch.lock", "torch-cuda.lock"):
        part = _hashes(LOCKS / name)
        assert part
        assert {pin: whole.get(pin) for pin in part} == part, f"make lock has not made {name}"
        assert all(part.values()), "a pin without a hash"


def test_the_cpu_build_of_torch_is_of_the_locked_version() -> None:
    locked = _locked(LOCKS / "torch-cuda.lock")
    for name, version in _locked(LOCKS / "torch-cpu.txt").items():
        assert version.removesuffix("+cpu") == locked[name]


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """The image has the package from a wheel: what setuptools leaves out is missing there only."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(
        ROOT / "serving", tmp_path / "serving", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-index", "-w", tmp_path / "dist", tmp_path], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith("serving/")}
    source = {
        p.relative_to(tmp_path).as_posix()
        for p in (tmp_path / "serving").rglob("*")
        if p.is_file() and p.name not in BUILD_FILES
    }
    assert packed == source


def _locked(path: Path) -> dict[str, str]:
    """Name -> version of what pip installs here from a lock file."""
    lines = [line.removesuffix(" \\") for line in path.read_text().splitlines() if line]
    pins = [Requirement(line) for line in lines if line[0] not in " #"]
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in here}


def _hashes(path: Path) -> dict[str, set[str]]:
    """``name==version`` -> the hashes of its files; an environment marker does not count."""
    found: dict[str, set[str]] = {}
    pin = ""
    for line in path.read_text().splitlines():
        if line and line[0] not in " #":
            pin = line.split()[0]
        found.setdefault(pin, set()).update(re.findall(r"sha256:([0-9a-f]{64})", line))
    return found


def _closure(extra: str = "", stop: frozenset[str] = frozenset()) -> set[str]:
    """The distributions that the main dependencies need here, as installed.

    Args:
        extra: of the project, that is needed, too.
        stop: names whose own dependencies do not count.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = [*project["dependencies"], *project["optional-dependencies"].get(extra, ())]
    todo = [Requirement(line) for line in ours]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name not in stop:
                todo += _requirements(name, extra)
    return {name for name, _ in seen}


def _requirements(name: str, extra: str) -> Iterator[Requirement]:
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def _locks_of(stage: str, gpu: str) -> set[str]:
    """The lock files that a stage of the serving image, or one that it starts from, copies."""
    values = arguments(SERVING) | {"GPU": gpu}
    found: dict[str, set[str]] = {}
    name = ""
    for instruction in instructions(SERVING):
        words = instruction.words
        if instruction.name == "FROM":
            name, base = words[-1], expanded(words[0], values)
            found[name] = set(found.get(base, ()))
        elif instruction.name == "COPY":
            found[name] |= {Path(word).name for word in words if word.startswith("serving/locks/")}
    return found[stage]


def _values(tree: object, key: str) -> Iterator[object]:
    if isinstance(tree, dict):
        for name, below in tree.items():
            if name == key:
                yield below
            else:
                yield from _values(below, key)
