"""The commands of the documents, taken from their text, on the release."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.cluster.caller import Caller
from tests.cluster.cluster import Cluster, wait
from tests.cluster.documents import block, commands, shell

_PATIENCE_S = 180

# What RUNBOOK.md says of its names.
_NAMES = "NS=faces RELEASE=faces\n"


@dataclass(frozen=True)
class Run:
    """How a block is run.

    Attributes:
        start: of the block's name; whole enough to fit one block alone.
        expects: what it prints, a part of it.
        before: blocks whose variables it uses, by their start.
        changes: texts of the block -> what a reader would write in their place.
    """

    start: str
    expects: str
    before: tuple[str, ...] = ()
    changes: tuple[tuple[str, str], ...] = ()


_CLUSTER = "k8s/SCALING.md: cluster="
# Four pods of detect, and nine, find no room.
_FEWER = (('"value": 4', '"value": 1'), ('"value": 9', '"value": 5'))
_HEAD = "k8s/RUNBOOK.md: CLUSTER="
_JOB = """\
kubectl -n $NS create job $JOB --from=cronjob/$RELEASE-maintenance
kubectl -n $NS wait job/$JOB --for=condition=complete --timeout=120s
"""
RUNS = (
    Run(_CLUSTER, "1 detect 1", changes=_FEWER),
    Run(
        "k8s/SCALING.md: kubectl -n faces get raycluster,pods",
        "detect",
        (_CLUSTER,),
        changes=_FEWER,
    ),
    Run(
        "k8s/UPGRADES.md: kubectl -n faces get rayservice,raycluster",
        "rayservice.ray.io/faces",
    ),
    Run(
        "k8s/UPGRADES.md: kubectl -n faces get rayservice faces -o jsonpath='{.status.active",
        "RUNNING",
    ),
    Run("k8s/UPGRADES.md: kubectl get rayclusters -A", "faces"),
    Run("k8s/UPGRADES.md: pod=$(kubectl -n faces get pod -l ray.io/group", "no problems"),
    Run(
        "k8s/RUNBOOK.md: kubectl -n $NS get rayservice,rayclusters",
        '"ready"',
        changes=(("8000 &", "8000 > /dev/null &\nsleep 3"),),
    ),
    Run(
        "k8s/RUNBOOK.md: kubectl -n $NS logs -l ray.io/is-ray-node=yes",
        "",
        changes=(("grep ID", "grep -c ."),),
    ),
    Run(
        "k8s/RUNBOOK.md: kubectl -n $NS logs -l ray.io/group=ingress",
        "",
        # Nothing to find is no fault.
        changes=(("{4,\\}'", "{4,\\}' || true"),),
    ),
    Run(
        "k8s/RUNBOOK.md: kubectl -n $NS get jobs -l app.kubernetes.io/component=maint",
        "by-hand",
        # The CronJob's turn may not have come yet.
        changes=(
            ("kubectl -n $NS get jobs", f"JOB=by-hand\n{_JOB}kubectl -n $NS get jobs"),
            ("--tail=30", "--tail=30\nkubectl -n $NS delete job $JOB"),
        ),
    ),
    Run(_HEAD, "HEALTHY"),
    Run("k8s/RUNBOOK.md: MATCH_POD=", "no problems"),
    Run(
        "k8s/RUNBOOK.md: kubectl -n $NS describe rayservice",
        "Kind:         RayService",
        # The head has not been restarted.
        changes=((" --previous", ""),),
    ),
    Run(
        "k8s/RUNBOOK.md: kubectl -n $NS exec $HEAD_POD -c ray-head -- serve status",
        "HEALTHY",
        (_HEAD,),
        # Nothing to find is no fault.
        changes=(("Unhealthy'", "Unhealthy' || true"),),
    ),
    Run("k8s/RUNBOOK.md: kubectl -n $NS get pods -l ray.io/node-type=head", "head", (_HEAD,)),
    Run(
        "k8s/RUNBOOK.md: kubectl -n $NS get pods -l ray.io/is-ray-node=yes -o name",
        "ray_object_store_fallback_memory",
    ),
    Run("k8s/RUNBOOK.md: kubectl -n $NS get inferenceservice,pods", "READY"),
)
# Which blocks are not run here, and why.
LEFT = {
    "README.md: k8s/install.sh": "needs registries; the fixtures make the Secrets in this way",
    "k8s/README.md: make kind-up": "needs Docker",
    "k8s/README.md: make images": "needs Docker",
    "k8s/README.md: k8s/install.sh": "needs registries",
    "k8s/README.md: kubectl create namespace faces": "the fixtures do it, with MinIO's address",
    "k8s/README.md: faces key new admin": "the fixtures do it",
    "k8s/README.md: helm install faces helm/facenet-serving -n faces -f k8s/values-minio": (
        "needs an S3 server outside; test_install.py installs with MinIO"
    ),
    "k8s/README.md: curl": "needs a host of the reader's; test_people.py asks the Service",
    "k8s/README.md: aws": "needs AWS",
    "k8s/README.md: helm install faces helm/facenet-serving -n faces -f k8s/values-aws": (
        "needs AWS"
    ),
    "k8s/README.md: helm upgrade": "needs GPUs",
    "k8s/README.md: docker": "needs Docker",
    "k8s/SCALING.md: kubectl -n faces delete hpa": "the tests' class is none",
    "k8s/SCALING.md: helm upgrade": "test_helm.py changes scale; four pods find no room",
    "k8s/SCALING.md: # hpa": "three pods find no room",
    "k8s/RUNBOOK.md: kubectl -n $NS delete $HEAD_POD": "test_other.py runs it",
    "k8s/RUNBOOK.md: faces key check": "on the reader's machine; test_key.py runs it",
    "k8s/UPGRADES.md: helm rollback": "test_trouble.py runs it",
    "k8s/UPGRADES.md: helm upgrade": "test_upgrade.py changes the pods in this way",
    "k8s/UPGRADES.md: helm install faces-b": "two releases find no room",
    "k8s/UPGRADES.md: pod=$(kubectl -n faces get pod -l app": "two releases find no room",
    "k8s/UPGRADES.md: kubectl -n faces patch ingress": "two releases find no room",
    "k8s/UPGRADES.md: helm uninstall": "test_uninstall.py runs it",
    "k8s/UPGRADES.md: kubectl -n faces patch rayservice faces --type=merge": (
        "KubeRay 1.6 has no finalizer"
    ),
    "k8s/UPGRADES.md: kubectl drain": "there is one node; test_eviction.py evicts pods",
}


def test_every_block_of_commands_is_run_or_has_a_reason() -> None:
    starts = [*(run.start for run in RUNS), *LEFT]
    unknown = [b.name for b in commands() if not any(b.name.startswith(s) for s in starts)]
    gone = [s for s in starts if not any(b.name.startswith(s) for b in commands())]
    assert (unknown, gone) == ([], [])


@pytest.mark.long
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.start)
def test_a_block_does_what_it_is_for(cluster: Cluster, release: Caller, run: Run) -> None:
    text = "\n".join(block(start).text for start in (*run.before, run.start))
    for old, new in run.changes:
        assert old in text
        text = text.replace(old, new)
    done = shell(_NAMES + text, _PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert run.expects in done.stdout
    wait("the RayService", 60, lambda: cluster.ready("rayservice"))
