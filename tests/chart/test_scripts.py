"""The scripts of k8s/: linted, and run against stubs of docker, kind, kubectl, helm and curl."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from tests.chart.rules.scaling import quantity
from tests.support.chart.helm import Helm
from tests.support.chart.objects import pods

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
SCRIPTS = sorted(K8S.glob("*.sh"))
TOOLS = ("docker", "kind", "kubectl", "helm", "curl", "make")
SHELLCHECK = shutil.which("shellcheck")

# Writes its call down, then does what the test wrote for it.
_STUB = """#!/usr/bin/env bash
printf '%s\\n' "$(basename "$0") $*" >> "$CALLS"
call="$(basename "$0") $*"
{behaviour}
"""


@dataclass
class Machine:
    """A PATH with nothing but stubs and the system's own tools.

    Attributes:
        behaviours: tool -> shell code; ``$call`` is the command line.
    """

    folder: Path
    behaviours: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def run(self, script: str, *args: str, env: Mapping[str, str] | None = None) -> Result:
        bin_folder = self.folder / "bin"
        shutil.rmtree(bin_folder, ignore_errors=True)
        bin_folder.mkdir()
        for tool in (
            "bash",
            "dirname",
            "basename",
            "grep",
            "awk",
            "sleep",
            "tr",
            "head",
            "tail",
            "cat",
            "wc",
        ):
            path = shutil.which(tool)
            assert path is not None
            (bin_folder / tool).symlink_to(path)
        for tool in set(TOOLS) - self.missing:
            (bin_folder / tool).write_text(_STUB.format(behaviour=self.behaviours.get(tool, "")))
            (bin_folder / tool).chmod(0o755)
        calls = self.folder / "calls"
        calls.write_text("")
        done = subprocess.run(
            [K8S / script, *args],
            env={
                "PATH": str(bin_folder),
                "HOME": str(self.folder),
                "CALLS": str(calls),
                "RETRY_SECONDS": "0",
                "POLL_SECONDS": "0",
                "WAIT_SECONDS": "0",
                **(env or {}),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Result(done.returncode, done.stdout, done.stderr, calls.read_text().splitlines())


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str
    calls: list[str]

    def position(self, pattern: str) -> int:
        """Of the first call that matches; fails when there is none."""
        for index, call in enumerate(self.calls):
            if re.search(pattern, call):
                return index
        raise AssertionError(f"no call matches {pattern}:\n" + "\n".join(self.calls))

    def count(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, call)) for call in self.calls)


KEY = "faces_0-made_1"
KEY_FILE = r"keys:\n- name: kind-up\n  hash: sha256:1234\n  scopes:\n  - admin"
# A cluster where everything is there and healthy, and the photo shows 2576.
HEALTHY = {
    "kubectl": """case "$call" in
        *"config current-context"*) echo prod ;;
        *jsonpath*) echo True ;;
        *"go-template={{.data.key | base64decode}}"*) echo faces_kept ;;
        *"create -f -"* | *"--namespace faces apply "*)
            cat >> "$CALLS.secrets"
            echo --- >> "$CALLS.secrets"
            ;;
        *"apply "*"-f -"*) cat > /dev/null ;;
    esac""",
    "kind": 'case "$call" in *"get clusters"*) echo faces ;; esac',
    "helm": 'case "$call" in *"show crds"*) echo "kind: CustomResourceDefinition" ;; esac',
    "curl": """case "$call" in
        *"--header @"*)
            while [[ $1 != --header ]]; do shift; done
            cat "${2#@}" >> "$CALLS.headers" ;;
    esac
    case "$call" in */infer*) echo '{"faces": [{"id": 2576}]}' ;; esac""",
    "docker": f"""case "$call" in
        *"docker info"*) echo 4 12300000000 ;;
        *"faces key new"*) printf '{KEY}\\n{KEY_FILE}\\n' ;;
    esac""",
}
# The same before anything was made.
NOTHING = {
    **HEALTHY,
    "kind": "",
    "docker": f"""{HEALTHY["docker"]}
    case "$call" in *"image inspect"*) exit 1 ;; esac""",
    # Secrets are there once they were made.
    "kubectl": f"""case "$call" in
        *"get secret"*" -o "*) ;;
        *"get secret"*) grep -qs "name: ${{call##* }}" "$CALLS.secrets" || exit 1 ;;
        *"get namespace"*) exit 1 ;;
    esac
    {HEALTHY["kubectl"]}""",
}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, dict(HEALTHY))


def versions() -> dict[str, str]:
    lines = (K8S / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_bash_can_parse_it(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert script.read_text().splitlines()[0] == "#!/usr/bin/env bash"
    assert "\nset -euo pipefail\n" in script.read_text()
    assert os.access(script, os.X_OK)


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_shellcheck_is_content(script: Path) -> None:
    done = subprocess.run(
        [str(SHELLCHECK), "--external-sources", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_every_version_is_exact() -> None:
    for name, version in versions().items():
        assert re.search(r"\d+\.\d+\.\d+", version), f"{name} is {version}"
        used = [s for s in SCRIPTS if f"${name}" in s.read_text()]
        assert used, f"nothing uses {name}"


def test_install_installs_what_kserve_needs_before_it(machine: Machine) -> None:
    done = machine.run("install.sh")
    assert done.code == 0, done.err
    order = ["cert-manager", "kserve-crd", "kserve-resources", "kserve-runtime-configs"]
    places = [done.position(rf"upgrade --install {name} ") for name in order]
    assert places == sorted(places)
    # Helm never upgrades CRDs, so they are applied apart.
    crds = [
        r"helm show crds kuberay-operator",
        r"kubectl .*apply .*-f -",
        r"install kuberay-operator ",
    ]
    places = [done.position(step) for step in crds]
    assert places == sorted(places)


def test_install_names_versions_and_context_everywhere(machine: Machine) -> None:
    done = machine.run(
        "install.sh",
        "--context",
        "test",
        "--metrics-server",
        "--ingress",
        "--keda",
        "--gateway-api",
    )
    assert done.code == 0, done.err
    pinned = set(versions().values())
    for call in done.calls:
        if "helm" in call and "upgrade" in call:
            assert "--kube-context test" in call
            assert "--wait" in call
            assert re.search(r"--version (\S+)", call)[1] in pinned  # type: ignore[index]
        elif call.startswith("kubectl"):
            assert "--context test" in call
    for name in ("metrics-server", "traefik", "keda"):
        done.position(rf"upgrade --install {name} ")
    done.position(rf"gateway-api/releases/download/{versions()['GATEWAY_API_VERSION']}/")
    assert done.count("prod") == 0, "not the current context when another one is named"


def test_install_leaves_out_what_nobody_asked_for(machine: Machine) -> None:
    done = machine.run("install.sh")
    assert done.count("metrics-server|traefik|keda|gateway-api") == 0


def test_install_twice_makes_the_same_calls(machine: Machine) -> None:
    assert machine.run("install.sh", "--kind").calls == machine.run("install.sh", "--kind").calls


def test_install_leads_the_ingress_to_the_ports_of_the_kind_cluster(machine: Machine) -> None:
    done = machine.run("install.sh", "--kind")
    (node,) = yaml.safe_load((K8S / "kind.yaml").read_text())["nodes"]
    mapped = {mapping["containerPort"] for mapping in node["extraPortMappings"]}
    traefik = done.calls[done.position("install traefik")]
    assert {int(port) for port in re.findall(r"nodePort=(\d+)", traefik)} == mapped
    assert {m["listenAddress"] for m in node["extraPortMappings"]} == {"127.0.0.1"}
    assert "--kubelet-insecure-tls" in done.calls[done.position("install metrics-server")]


def test_install_dry_run_changes_nothing(machine: Machine) -> None:
    done = machine.run("install.sh", "--dry-run", "--kind")
    assert done.code == 0, done.err
    assert done.calls == ["kubectl config current-context"]
    assert "kserve-resources" in done.out


def test_install_waits_for_a_webhook_that_is_not_there_yet(machine: Machine) -> None:
    machine.behaviours["helm"] += """
        if [[ $call == *"install kserve-runtime-configs"* ]]; then
            [[ -e "$CALLS.tried" ]] || { echo once > "$CALLS.tried"; exit 1; }
        fi"""
    done = machine.run("install.sh")
    assert done.code == 0, done.err
    assert done.count("install kserve-runtime-configs") == 2


_RAYCLUSTERS = """
    if [[ $call == *"get rayclusters"* ]]; then
        echo asked >> "$CALLS.asked"
        [[ $(wc -l < "$CALLS.asked") -gt {times} ]] && echo "vision faces-1 v{now}" ||
            echo "vision faces-1 v1.6.0"
    fi"""


def test_install_waits_until_a_new_operator_has_the_clusters(machine: Machine) -> None:
    """Until then it puts a change of their pods into the cluster that serves."""
    now = versions()["KUBERAY_VERSION"]
    machine.behaviours["kubectl"] += _RAYCLUSTERS.format(times=2, now=now)
    done = machine.run("install.sh", env={"WAIT_SECONDS": "30"})
    assert done.code == 0, done.err
    assert done.count("get rayclusters") == 3
    assert done.position("get rayclusters") > done.position("install kuberay-operator ")


def test_install_says_which_clusters_the_operator_has_not_taken_over(machine: Machine) -> None:
    machine.behaviours["kubectl"] += _RAYCLUSTERS.format(times=99, now="")
    done = machine.run("install.sh")
    assert done.code != 0
    assert "vision faces-1 v1.6.0" in done.err
    assert "wait with helm upgrade" in done.err


def test_install_stops_at_the_first_failure(machine: Machine) -> None:
    machine.behaviours["helm"] = 'case "$call" in *"install kserve-resources"*) exit 1 ;; esac'
    done = machine.run("install.sh")
    assert done.code != 0
    assert done.count("install kserve-resources") == 5
    assert "failed five times" in done.err
    assert done.count("kserve-runtime-configs|kuberay") == 0


@pytest.mark.parametrize(
    ("args", "behaviour", "missing", "says"),
    [
        ((), {}, {"helm"}, "helm is not installed"),
        ((), {"kubectl": ""}, set(), "no current context"),
        (
            (),
            {"kubectl": "[[ $call != *version* ]] && echo prod || exit 1"},
            set(),
            "does not answer",
        ),
        (("--context",), {}, set(), "needs a name"),
        (("--knative",), {}, set(), "no option --knative"),
    ],
)
def test_install_says_what_is_wrong(
    machine: Machine,
    args: tuple[str, ...],
    behaviour: dict[str, str],
    missing: set[str],
    says: str,
) -> None:
    machine.behaviours |= behaviour
    machine.missing = missing
    done = machine.run("install.sh", *args)
    assert done.code != 0
    assert says in done.err
    assert done.count("upgrade") == 0


def test_kind_up_from_nothing(machine: Machine) -> None:
    machine.behaviours = dict(NOTHING)
    done = machine.run("kind-up.sh")
    assert done.code == 0, done.err + done.out
    steps = [
        r"^docker info",
        r"^make serving-image",
        r"^kind create cluster .*--config k8s/kind.yaml .*@sha256:",
        r"^kind load docker-image facenet-serving:dev",
        r"upgrade --install cert-manager",
        r"^kubectl .*create namespace faces",
        r"^kubectl .*create -f -",
        r"^helm .*upgrade --install faces helm/facenet-serving .*k8s/values-kind.yaml",
        r"^kubectl .*get inferenceservice -o jsonpath",
        r"^kubectl .*get rayservice -o jsonpath",
        r"^helm .* test faces",
        r"^curl .*/generate",
        r"^curl .*/infer",
    ]
    places = [done.position(step) for step in steps]
    assert places == sorted(places)
    assert '"id": 2576' in done.out
    assert "make kind-down" in done.out


def test_kind_up_works_on_its_own_cluster_only(machine: Machine) -> None:
    """Whatever the current context is: it may be production."""
    machine.behaviours = dict(NOTHING)
    for call in machine.run("kind-up.sh").calls:
        if call.startswith("kubectl"):
            assert "--context kind-faces" in call, call
        if call.startswith("helm") and "show" not in call:
            assert "--kube-context kind-faces" in call, call


def test_kind_up_makes_keys_that_nobody_else_has(machine: Machine) -> None:
    machine.behaviours = dict(NOTHING)
    secrets = machine.folder / "calls.secrets"
    made = []
    for _ in range(2):
        secrets.unlink(missing_ok=True)
        done = machine.run("kind-up.sh")
        secret = next(yaml.safe_load_all(secrets.read_text()))
        keys = secret["stringData"]
        assert secret["metadata"]["annotations"]["serving.kserve.io/s3-usehttps"] == "0"
        assert len(keys["AWS_ACCESS_KEY_ID"]) == 20
        assert len(keys["AWS_SECRET_ACCESS_KEY"]) == 40
        assert keys["AWS_SECRET_ACCESS_KEY"] not in done.out + done.err + "".join(done.calls)
        made.append(keys["AWS_SECRET_ACCESS_KEY"])
    assert made[0] != made[1]


def test_kind_up_makes_an_api_key_and_asks_with_it(machine: Machine) -> None:
    machine.behaviours = dict(NOTHING)
    machine.behaviours["kubectl"] = NOTHING["kubectl"].replace("faces_kept", KEY)
    done = machine.run("kind-up.sh")
    assert done.code == 0, done.err
    _, hashes, key, *_ = yaml.safe_load_all((machine.folder / "calls.secrets").read_text())
    values = yaml.safe_load((K8S / "values-kind.yaml").read_text())
    assert hashes["metadata"]["name"] == values["auth"]["existingSecret"]
    file = yaml.safe_load(hashes["stringData"]["keys.yaml"])
    assert file == {"keys": [{"name": "kind-up", "hash": "sha256:1234", "scopes": ["admin"]}]}
    assert key["metadata"]["name"] == values["test"]["keySecret"]["name"]
    assert key["stringData"] == {"key": KEY}
    headers = (machine.folder / "calls.headers").read_text().splitlines()
    assert headers == [f"Authorization: Bearer {KEY}"] * 2
    # On the screen, once; in no list of processes.
    assert done.out.count(KEY) == 1
    assert KEY not in "".join(done.calls)
    # In the image that was built, without a network.
    assert re.search(r"--network none facenet-serving:dev ", done.calls[done.position("key new")])


def test_kind_up_again_asks_with_the_key_that_it_made(machine: Machine) -> None:
    done = machine.run("kind-up.sh")
    assert done.code == 0, done.err
    assert done.count("key new") == 0
    assert (machine.folder / "calls.headers").read_text().count("Bearer faces_kept\n") == 2


def test_kind_up_stores_no_key_that_was_not_made(machine: Machine) -> None:
    machine.behaviours = dict(NOTHING)
    machine.behaviours["docker"] = """case "$call" in
        *"docker info"*) echo 4 16000000000 ;;
        *"image inspect"*) exit 1 ;;
    esac"""
    done = machine.run("kind-up.sh")
    assert done.code != 0
    assert "faces key new made no key" in done.err
    assert "faces-keys" not in (machine.folder / "calls.secrets").read_text()


def test_kind_up_again_keeps_what_is_there(machine: Machine) -> None:
    done = machine.run("kind-up.sh")
    assert done.code == 0, done.err + done.out
    assert done.count(r"kind create|create namespace|create -f -|^make ") == 0
    # What may have changed is brought up to date.
    assert done.count(r"kind load docker-image") == 1
    assert done.count(r"upgrade --install faces ") == 1


def test_kind_up_takes_registry_and_tag(machine: Machine) -> None:
    machine.behaviours = dict(NOTHING)
    done = machine.run("kind-up.sh", env={"REGISTRY": "registry.example/team", "TAG": "1.2"})
    assert done.code == 0, done.err
    image = "registry.example/team/facenet-serving"
    done.position(r"^make serving-image REGISTRY=registry.example/team TAG=1.2")
    done.position(rf"^kind load docker-image {image}:1.2 ")
    done.position(rf"--set image.repository={image} --set-string image.tag=1.2")


@pytest.mark.parametrize(
    ("behaviour", "missing", "says"),
    [
        ({}, {"kind", "helm"}, "not on PATH: kind helm"),
        ({"docker": "[[ $call != *info* ]] || exit 1"}, set(), "Docker engine does not answer"),
        (
            {"docker": "[[ $call != *info* ]] || echo 4 8589934592"},
            set(),
            "4 CPUs and 8192 MiB of memory, and the pods need 4 CPUs and 12 GiB",
        ),
        ({"docker": "[[ $call != *info* ]] || echo 2 34359738368"}, set(), "has 2 CPUs"),
        (
            {"kubectl": HEALTHY["kubectl"].replace("echo True", "echo False")},
            set(),
            "InferenceService (Triton's image is 9 GB) is not there",
        ),
        (
            {"curl": 'case "$call" in */readyz*) exit 22 ;; esac'},
            set(),
            "http://localhost:8080 is not there",
        ),
        ({"helm": 'case "$call" in *" test "*) echo broken; exit 1 ;; esac'}, set(), ""),
        ({"curl": 'case "$call" in */generate*) exit 22 ;; esac'}, set(), "could not be enrolled"),
        (
            {"curl": """case "$call" in */infer*) echo '{"faces": [{"id": null}]}' ;; esac"""},
            set(),
            "not the person",
        ),
    ],
)
def test_kind_up_fails_with_a_reason(
    machine: Machine, behaviour: dict[str, str], missing: set[str], says: str
) -> None:
    machine.behaviours |= behaviour
    machine.missing = missing
    done = machine.run("kind-up.sh")
    assert done.code != 0
    assert says in done.err
    assert "It runs at" not in done.out


# What is there before the chart, by the requests of its own releases: the control plane, CoreDNS,
# cert-manager, KServe, KubeRay, metrics-server and Traefik.
BEFORE = {"cpu": Decimal("1.35"), "memory": Decimal("1.6") * 2**30}


def test_kind_has_room_for_all_that_it_is_asked_for(helm4: Helm) -> None:
    """With a Job, and with the spare pod of the stage that is being replaced."""
    objects = helm4.template(files=[K8S / "values-kind.yaml"])
    needs = dict(BEFORE)
    largest: dict[str, Decimal] = {}
    for pod in pods(objects):
        for what in needs:
            asked = sum(
                (quantity(c["resources"]["requests"][what]) for c in pod.spec["containers"]),
                Decimal(0),
            )
            if pod.replicas is not None:
                needs[what] += pod.replicas * asked
            if pod.replicas is None or pod.role in ("decode", "detect", "ingress", "match"):
                kind = "job" if pod.replicas is None else "spare"
                largest[f"{kind} {what}"] = max(largest.get(f"{kind} {what}", Decimal(0)), asked)
    for what in needs:
        needs[what] += largest[f"job {what}"] + largest[f"spare {what}"]
    script = (K8S / "kind-up.sh").read_text()
    cpus, gib = (int(re.findall(rf"^need_{n}=(\d+)$", script, re.M)[0]) for n in ("cpus", "gib"))
    assert needs["cpu"] <= cpus, needs
    # The engine may have a twentieth less than it was given.
    assert needs["memory"] <= gib * 2**30 * Decimal("0.95"), needs
    page = (K8S / "README.md").read_text()
    assert f"{cpus} CPUs and {gib} GiB of memory\nfor Docker" in page
    assert f"{cpus} CPUs and {gib} GiB" in (K8S / "values-kind.yaml").read_text()


def test_kind_down_removes_the_cluster_and_nothing_else(machine: Machine) -> None:
    done = machine.run("kind-up.sh", "--down")
    assert done.calls == ["kind get clusters", "kind delete cluster --name faces"]
    machine.behaviours["kind"] = "echo other"
    assert machine.run("kind-up.sh", "--down").calls == ["kind get clusters"]
