"""`faces model publish` as a Job runs it; what arrives is fetched by KServe's own downloader and
served by a real tritonserver."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import torch
from botocore.config import Config
from numpy.typing import NDArray
from PIL import Image

from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.model.repository import CARD, CONFIG, MODEL, REPOSITORY
from serving.settings import TritonSettings
from serving.stack import triton
from serving.stack.config import BUCKET
from serving.stack.process import LOOPBACK, check_ports
from serving.vision.faces import crop_face
from serving.vision.mtcnn.detector import FaceDetector
from tests.service import pod
from tests.support import images, seaweed

PORT = 17300
TRITON_PORT = 17310
NAME = "facenet-casia-webface"
OTHER_ID = f"{NAME}@ffffffffffff"
# Of the crop whose bytes count from 0 to 255 over and over: the first values of its embedding.
KNOWN_ANSWER = (-0.036793, 0.072755, 0.029434, -0.049416, -0.032267, 0.007160)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[seaweed.Seaweed]:
    folder = tmp_path_factory.mktemp("s3")
    with seaweed.running(folder, PORT) as server:
        yield server
    shutil.rmtree(folder)  # pytest would keep a gigabyte


@pytest.fixture(scope="module")
def env(server: seaweed.Seaweed) -> dict[str, str]:
    """As a pod of KServe gets it from the Secret and the ServiceAccount."""
    return {
        **server.keys,
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{PORT}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "S3_USE_HTTPS": "0",
    }


class Bucket:
    """The bucket as it is; ``prefix`` is the test's own."""

    def __init__(self, env: Mapping[str, str], prefix: str) -> None:
        self._env = env
        self.prefix = prefix
        self.uri = f"s3://{BUCKET}/{prefix}/{NAME}"
        self.client = boto3.client(
            "s3",
            endpoint_url=env["AWS_ENDPOINT_URL"],
            region_name=env["AWS_DEFAULT_REGION"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            config=Config(s3={"addressing_style": "path"}),
        )

    def key(self, name: str) -> str:
        return f"{self.prefix}/{NAME}/{NAME}/{name}"

    def objects(self) -> dict[str, tuple[int, str, object]]:
        """Size, ETag and time by name."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.prefix}/{NAME}/")
        start = len(self.key(""))
        return {
            o["Key"][start:]: (o["Size"], o["ETag"], o["LastModified"])
            for o in found.get("Contents", ())
        }

    def download(self, folder: Path, uri: str = "") -> Path:
        """What KServe's init container makes of the URI that the command told."""
        code = "import sys; from kserve_storage import Storage; Storage.download(*sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", code, uri or f"{self.uri}/", folder],
            env={**os.environ, **self._env},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return folder


@pytest.fixture
def bucket(env: dict[str, str], request: pytest.FixtureRequest) -> Bucket:
    return Bucket(env, request.node.name)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For copies of the model, of which none stays."""
    yield tmp_path
    shutil.rmtree(tmp_path)


class Job:
    """Runs `faces model publish` in a pod that is locked down, where the system allows that."""

    def __init__(self, env: Mapping[str, str], uri: str) -> None:
        self._env = env
        self._uri = uri

    def command(self, *words: str, uri: str = "", repository: Path = REPOSITORY) -> list[str]:
        return [
            *pod.FACES, "model", "publish", NAME, uri or self._uri,
            "--repository", str(repository), *words,
        ]  # fmt: skip

    def __call__(
        self, *words: str, uri: str = "", repository: Path = REPOSITORY, **env: str
    ) -> subprocess.CompletedProcess[str]:
        command = self.command(*words, uri=uri, repository=repository)
        if pod.possible():
            done = pod.run(command, {**self._env, **env})
        else:
            done = subprocess.run(
                command,
                env={**os.environ, **self._env, **env},
                capture_output=True,
                text=True,
                timeout=240,
            )
        assert "Traceback" not in done.stderr
        return done

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(),
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self._env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def publish(env: dict[str, str], bucket: Bucket) -> Job:
    return Job(env, bucket.uri)


@pytest.fixture
def other(folder: Path) -> Path:
    """A repository that says of the same file that it is of other weights."""
    repository = folder / "other"
    shutil.copytree(REPOSITORY / NAME, repository / NAME)
    card = ModelCard.from_json((REPOSITORY / NAME / CARD).read_text())
    changed = card.model_copy(update={"id": OTHER_ID})
    (repository / NAME / CARD).write_text(changed.to_json())
    config = (REPOSITORY / NAME / CONFIG).read_text()
    (repository / NAME / CONFIG).write_text(config.replace(card.to_pbtxt(), changed.to_pbtxt()))
    return repository


def local_id() -> str:
    return ModelCard.from_json((REPOSITORY / NAME / CARD).read_text()).id


def assert_is_published(folder: Path, repository: Path = REPOSITORY) -> None:
    files = sorted(str(p.relative_to(folder / NAME)) for p in folder.rglob("*") if p.is_file())
    assert files == sorted([MODEL, CONFIG, CARD])
    for name in files:
        assert (folder / NAME / name).read_bytes() == (repository / NAME / name).read_bytes()


def face() -> NDArray[np.uint8]:
    """(1, 3, 160, 160): the face of a photo as the service crops it."""
    with Image.open(images.PORTRAIT) as photo:
        upright = photo.convert("RGB")
        found = FaceDetector(threads=1).detect(np.asarray(upright))
        return crop_face(upright, found.boxes[0]).transpose(2, 0, 1)[None]


def in_process(crops: NDArray[np.uint8]) -> Any:
    module = torch.jit.load(str(REPOSITORY / NAME / MODEL))  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        return module(torch.from_numpy(crops)).numpy()


def served(crops: NDArray[np.uint8], url: str) -> tuple[str, Any]:
    """The id of the model that tritonserver has, and its answer."""

    async def ask() -> tuple[str, Any]:
        embedder = Embedder(TritonSettings(url=url, model=NAME))
        try:
            return (await embedder.served()).card.id, await embedder.embed(crops)
        finally:
            await embedder.close()

    return asyncio.run(ask())


def test_what_is_published_is_fetched_by_kserve_and_served_by_triton(
    publish: Job, bucket: Bucket, folder: Path
) -> None:
    done = publish()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{local_id()} (94 MB) is published to {bucket.uri}/" in done.stdout
    # A neighbour whose key begins with the same letters.
    bucket.client.put_object(Bucket=BUCKET, Key=f"{bucket.prefix}/{NAME}-2/x.txt", Body=b"x")
    assert_is_published(bucket.download(folder / "models"))
    # Which is why the URI is told with a slash at its end.
    assert (bucket.download(folder / "without", bucket.uri) / "-2" / "x.txt").is_file()

    # Where tritonserver from pip finds what stands in for the PyTorch backend.
    (folder / "backends").symlink_to(REPOSITORY.parent / "backends")
    check_ports(triton.ports_of(TRITON_PORT))
    run = folder / "run"
    process = triton.start(run, folder / "logs", TRITON_PORT, folder / "models", NAME, threads=1)
    try:
        process.wait_until(lambda: triton.is_ready(run, NAME), 120)
        ramp = np.resize(np.arange(256, dtype=np.uint8), (1, 3, 160, 160))
        crops = np.concatenate([face(), ramp])
        model, answer = served(crops, triton.url_of(run))
    finally:
        process.stop(10)
    assert model == local_id()
    np.testing.assert_allclose(answer, in_process(crops), atol=1e-5)
    np.testing.assert_allclose(answer[1, : len(KNOWN_ANSWER)], KNOWN_ANSWER, atol=2e-5)


def test_what_is_there_is_not_uploaded_again(publish: Job, bucket: Bucket, folder: Path) -> None:
    publish()
    before = bucket.objects()
    assert len(before) == 3
    time.sleep(1.1)  # the clock of LastModified
    again = publish()
    assert again.stdout == f"{local_id()} is at {bucket.uri}/ already; nothing to do.\n"
    assert (again.returncode, bucket.objects()) == (0, before)

    shutil.copytree(REPOSITORY / NAME, folder / "anew" / NAME)
    file = folder / "anew" / NAME / MODEL
    file.unlink()
    module = torch.jit.load(str(REPOSITORY / NAME / MODEL))  # type: ignore[no-untyped-call]
    torch.jit.save(module, file, _extra_files={"traced": b"anew"})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (file.parent / "model.sha256").write_text(f"{digest}  model.pt\n")
    anew = publish(repository=folder / "anew")
    assert anew.stdout == again.stdout
    assert bucket.objects() == before


def test_another_model_is_refused_or_replaces(
    publish: Job, bucket: Bucket, other: Path, folder: Path
) -> None:
    publish()
    before = bucket.objects()
    refused = publish(repository=other)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"holds {local_id()}, and not {OTHER_ID}; publish under another prefix" in refused.stderr
    assert bucket.objects() == before
    dry = publish("--replace", "--dry-run", repository=other)
    assert dry.stdout.count("Delete ") == 2
    assert bucket.objects() == before

    replaced = publish("--replace", repository=other)
    assert (replaced.returncode, replaced.stderr) == (0, "")
    assert_is_published(bucket.download(folder / "models"), other)
    rolled_out = publish(uri=f"s3://{BUCKET}/{bucket.prefix}/next/{NAME}")
    assert rolled_out.returncode == 0


def test_what_is_damaged_is_repaired(publish: Job, bucket: Bucket, folder: Path) -> None:
    publish()
    whole = (REPOSITORY / NAME / MODEL).read_bytes()
    told = bucket.client.head_object(Bucket=BUCKET, Key=bucket.key(MODEL))["Metadata"]
    for damaged in (whole[:1000], whole[:-1] + b"?"):
        # Even with the metadata of the whole one.
        bucket.client.put_object(
            Bucket=BUCKET, Key=bucket.key(MODEL), Body=damaged, Metadata=told,
            ChecksumAlgorithm="SHA256",
        )  # fmt: skip
        before = bucket.objects()
        assert publish().returncode == 0
        after = bucket.objects()
        assert [n for n in after if after[n] != before[n]] == [MODEL]
    bucket.client.delete_object(Bucket=BUCKET, Key=bucket.key(CONFIG))
    assert publish().returncode == 0
    assert_is_published(bucket.download(folder / "models"))


def test_an_upload_that_was_broken_off_is_completed(
    publish: Job, bucket: Bucket, folder: Path
) -> None:
    for name in (MODEL, CONFIG):
        job = publish.start()
        assert job.stdout is not None
        for line in job.stdout:
            if line == f"Upload {bucket.key(name)}\n":
                break
        job.kill()
        job.communicate(timeout=60)
        # On a busy machine it may have got further before it was killed.
        bucket.client.delete_object(Bucket=BUCKET, Key=bucket.key(CARD))
    done = publish()
    assert (done.returncode, done.stderr) == (0, "")
    assert_is_published(bucket.download(folder / "models"))


def test_jobs_that_run_at_once_end_with_a_whole_model(
    publish: Job, bucket: Bucket, folder: Path
) -> None:
    jobs = [publish.start() for _ in range(3)]
    for job in jobs:
        _, told = job.communicate(timeout=240)
        assert (job.returncode, told) == (0, "")
    assert_is_published(bucket.download(folder / "models"))
    assert publish().stdout.endswith("nothing to do.\n")


def test_what_is_wrong_is_told_and_nothing_is_made(
    publish: Job, bucket: Bucket, folder: Path
) -> None:
    missing = publish(uri=f"s3://nowhere/{NAME}")
    assert missing.returncode == 1
    assert missing.stderr == "Error: The bucket 'nowhere' does not exist; create it first.\n"
    assert [b["Name"] for b in bucket.client.list_buckets()["Buckets"]] == [BUCKET]

    keys = publish(AWS_SECRET_ACCESS_KEY="wrong")
    assert (keys.returncode, "refuses the secret key" in keys.stderr) == (1, True)
    away = publish("--endpoint", f"http://{LOOPBACK}:1")
    assert (away.returncode, "cannot be reached" in away.stderr) == (1, True)

    shutil.copytree(REPOSITORY / NAME, folder / NAME)
    (folder / NAME / MODEL).unlink()
    (folder / NAME / MODEL).write_bytes(b"half")
    half = publish(repository=folder)
    assert (half.returncode, "half-written" in half.stderr) == (1, True)
    assert bucket.objects() == {}
