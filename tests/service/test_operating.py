"""The commands of the maintenance, in a pod that is locked down, on a real S3 server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from serving.gallery import Gallery
from serving.gallery.location import Location, open_store
from serving.gallery.s3 import S3Store, connect
from serving.settings import GallerySettings
from serving.stack.config import StackSettings, serve_config
from tests.service import pod
from tests.support import seaweed
from tests.support.people import DIMENSION, put

PORT = 17040
MODEL = "facenet-x@0123456789ab"
OTHER = "facenet-y@0123456789ab"

pytestmark = pytest.mark.skipif(
    not pod.possible(), reason="this system lets no user have name spaces of his own"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[seaweed.Seaweed]:
    folder = tmp_path_factory.mktemp("s3")
    with seaweed.running(folder, PORT) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.keys.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture
def settings(server: seaweed.Seaweed, request: pytest.FixtureRequest) -> GallerySettings:
    """Of a part of the bucket that is the test's own."""
    return server.settings.model_copy(update={"prefix": request.node.name})


@pytest.fixture
def store(settings: GallerySettings) -> S3Store:
    return connect(settings)


class Pod:
    """Runs `faces gallery …` with the configuration mounted."""

    def __init__(self, config: Path, keys: dict[str, str]) -> None:
        self._env = {"FACES_CONFIG": str(config), **keys}

    def __call__(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        done = pod.run([*pod.FACES, "gallery", *words], self._env | env)
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def cronjob(tmp_path: Path, server: seaweed.Seaweed, settings: GallerySettings) -> Pod:
    stack = StackSettings(overrides={"gallery": settings.model_dump()})
    mounted = tmp_path / "..data"
    mounted.mkdir()
    (mounted / "serve.yaml").write_text(yaml.safe_dump(serve_config(stack)))
    (tmp_path / "serve.yaml").symlink_to("..data/serve.yaml")
    (mounted / "serve.yaml").chmod(0o444)
    return Pod(tmp_path / "serve.yaml", dict(server.keys))


def fill(settings: GallerySettings, model: str, people: int = 5) -> Gallery:
    store = open_store(settings)
    gallery = Gallery(store, settings.prefix, Location(settings.collection, model, DIMENSION))
    for person in range(people):
        gallery.commit([put(person)])
    return gallery


def segments(store: S3Store, settings: GallerySettings, model: str) -> int:
    return sum("/segments/" in e.key and model in e.key for e in store.list(settings.prefix))


def test_the_pod_is_locked_down() -> None:
    told = pod.run(["sh", "-c", "id -u; getent passwd 64123; ls $HOME; touch /tmp/x; touch /x"], {})
    assert told.stdout == "64123\n"
    assert told.stderr.count("Read-only file system") == 2
    assert "cannot access '/nonexistent'" in told.stderr


def test_galleries_are_kept_in_order(
    cronjob: Pod, settings: GallerySettings, store: S3Store
) -> None:
    galleries = [fill(settings, model) for model in (MODEL, OTHER)]
    compacted = cronjob("compact")
    assert compacted.returncode == 0
    # The audit log, and nothing else.
    assert [line.split()[:2] for line in compacted.stderr.splitlines()] == [
        ["INFO:", "compact"]
    ] * 2
    assert compacted.stdout.count("5 segments before, 1 after") == 2
    kept = cronjob("sweep")
    assert kept.stdout.count("0 objects of 0 bytes removed") == 2
    assert segments(store, settings, MODEL) == 6
    swept = cronjob("sweep", "--grace", "0")
    assert swept.returncode == 0
    assert [line.split()[:2] for line in swept.stderr.splitlines()] == [["INFO:", "sweep"]] * 2
    assert segments(store, settings, MODEL) == segments(store, settings, OTHER) == 1
    for gallery in galleries:
        assert [p.id for p in gallery.refresh().list(9)] == list(range(5))


def test_one_that_fails_does_not_keep_the_others_from_it(
    cronjob: Pod, settings: GallerySettings, store: S3Store
) -> None:
    fill(settings, OTHER)
    store.put(f"{settings.prefix}/a/{MODEL}/manifest.json", b"{")  # the first of the listing
    fill(settings.model_copy(update={"collection": "b"}), MODEL)
    (key, *_) = [e.key for e in store.list(f"{settings.prefix}/b/{MODEL}/segments/")]
    store.put(key, b"damaged")
    compacted = cronjob("compact")
    assert compacted.returncode == 1
    assert f"a/{MODEL}: The manifest" in compacted.stderr
    assert f"b/{MODEL}: The gallery's object {key} is damaged" in compacted.stderr
    assert compacted.stdout.startswith(f"default/{OTHER}: 5 segments before, 1 after")
    swept = cronjob("sweep", "--grace", "0")
    assert swept.returncode == 1
    assert segments(store, settings, OTHER) == 1


def test_before_anybody_is_enrolled_there_is_nothing_to_do(cronjob: Pod) -> None:
    for command in ("compact", "sweep"):
        done = cronjob(command)
        assert (done.returncode, done.stderr) == (0, "")


def test_what_is_wrong_is_told(cronjob: Pod) -> None:
    wrong = cronjob("compact", AWS_SECRET_ACCESS_KEY="wrong")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "Error: The bucket 'faces' refuses the secret key.\n"
    none = cronjob("sweep", AWS_ACCESS_KEY_ID="", AWS_EC2_METADATA_DISABLED="true")
    assert (none.returncode, none.stdout) == (1, "")
    assert "There are no keys for the bucket 'faces'" in none.stderr
    config = cronjob("sweep", "--config", "/proc/version")
    assert config.returncode == 1
    assert "/proc/version is no serveConfigV2" in config.stderr
