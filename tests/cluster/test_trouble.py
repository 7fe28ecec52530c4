"""What goes wrong in a cluster, and what RUNBOOK.md and UPGRADES.md do about it, under load."""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from tests.cluster.caller import PHOTO, Caller
from tests.cluster.cluster import Cluster, Object, is_ready, names, wait
from tests.cluster.documents import block, shell

pytestmark = pytest.mark.long

_PATIENCE_S = 300
# A kubelet looks at a Secret every minute or two.
_SECRET_S = 240
_RAY = "ray.io/is-ray-node=yes"
# What a node of two cores can answer while it starts as many pods again.
_LOAD = ("/identities=4", f"/infer=0.5@{PHOTO}")


def test_settings_change_under_load(cluster: Cluster, release: Caller) -> None:
    begin = time.monotonic()
    before = cluster.clusters()
    with release.load(*_LOAD) as outcome:
        cluster.upgrade("settings.match.threshold=1")
        wait("the new threshold", _PATIENCE_S, lambda: _threshold(release) == 1)
        wait("the RayService", _PATIENCE_S, lambda: cluster.ready("rayservice"))
        cluster.upgrade()
        wait("the old threshold", _PATIENCE_S, lambda: _threshold(release) not in (None, 1))
        wait("the RayService", _PATIENCE_S, lambda: cluster.ready("rayservice"))
    print(f"there and back in {time.monotonic() - begin:.0f} s")
    assert outcome.failures == []
    assert outcome.sent > 50
    assert cluster.clusters() == before


def test_an_upgrade_that_cannot_come_up_is_taken_back(cluster: Cluster, release: Caller) -> None:
    before = cluster.clusters()
    with release.load(*_LOAD) as outcome:
        cluster.upgrade("image.tag=missing")
        wait("a second cluster", 60, lambda: len(cluster.clusters()) == 2)
        time.sleep(10)
        done = shell(block("k8s/UPGRADES.md: helm rollback").text, _PATIENCE_S)
        assert done.returncode == 0, done.stderr
        wait("the pending cluster's end", _PATIENCE_S, lambda: cluster.clusters() == before)
        wait("the RayService", _PATIENCE_S, lambda: cluster.ready("rayservice"))
    assert outcome.failures == []
    assert outcome.sent > 50


def test_a_key_is_given_and_withdrawn(cluster: Cluster, release: Caller, tmp_path: Path) -> None:
    there = cluster.get("secret", "faces-keys")["data"]["keys.yaml"]
    made = shell(f"faces key new guest --scope identify --file {tmp_path}/keys.yaml", 60)
    assert made.returncode == 0, made.stderr
    guest = dataclasses.replace(release, key=made.stdout.strip())
    assert _status(guest) == 401
    entries = yaml.safe_load((tmp_path / "keys.yaml").read_text())["keys"]
    _replace_keys(cluster, there, entries)
    wait("the new key", _SECRET_S, lambda: _status(guest) == 200)
    _replace_keys(cluster, there, [])
    wait("its end", _SECRET_S, lambda: _status(guest) == 401)
    assert _status(release) == 200


def test_the_head_is_lost_without_a_redis(cluster: Cluster, release: Caller) -> None:
    """Without one its death is an outage: a short one, in which nobody gets a bare error."""
    # A pod that starts just then would belong to the new head, and stay.
    wait("one pod for each stage", _PATIENCE_S, cluster.at_rest)
    before = cluster.pods(_RAY)
    (head,) = cluster.pods("ray.io/node-type=head")
    with release.load(*_LOAD) as outcome:
        cluster.kubectl("delete", "pod", head["metadata"]["name"], "--grace-period=0", "--force")
        # The workers go on for a while, and then begin again as well.
        wait("other pods", _PATIENCE_S, lambda: _all_others(cluster, before))
        wait("the RayService", _PATIENCE_S, lambda: cluster.ready("rayservice"))
        wait("an answer", _PATIENCE_S, lambda: release.ask("GET", "/readyz")[0] == 200)
        time.sleep(5)
    print(f"away for {_away(outcome.failures):.0f} s")
    bare = [what for *_, what in outcome.failures if what[:3].isdigit() and "urn:" not in what]
    assert bare == []
    assert outcome.failures != []  # or nothing was lost


def _threshold(caller: Caller) -> float | None:
    """As the service uses it; None: it does not say at the moment, since the load has its key."""
    status, answer = caller.ask("POST", "/infer", f"image=@{PHOTO}")
    assert status in (200, 429), answer
    return float(answer["threshold"]) if status == 200 else None


def _status(caller: Caller) -> int:
    return caller.ask("POST", "/infer", f"image=@{PHOTO}")[0]


def _replace_keys(cluster: Cluster, there: str, more: list[object]) -> None:
    """The entries of the Secret as it was first, in base64, and more."""
    entries = [*yaml.safe_load(base64.b64decode(there))["keys"], *more]
    document = {"keys.yaml": yaml.safe_dump({"keys": entries})}
    metadata = {"name": "faces-keys"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": document}
    )


def _all_others(cluster: Cluster, before: Sequence[Object]) -> bool:
    there = cluster.pods(_RAY)
    others = len(there) == len(before) and not names(there) & names(before)
    return others and all(map(is_ready, there))


def _away(failures: Sequence[tuple[float, float, str, str]]) -> float:
    """From the first failure's request to the last one's end, in seconds."""
    if not failures:
        return 0.0
    return max(sent + took for sent, took, *_ in failures) - min(sent for sent, *_ in failures)
