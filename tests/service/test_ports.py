"""No side door: all that the one-machine stack opens beside its HTTP API, found by itself."""

from __future__ import annotations

import base64
import json
import re
import stat
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from serving.settings import DEFAULT_MODEL
from serving.stack import s3, serve, triton
from serving.stack.config import BUCKET, StackSettings
from serving.stack.credentials import credentials
from serving.stack.process import LOOPBACK, Process
from tests.service import listeners
from tests.service.listeners import Answer, Listener, Request

# Pages of numbers for Prometheus, of which nobody is kept: a comment or a sample a line.
_SAMPLE = re.compile(r"#.*|[a-zA-Z_:][\w:]*(\{.*\})? \S+( \d+)?")

# What anybody on this machine may have: the console's page, whether the service and the S3 server
# are up, the application's name, and HAProxy's connections in numbers.
_PUBLIC = {
    "HTTP": {"GET /", "GET /healthz", "GET /-/routes", "GET /-/healthz"},
    "S3": {"GET /status", "GET /healthz"},
    "status of HAProxy": {"GET /stats"},
}


def model_that_touches(path: Path) -> str:
    """For Triton's load: a model of the Python backend whose start runs code."""
    code = (
        "import pathlib\n"
        "class TritonPythonModel:\n"
        f"    def initialize(self, args): pathlib.Path({str(path)!r}).touch()\n"
        "    def execute(self, requests): return []\n"
    )
    config = {"backend": "python", "input": [], "output": [], "max_batch_size": 0}
    files = {"file:1/model.py": base64.b64encode(code.encode()).decode()}
    return json.dumps({"parameters": {"config": json.dumps(config), **files}})


def requests(touched: Path, person: int) -> list[Request]:
    """What one would ask of each port of which one does not know what it is."""
    touch = json.dumps({"entrypoint": f"touch {touched}", "submission_id": "evil"})
    return [
        Request("GET", "/"),
        Request("GET", "/metrics"),
        Request("GET", "/stats"),
        Request("GET", "/status"),
        Request("GET", "/healthz"),
        Request("GET", "/-/routes"),
        Request("GET", "/-/healthz"),
        # Triton
        Request("POST", "/v2/repository/index"),
        Request("POST", "/v2/repository/models/evil/load", model_that_touches(touched)),
        Request("POST", "/v2/systemsharedmemory/region/evil/register", "{}"),
        Request("POST", "/v2/logging", '{"log_verbose_level": 1}'),
        Request("POST", "/v2/trace/setting", "{}"),
        Request("POST", f"/v2/models/{DEFAULT_MODEL}/infer", "{}"),
        # SeaweedFS: the filer, the master, the volume server
        Request("GET", f"/buckets/{BUCKET}/?pretty=y"),
        Request("PUT", f"/buckets/{BUCKET}/evil.txt", "evil"),
        Request("DELETE", f"/buckets/{BUCKET}/galleries?recursive=true"),
        Request("POST", f"/col/delete?collection={BUCKET}"),
        Request("GET", "/dir/status"),
        Request("GET", "/dir/assign"),
        Request("GET", "/vol/status"),
        Request("GET", "/1,0100000000"),
        Request("DELETE", "/1,0100000000"),
        # S3
        Request("GET", f"/{BUCKET}?list-type=2"),
        Request("PUT", f"/{BUCKET}/evil.txt", "evil"),
        Request("DELETE", f"/{BUCKET}"),
        # Ray's dashboard and agents
        Request("GET", "/api/version"),
        Request("GET", "/api/jobs/"),
        Request("POST", "/api/jobs/", touch),
        Request("POST", "/api/job_agent/jobs/", touch),
        Request("GET", "/api/serve/applications/"),
        Request("DELETE", "/api/serve/applications/"),
        Request("POST", "/get_or_create_runtime_env"),
        # The API itself, for which its own rules about hosts and origins hold
        Request("GET", "/identities"),
        Request("GET", f"/identities/{person}"),
        Request("DELETE", f"/identities/{person}"),
        Request("DELETE", "/identities?confirm=all"),
        Request("POST", "/infer"),
    ]


def purposes(stack: StackSettings) -> dict[int, str]:
    """Of the ports that answer somebody; any other one has to refuse everything."""
    return {
        stack.port: "HTTP",
        stack.inner_port + 2: "HTTP",  # Serve's own proxy, for when HAProxy has no replica
        stack.inner_port + 3: "HTTP",  # the replica of the ingress
        stack.s3_port: "S3",
        stack.inner_port + 1: "status of HAProxy",
    }


@pytest.fixture
def pids(stack: StackSettings, processes: list[Process]) -> set[int]:
    return listeners.family((p.pid for p in processes), f"{stack.folder}/ray.key")


@pytest.fixture
def found(pids: set[int]) -> list[Listener]:
    return listeners.ports(pids)


@pytest.fixture
def person(api: httpx.Client, data: Path, new_id: int) -> int:
    """Somebody who is enrolled, whom an attack could read or remove."""
    photo = {"images": (data / "group.jpg").read_bytes()}
    api.post("/generate", data={"id": str(new_id)}, files=photo).raise_for_status()
    return new_id


@pytest.fixture
def bucket(stack: StackSettings) -> Any:
    keys = credentials(stack.folder)
    return boto3.client(
        "s3",
        endpoint_url=f"http://{LOOPBACK}:{stack.s3_port}",
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def is_page_of_metrics(body: bytes) -> bool:
    lines = body.decode().splitlines()
    return bool(lines) and all(_SAMPLE.fullmatch(line) for line in lines if line)


def what_is_open(
    listener: Listener, purpose: str | None, asked: list[Request]
) -> tuple[list[str], list[str]]:
    """What a port answered, and what of it it should not have."""
    said: list[str] = []
    wrong: list[str] = []

    def note(request: Request, answer: Answer, by: str) -> None:
        if answer.status >= 400 or (answer.status == 0 and not answer.body):
            return
        line = f"{by}{request}: {answer.status or 'no HTTP'}"
        if str(request) in _PUBLIC.get(purpose or "", ()):
            pass
        elif request.method == "GET" and answer.status == 200 and not answer.body:
            line = "nothing to any GET"
        elif request.method == "GET" and answer.status == 200 and is_page_of_metrics(answer.body):
            line = "metrics"
        else:
            wrong.append(f"{line} {answer.body[:60]!r}")
        if line not in said:
            said.append(line)

    speaks_http = False
    for request in asked:
        answer = listeners.send(listener.port, request)
        speaks_http |= answer.status > 0
        note(request, answer, "")
        if not speaks_http:
            break  # it takes no request; what it says to others comes below
    for request in asked[:1] if not speaks_http else ():
        note(request, listeners.send(listener.port, request, listeners.anybody()), "TLS: ")
    # Over HTTP/2 a server that also speaks HTTP/1.1 answers as there.
    if not speaks_http and listeners.grpc(listener.port):
        wrong.append("gRPC without TLS")
    if listeners.grpc(listener.port, listeners.anybody()):
        wrong.append("gRPC without a certificate")
    if not listener.on_loopback and speaks_http:
        wrong.append("HTTP to the network")
    return said, wrong


def objects_of(bucket: Any) -> list[str]:
    """The keys of all objects, but not those of the audit, which writes down what was asked."""
    pages = bucket.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
    return [key for key in keys if not key.startswith("audit/")]


def test_no_port_serves_a_page_of_another_origin_or_somebody_without_keys(
    stack: StackSettings,
    found: list[Listener],
    api: httpx.Client,
    bucket: Any,
    person: int,
    tmp_path: Path,
) -> None:
    touched = tmp_path / "touched"
    objects = objects_of(bucket)
    asked, known = requests(touched, person), purposes(stack)
    table, wrong = [], []
    for listener in found:
        purpose = known.get(listener.port)
        said, bad = what_is_open(listener, purpose, asked)
        place = "loopback" if listener.on_loopback else "all interfaces"
        row = f"{listener.port:6} {place:15} {listener.process:45} {purpose or ''}"
        table.append(f"{row} {'; '.join(said) or 'refuses'}")
        wrong += [f"{row}: {line}" for line in bad]
    print("\n".join(table))
    assert wrong == []
    # All of it was found, and nothing has happened.
    on_all = [each.port for each in found if not each.on_loopback]
    assert len(on_all) >= 4  # a replica each
    assert {stack.port, *s3.ports_of(stack.s3_port).values()} <= {each.port for each in found}
    assert not touched.exists()
    assert api.get(f"/identities/{person}").status_code == 200
    assert objects == objects_of(bucket)


def test_the_ports_are_those_of_the_stack(stack: StackSettings, found: list[Listener]) -> None:
    """Nothing listens beyond what the settings name, but for Ray's own servers behind TLS."""
    inner = range(stack.inner_port, stack.inner_port + 201)
    of_rays_own = {each.port for each in found if each.process.startswith("ray::")}
    named = {
        *serve.ports_of(stack.port).values(),
        *triton.ports_of(stack.triton_port).values(),
        *s3.ports_of(stack.s3_port).values(),
        *inner,
    }
    rest = {each.process for each in found if each.port not in named | of_rays_own}
    assert rest <= {"raylet", "gcs_server", "monitor.py", "dashboard.py", "python"}


def test_the_inner_servers_of_s3_serve_who_has_the_stacks_certificate(
    stack: StackSettings,
) -> None:
    """So it is the certificate that the others lack."""
    context = listeners.owner(stack.folder / "s3.crt")
    for name, port in s3.ports_of(stack.s3_port).items():
        if "gRPC" in name:
            assert listeners.grpc(port, context), name
            assert not listeners.grpc(port, listeners.anybody()), name
        elif name != "S3 (s3)":
            plain = listeners.owner(stack.folder / "s3.crt")
            plain.set_alpn_protocols(["http/1.1"])
            assert listeners.send(port, Request("GET", "/"), plain).status > 0, name


def test_s3_serves_nobody_without_a_signature_nor_by_another_name(
    stack: StackSettings, bucket: Any, person: int
) -> None:
    key = bucket.list_objects_v2(Bucket=BUCKET)["Contents"][0]["Key"]
    signed = bucket.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key})
    assert httpx.get(signed).status_code == 200
    rebound = httpx.get(signed, headers={"Host": f"evil.example:{stack.s3_port}"})
    assert rebound.status_code == 403
    unsigned = httpx.get(signed.partition("?")[0], headers=listeners.FOREIGN)
    assert unsigned.status_code == 403
    assert "Access-Control-Allow-Origin" not in unsigned.headers


def is_closed(path: Path) -> bool:
    """Whether its own mode, or that of a folder above it, keeps everybody else out."""
    # To connect is to write. HAProxy has renamed its socket since, so there the folder has to do.
    if path.exists() and not path.stat().st_mode & 0o022:
        return True
    return any(not stat.S_IMODE(above.stat().st_mode) & 0o011 for above in path.parents)


def test_no_socket_in_the_file_system_is_open_to_other_accounts(
    stack: StackSettings, pids: set[int]
) -> None:
    sockets = dict(listeners.unix_sockets(pids))
    print("\n".join(f"{path} {process}" for path, process in sockets.items()))
    triton_socket = Path(triton.url_of(stack.folder).removeprefix("unix:"))
    assert triton_socket in sockets
    assert any("admin.sock" in path.name for path in sockets)  # HAProxy's, of mode 0666
    assert [path for path in sockets if str(path).startswith("@")] == []  # they have no mode
    # Relative ones are in the folder of the stack.
    assert [path for path in sockets if not is_closed(stack.folder / path)] == []


def test_triton_is_there_for_the_user_alone(stack: StackSettings, found: list[Listener]) -> None:
    with triton.client(stack.folder) as client:
        assert client.get("/v2").json()["name"] == "triton"
    of_triton = [each.port for each in found if each.process == "tritonserver"]
    assert of_triton == list(triton.ports_of(stack.triton_port).values())


def test_no_file_of_the_stack_is_readable_by_other_accounts(
    stack: StackSettings, person: int
) -> None:
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700
    files = list(stack.folder.rglob("*"))
    assert any(path.suffix == ".dat" for path in files)  # where the embeddings are
    readable = [
        path
        for path in files
        # The sizes of its volumes, to which SeaweedFS gives a mode of its own.
        if path.suffix != ".vif" and path.lstat().st_mode & 0o077 and not path.is_symlink()
    ]
    assert readable == []
