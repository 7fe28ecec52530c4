"""`faces batch` and `faces enroll` over a bucket: killed, gone on with, and as without a bucket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.client import Client
from serving.gallery.s3 import S3Store, connect
from serving.settings import GallerySettings
from serving.stack.config import BUCKET, StackSettings
from serving.stack.credentials import credentials


class Job:
    """A command over a prefix of the stack's own bucket, ``PREFIX/in``, with results in
    ``PREFIX/out``."""

    def __init__(self, stack: StackSettings, command: str, prefix: str, *options: str) -> None:
        keys = credentials(stack.folder)
        endpoint = f"http://127.0.0.1:{stack.s3_port}"
        settings = GallerySettings(bucket=BUCKET, endpoint=endpoint)
        self.store: S3Store = connect(settings, credentials=keys)
        self.prefix = prefix
        self.env = {**os.environ, **keys, "AWS_ENDPOINT_URL": endpoint, "FACES_URL": stack.url}
        where = [f"s3://{BUCKET}/{prefix}/in", "--out", f"s3://{BUCKET}/{prefix}/out"]
        self._command = [sys.executable, "-m", "serving", command, *where, *options]

    def start(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._command, env=self.env, stdout=pipe, stderr=pipe, text=True, encoding="utf-8"
        )

    def killed(self, parts: int) -> dict[str, bytes]:
        """Start it, kill it when there are so many parts, and return those that there are."""
        running = self.start()
        while len(self.parts()) < parts and running.poll() is None:
            time.sleep(0.05)
        running.kill()
        running.communicate()
        return self.parts()

    def parts(self) -> dict[str, bytes]:
        keys = [entry.key for entry in self.store.list(f"{self.prefix}/out/part-")]
        return {key: self.store.get(key).data for key in keys}

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(n) for data in self.parts().values() for n in data.splitlines()]

    def summary(self) -> dict[str, Any]:
        return dict(json.loads(self.store.get(f"{self.prefix}/out/summary.json").data))


def without_noise(answer: dict[str, Any]) -> dict[str, Any]:
    rounded = json.loads(json.dumps(answer), parse_float=lambda text: round(float(text), 4))
    return dict(rounded)


def test_a_job_that_is_killed_goes_on_and_answers_as_infer(
    stack: StackSettings, api: httpx.Client, data: Path, new_id: int
) -> None:
    options = ("--part-photos", "3", "--top-k", "2", "--concurrency", "2")
    job = Job(stack, "batch", "batch", *options)
    sunak = data / "people/103/sunak.jpg"
    photos = [*sorted((data / "2576").glob("*.jpg"))[:17], sunak, data / "group.jpg"]
    files = {f"batch/in/{n:02}/{photo.name}": photo.read_bytes() for n, photo in enumerate(photos)}
    files["batch/in/99/no photo\x1b[2J é.jpg"] = b"no photo"
    files["batch/in/99/empty.png"] = b""
    for key, content in files.items():
        job.store.put(key, content)
    job.store.put("batch/in/notes.txt", b"She is on the left.")
    with Client(stack.url) as client:
        client.enrol(new_id, sunak, name="Rishi Sunak")

    found = job.killed(parts=2)
    assert 2 <= len(found) < 7, "it was over before it could be killed"

    ended = job.start()
    out, err = ended.communicate(timeout=120)
    assert ended.returncode == 1, err  # for two of the files
    assert "2 photos could not be looked up." in err
    assert "\x1b[2J" not in out + err
    assert job.parts().items() >= found.items()
    summary = job.summary()
    assert (summary["photos"], summary["parts"], summary["passed_over"]) == (21, 7, 1)
    assert summary["errors"] == {"unsupported-image": 2}
    assert summary["named"] == 1

    lines = job.lines()
    assert sorted(line["photo"] for line in lines) == sorted(files)
    with Client(stack.url) as client:
        for line in lines:
            if line["photo"].startswith("batch/in/99/"):
                assert (line["error"]["type"], line["error"]["status"]) == (
                    "unsupported-image",
                    415,
                )
                continue
            answer = client.infer(files[line["photo"]], top_k=2)
            of_the_job = {name: line[name] for name in answer}
            assert without_noise(of_the_job) == without_noise(dict(answer))
        client.delete(new_id)


# Folders of people with their photos; 104 is in two folders, and the last six show 2576.
PEOPLE = ("101", "102", "103", "104", "00104", *map(str, range(201, 207)), "2576")


def people_in(folder: Path, data: Path) -> None:
    """Make the folders of `PEOPLE`."""
    known = sorted((data / "2576").glob("*.jpg"))
    photos = {
        **{name: sorted((data / "people" / name).glob("*.jpg")) for name in PEOPLE[:4]},
        "00104": [data / "people/104/collins.jpg"],
        **{name: [known[n]] for n, name in enumerate(PEOPLE[5:11])},
        "2576": known,
    }
    for name, of in photos.items():
        (folder / name).mkdir(parents=True)
        for photo in of:
            (folder / name / photo.name).write_bytes(photo.read_bytes())
    (folder / "103" / "notes.txt").write_text("She is on the left.")
    (folder / "103" / "broken.jpg").write_bytes(b"no photo")


def gallery_of(stack: StackSettings, collection: str) -> list[tuple[Any, ...]]:
    """Of each person the id, the name, and how alike the photos are."""
    with Client(stack.url, collection=collection) as client:
        people = list(client.identities())
        return [
            (
                person["id"],
                person["name"],
                person["photos"],
                [photo["similarity"] for photo in client.photos(person["id"])["photos"]],
            )
            for person in people
        ]


@pytest.mark.timeout(300)
def test_people_of_a_bucket_are_enrolled_as_those_of_a_folder(
    stack: StackSettings, api: httpx.Client, data: Path, tmp_path: Path
) -> None:
    people_in(tmp_path / "people", data)
    names = tmp_path / "names.json"
    names.write_text('{"101": "Emmanuel Macron", "2576": "Jacinda Ardern"}')
    options = ("--part-people", "1", "--concurrency", "1", "--collection", "bucket")
    job = Job(stack, "enroll", "enrol", *options, "--names", f"s3://{BUCKET}/enrol/names.json")
    for path in (tmp_path / "people").rglob("*.*"):
        key = f"enrol/in/{path.relative_to(tmp_path / 'people')}"
        job.store.put(key, path.read_bytes())
    job.store.put("enrol/names.json", names.read_bytes())

    found = job.killed(parts=3)
    assert 3 <= len(found) < 11, "it was over before it could be killed"
    ended = job.start()
    out, err = ended.communicate(timeout=200)
    assert ended.returncode == 0, err
    assert "11 of 11 people are enrolled." in out
    assert "1 file was passed over: 1 .txt." in out
    assert job.parts().items() >= found.items()
    assert [line["person"] for line in job.lines()] == sorted({int(name) for name in PEOPLE})
    broken = [photo for line in job.lines() for photo in line["not_used"]]
    assert [photo["photo"] for photo in broken] == ["enrol/in/103/broken.jpg"]
    summary = job.summary()
    assert (summary["people"], summary["enrolled"], summary["errors"]) == (11, 11, {})
    assert summary["photos"] == summary["used"] + 1

    folder = [tmp_path / "people", "--names", names, "--collection", "folder"]
    subprocess.run(
        [sys.executable, "-m", "serving", "enroll", *map(str, folder)],
        env=job.env,
        check=True,
        timeout=200,
    )
    from_bucket, from_folder = (gallery_of(stack, name) for name in ("bucket", "folder"))
    assert [person[:3] for person in from_bucket] == [person[:3] for person in from_folder]
    for one, other in zip(from_bucket, from_folder, strict=True):
        for a, b in zip(one[3], other[3], strict=True):
            assert a == pytest.approx(b, abs=2e-3)
    for name in ("bucket", "folder"):
        with Client(stack.url, collection=name) as client:
            client.delete_all()


def test_photos_that_are_appended_from_a_bucket_are_there_once(
    stack: StackSettings, api: httpx.Client, data: Path, new_id: int
) -> None:
    job = Job(stack, "enroll", "append", "--append", "--part-people", "100")
    photos = sorted((data / "2576").glob("*.jpg"))[:4]
    for photo in photos[1:]:
        job.store.put(f"append/in/{new_id}/{photo.name}", photo.read_bytes())
    with Client(stack.url) as client:
        client.enrol(new_id, photos[0])
        ended = job.start()
        _, err = ended.communicate(timeout=100)
        assert ended.returncode == 0, err
        # As if it had been killed before its part.
        for entry in [*job.store.list("append/out/part-"), *job.store.list("append/out/summary")]:
            job.store.delete(entry.key)
        again = job.start()
        _, err = again.communicate(timeout=100)
        assert again.returncode == 0, err
        assert client.identity(new_id)["photos"] == 4
        client.delete(new_id)
