"""How Serve is started on one machine: the ports that it uses, and asking whether it is ready."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.stack import serve
from serving.stack.process import StackError
from tests.support.service import FakeService, fake_service


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service() as running:
        yield running


def port_of(service: FakeService) -> int:
    return int(service.url.rpartition(":")[2])


def test_readiness_is_the_body_ready_or_not(service: FakeService) -> None:
    for status, ready in ((200, True), (503, False)):
        service.status, service.body = status, {"ready": ready, "checks": {}}
        assert serve.readiness(port_of(service)) == {"ready": ready, "checks": {}}
    assert service.asked == ["GET /readyz"] * 2


@pytest.mark.parametrize("body", [b"", b"<html>no replica yet</html>", b"[1]", b"null"])
def test_an_answer_of_the_proxy_alone_is_not_ready(service: FakeService, body: bytes) -> None:
    service.status, service.body = 503, body
    assert serve.readiness(port_of(service)) is None


def test_nobody_answers(service: FakeService) -> None:
    assert serve.readiness(1) is None


@pytest.fixture
def env() -> dict[str, str]:
    return serve.environment(Path("/tmp/faces-0123abcd"), 18_000, {"AWS_X": "key"}, {"TLS": "1"})


def test_the_keys_and_certificates_travel_in_the_environment(env: dict[str, str]) -> None:
    assert env["AWS_X"] == "key"
    assert env["TLS"] == "1"


def test_no_port_of_the_inner_servers_is_used_twice(env: dict[str, str]) -> None:
    ports = {name: int(value) for name, value in env.items() if name.endswith("_PORT")}
    single = [port for name, port in ports.items() if "DIRECT" not in name]
    direct = {
        kind: range(
            ports[f"RAY_SERVE_DIRECT_INGRESS_MIN_{kind}_PORT"],
            ports[f"RAY_SERVE_DIRECT_INGRESS_MAX_{kind}_PORT"] + 1,
        )
        for kind in ("HTTP", "GRPC")
    }
    used = [*single, *direct["HTTP"], *direct["GRPC"]]
    assert len(set(used)) == len(used)
    assert min(used) == 18_000
    assert max(used) <= 18_200


def test_sockets_have_paths_that_a_socket_can_have(env: dict[str, str]) -> None:
    """108 bytes, and Serve adds a folder of the node's own."""
    for name in ("SOCKET_PATH", "METRICS_SOCKET_PATH"):
        path = Path(env[f"RAY_SERVE_HAPROXY_{name}"])
        assert len(str(path.relative_to("/tmp"))) < 40


def test_a_reference_that_ray_has_not_seen_is_an_error(env: dict[str, str]) -> None:
    assert env["RAY_allow_out_of_band_object_ref_serialization"] == "0"


def test_ray_writes_where_nobody_else_looks(env: dict[str, str]) -> None:
    assert env["RAY_TMPDIR"] == "/tmp/faces-0123abcd"


def test_photos_are_kept_in_memory_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would take the disk where shared memory is small, as it is in a container by default."""
    small = shutil.disk_usage(tmp_path)._replace(free=64 * 2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda path: small)
    with pytest.raises(StackError, match=r"/dev/shm has 64 MiB left.*--shm-size"):
        serve.start(tmp_path / "serve.yaml", tmp_path, tmp_path, 18_000, {})


def document(**scale: Any) -> dict[str, Any]:
    return {"applications": [{"name": "faces", "args": {"scale": scale}}]}


def test_ray_counts_the_cores_itself_where_they_suffice() -> None:
    assert serve.resources(document(detect={"num_cpus": 0.1})) == {
        "num_cpus": None,
        "resources": {},
    }
    assert serve.resources({"applications": [{"name": "faces"}]})["num_cpus"] is None


def test_ray_has_what_the_first_replicas_need() -> None:
    """As a RayService's groups of pods would bring it."""
    needed = serve.resources(
        document(
            detect={"min_replicas": 200, "num_cpus": 2, "resources": {"detect": 1, "fast": 0.5}},
            match={"max_replicas": 9, "resources": {"match": 1, "fast": 1}},
        )
    )
    assert needed == {"num_cpus": 401, "resources": {"detect": 200, "match": 1, "fast": 101}}


def test_the_list_of_deployments_goes_before_the_arguments() -> None:
    (application,) = document(detect={"min_replicas": 9, "num_cpus": 100})["applications"]
    application["deployments"] = [
        {
            "name": "detect",
            "autoscaling_config": {"min_replicas": 200},
            "ray_actor_options": {"num_cpus": 2, "resources": {"detect": 1}},
        }
    ]
    needed = serve.resources({"applications": [application]})
    assert needed == {"num_cpus": 400, "resources": {"detect": 200}}


def test_a_proxy_of_the_environment_is_not_asked(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "example.com")
    service.body = {"ready": True, "checks": {}}
    assert serve.readiness(port_of(service)) == service.body
    env = serve.environment(tmp_path, 1, {}, {})
    assert env["no_proxy"] == env["NO_PROXY"] == "example.com,127.0.0.1,localhost"
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert serve.environment(tmp_path, 1, {}, {})["no_proxy"] == "127.0.0.1,localhost"
