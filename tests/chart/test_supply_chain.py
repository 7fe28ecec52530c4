"""Whatever is run and comes from elsewhere is pinned by its content: images by digest, requirements
by hash, downloads by a sum. The lists hold what is not, each with its reason; they only shrink.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.dockerfiles import arguments, expanded, instructions

ROOT = Path(__file__).resolve().parents[2]
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")

# Those that `make images` builds; image.digest takes a digest of what was pushed.
OURS = ("facenet-serving", "facenet-triton")
# Images by file and name.
BY_TAG = {
    (
        "triton/Dockerfile",
        "nvcr.io/nvidia/tritonserver:26.09-py3",
    ): "only its registry knows the digest; --build-arg TRITON=26.09-py3@sha256:… takes one",
    (
        "helm/facenet-serving/values.yaml",
        "26.09-py3",
    ): "KServe's runtime takes a version of Triton; triton.image takes an image by digest",
}
# Requirements by file and name.
BY_VERSION = {
    (
        "serving/locks/torch-cpu.txt",
        "torch",
    ): "only PyTorch's own index has the hashes; where it is reached, make lock-torch adds them",
    ("serving/locks/torch-cpu.txt", "torchvision"): "likewise",
}
# Downloads of the scripts, by file and a part of the line.
NO_SUM = {
    (
        "k8s/install.sh",
        "gateway-api/releases/download/",
    ): "the release publishes no sum; the version is pinned, and --gateway-api is off by default",
    ("k8s/install.sh", "oci://quay.io/jetstack/charts/cert-manager"): "a chart, by version",
    ("k8s/install.sh", "oci://ghcr.io/traefik/helm/traefik"): "a chart, by version",
    ("k8s/install.sh", "oci://ghcr.io/kserve/charts/"): "a chart, by version",
    ("k8s/install.sh", "kubernetes-sigs.github.io/metrics-server/"): "a chart, by version",
    ("k8s/install.sh", "kedacore.github.io/charts"): "a chart, by version",
    ("k8s/install.sh", "ray-project.github.io/kuberay-helm/"): "a chart, by version",
}


def tracked(*patterns: str) -> list[Path]:
    """Files of the project, and none of an environment or a cache."""
    found = (path for pattern in patterns for path in ROOT.glob(pattern))
    return sorted(p for p in found if not any(x.startswith(".") for x in p.relative_to(ROOT).parts))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def bases(dockerfile: Path) -> Iterator[str]:
    stages: set[str] = set()
    for instruction in instructions(dockerfile):
        if instruction.name == "FROM":
            image, *more = instruction.words
            image = expanded(image, arguments(dockerfile))
            if image not in stages:
                yield image
            stages.update(more[1:])
        copied = re.match(r"--from=(\S+)", instruction.rest)
        if instruction.name == "COPY" and copied and copied[1] not in stages:
            yield expanded(copied[1], arguments(dockerfile))


def images_in(values: Any) -> Iterator[str]:
    """The images that a document of YAML names."""
    if isinstance(values, list):
        for value in values:
            yield from images_in(value)
    if isinstance(values, dict):
        for key, value in values.items():
            if key in ("image", "repository", "runtimeVersion") and isinstance(value, str):
                yield value
            yield from images_in(value)


def images() -> set[tuple[str, str]]:
    found = {
        (name_of(dockerfile), image)
        for dockerfile in tracked("**/Dockerfile*")
        for image in bases(dockerfile)
    }
    for file in tracked("helm/*/values.yaml", "k8s/*.yaml", "k8s/**/*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            found |= {(name_of(file), image) for image in images_in(document)}
    for file in tracked("k8s/*.env"):
        lines = re.findall(r"^\w*IMAGE\w*=(\S+)$", file.read_text(), flags=re.MULTILINE)
        found |= {(name_of(file), image) for image in lines}
    return found


def requirements() -> dict[tuple[str, str], bool]:
    """Every locked requirement, by file and name, and whether it has a hash."""
    found: dict[tuple[str, str], bool] = {}
    for file in tracked("*.lock", "**/locks/*"):
        text = re.sub(r"^#.*$", "", file.read_text(), flags=re.MULTILINE)
        for line in text.replace("\\\n", " ").splitlines():
            if line.strip():
                name = re.split(r"[=\[ ;]", line.strip(), maxsplit=1)[0]
                before = found.get((name_of(file), name), True)
                found[name_of(file), name] = before and "--hash=sha256:" in line
    return found


def downloads() -> set[tuple[str, str]]:
    """Lines of scripts and builds that name something of another host."""
    found = set()
    for file in tracked("k8s/*.sh", "**/Dockerfile*"):
        for line in file.read_text().splitlines():
            code = line.split("#")[0] if line.lstrip().startswith("#") else line
            if re.search(r"(https?|oci)://(?!localhost|127\.)[\w.-]+/", code):
                found.add((name_of(file), code.strip()))
    return found


def test_every_image_has_a_digest() -> None:
    found = images()
    assert len(found) >= 4
    others = {place for place in found if place[1] and not place[1].endswith(OURS)}
    assert {place for place in others if not DIGEST.search(place[1])} == set(BY_TAG)


def test_every_requirement_has_a_hash() -> None:
    found = requirements()
    assert len(found) > 200
    assert {place for place, hashed in found.items() if not hashed} == set(BY_VERSION)


def test_every_installation_of_a_lock_insists_on_hashes() -> None:
    exceptions = {file for file, _ in BY_VERSION}
    texts = [(ROOT / "Makefile").read_text()]
    texts += [" ".join(i.rest for i in instructions(f)) for f in tracked("**/Dockerfile")]
    installed = [
        call
        for text in texts
        for call in re.split(r"&&|;;|\n(?!\s)|RUN ", text.replace("\\\n", " "))
        if re.search(r"\bpip\b.* install\b", call) and " -r " in call
    ]
    assert len(installed) >= 4
    for call in installed:
        hashed = "--require-hashes" in call
        assert hashed or any(Path(name).name in call for name in exceptions), call


def test_every_download_has_a_sum() -> None:
    found = downloads()
    excused = {
        place for place in found for file, part in NO_SUM if file == place[0] and part in place[1]
    }
    index = {(f, c) for f, c in found if c.startswith("ARG TORCH_INDEX=")}  # see BY_VERSION
    assert found - excused - index == set()
    unused = [k for k in NO_SUM if not any(k[0] == f and k[1] in line for f, line in found)]
    assert unused == []


@pytest.mark.parametrize("reasons", [BY_TAG, BY_VERSION, NO_SUM])
def test_every_exception_has_its_reason(reasons: dict[tuple[str, str], str]) -> None:
    assert all(reasons.values())
