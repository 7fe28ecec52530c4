"""CompreFace's own Python SDK, and requests as double-take sends them, against the real service."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from serving.stack.config import StackSettings
from tests.support import compreface_sdk

RECOGNITION = "/api/v1/recognition"
# As one file of photos: the SDK runs in a process of its own, from its wheel.
PROGRAM = """
import json, sys
from compreface import CompreFace

host, port, ada, again, other, crowd = sys.argv[1:]
server = CompreFace(host, port)
service = server.init_face_recognition("no-key")
faces, subjects = service.get_face_collection(), service.get_subjects()
told = {}
told["new"] = subjects.add("Jacinda Ardern")
told["added"] = faces.add(ada, "Jacinda Ardern", {"det_prob_threshold": 0.8})
told["second"] = faces.add(open(again, "rb").read(), "Jacinda Ardern")
told["exists"] = subjects.add("Jacinda Ardern")
told["subjects"] = subjects.list()
told["faces"] = faces.list()
options = {"limit": 0, "prediction_count": 1, "det_prob_threshold": 0.8, "status": True}
told["known"] = service.recognize(again, options)
told["stranger"] = service.recognize(other)
told["verified"] = faces.verify(again, told["added"]["image_id"])
verification = server.init_face_verification("no-key")
told["pair"] = verification.verify(ada, again, {"face_plugins": "landmarks"})
told["detected"] = server.init_face_detection("no-key").detect(crowd)
told["renamed"] = subjects.update("Jacinda Ardern", "J. Ardern")
told["deleted"] = faces.delete(told["second"]["image_id"])
told["all"] = faces.delete_all("J. Ardern")
told["left"] = subjects.list()
print(json.dumps(told))
"""


# Photos as a file of a form, and as base64 in JSON.
JAVASCRIPT = """
import { readFileSync } from "fs";
import { CompreFace } from "@exadel/compreface-js-sdk";

const [host, port] = process.argv.slice(1);
const server = new CompreFace(host, port);
const service = server.initFaceRecognitionService("no-key");
const encoded = (file) => readFileSync(file).toString("base64");
const told = {};
told.added = await service.getFaceCollection().add("./0.jpg", "Ardern", {});
told.second = await service.getFaceCollection().add(encoded("1.jpg"), "Ardern", {});
told.faces = await service.getFaceCollection().list();
told.known = await service.recognize("./1.jpg", { limit: 0, status: true });
told.stranger = await service.recognize(encoded("2.jpg"), { limit: 0 });
told.verified = await service.getFaceCollection().verify("./1.jpg", told.added.image_id, {});
const pair = server.initFaceVerificationService("no-key");
told.pair = await pair.verify("./0.jpg", "./1.jpg", {});
told.detected = await server.initFaceDetectionService("no-key").detect("./2.jpg", { limit: 1 });
told.renamed = await service.getSubjects().rename("Ardern", "Jacinda");
const both = [told.added.image_id, told.second.image_id];
told.deleted = await service.getFaceCollection().delete_multiple_images(both);
try {
  await service.getSubjects().delete("Jacinda");
} catch (error) {
  told.gone = error.response.data;
}
console.log(JSON.stringify(told));
"""


@pytest.fixture
def api(stack: StackSettings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        client.delete("/identities", params={"confirm": "all"}).raise_for_status()
        yield client


@pytest.fixture(scope="module")
def ardern(data: Path) -> list[Path]:
    return sorted((data / "2576").glob("*.jpg"))


def test_the_python_sdk_runs_against_the_service(
    api: httpx.Client, stack: StackSettings, data: Path, ardern: list[Path]
) -> None:
    wheels = os.pathsep.join(map(str, compreface_sdk.wheels()))
    host, _, port = stack.url.rpartition(":")
    photos = [ardern[0], ardern[1], data / "people/103/sunak.jpg", ardern[2]]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, host, port, *map(str, photos)],
        env={**os.environ, "PYTHONPATH": wheels},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    name = "Jacinda Ardern"
    assert told["new"]["subject"] == name
    assert told["added"]["subject"] == name, told["added"]
    assert told["exists"]["code"] == 43
    assert told["subjects"] == {"subjects": [name]}
    ids = {told["added"]["image_id"], told["second"]["image_id"]}
    assert {face["image_id"] for face in told["faces"]["faces"]} == ids
    (known,) = told["known"]["result"]
    assert [s["subject"] for s in known["subjects"]] == [name]
    assert known["subjects"][0]["similarity"] > 0.5
    assert {"detector", "calculator"} <= known["execution_time"].keys()
    (stranger,) = told["stranger"]["result"]
    assert (stranger["subjects"], stranger["reason"]) == ([], "unknown")
    assert told["verified"]["result"][0]["similarity"] > 0.5
    (pair,) = told["pair"]["result"]
    assert pair["face_matches"][0]["similarity"] > 0.5
    assert len(pair["source_image_face"]["landmarks"]) == 5
    assert told["detected"]["result"]
    assert told["renamed"] == {"updated": True}
    assert told["deleted"]["subject"] == "J. Ardern"
    assert told["all"] == {"deleted": 1}
    assert told["left"] == {"subjects": []}


def test_the_javascript_sdk_runs_against_the_service(
    api: httpx.Client, stack: StackSettings, data: Path, ardern: list[Path], tmp_path: Path
) -> None:
    try:
        node = compreface_sdk.unpack(tmp_path)
    except compreface_sdk.ToolError as error:
        pytest.skip(str(error))
    photos = [ardern[0], ardern[1], data / "people/103/sunak.jpg"]
    for n, photo in enumerate(photos):
        (tmp_path / f"{n}.jpg").write_bytes(photo.read_bytes())
    host, _, port = stack.url.rpartition(":")
    ran = subprocess.run(
        [node, "--input-type=module", "-e", JAVASCRIPT, host, port],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["added"]["subject"] == "Ardern"
    assert told["faces"]["total_elements"] == 2
    (known,) = told["known"]["result"]
    assert [s["subject"] for s in known["subjects"]] == ["Ardern"]
    assert told["stranger"]["result"][0]["subjects"] == []
    assert told["verified"]["result"][0]["similarity"] > 0.5
    assert told["pair"]["result"][0]["face_matches"][0]["similarity"] > 0.5
    assert len(told["detected"]["result"]) == 1
    assert told["renamed"] == {"updated": True}
    assert [d["subject"] for d in told["deleted"]] == ["Jacinda", "Jacinda"]
    assert told["gone"]["code"] == 42


def test_requests_as_double_take_sends_them(api: httpx.Client, ardern: list[Path]) -> None:
    def post(path: str, photo: bytes, **query: Any) -> httpx.Response:
        return api.post(f"{RECOGNITION}/{path}", params=query, files={"file": ("blob", photo)})

    for photo in ardern[:2]:
        post("faces", photo.read_bytes(), subject="ardern").raise_for_status()
    seen = post("recognize", ardern[2].read_bytes(), det_prob_threshold=0.8).json()
    (face,) = seen["result"]
    assert face["subjects"][0]["subject"] == "ardern"
    assert face["box"]["x_max"] > face["box"]["x_min"] >= 0
    encoded = base64.b64encode(ardern[2].read_bytes()).decode()
    again = api.post(f"{RECOGNITION}/recognize", json={"file": encoded}).json()
    assert [f["subjects"] for f in again["result"]] == [f["subjects"] for f in seen["result"]]
    green = io.BytesIO()
    Image.new("RGB", (320, 240), "green").save(green, "JPEG")
    nothing = post("recognize", green.getvalue())
    assert (nothing.status_code, nothing.json()["code"]) == (400, 28)
    removed = api.delete(f"{RECOGNITION}/faces", params={"subject": "ardern"})
    assert removed.json() == {"deleted": 2}
    assert api.get("/identities").json()["total"] == 0


def test_subjects_at_once_are_people_each_once(
    api: httpx.Client, data: Path, ardern: list[Path]
) -> None:
    """Two matchers, each with a gallery of its own in memory."""
    photos = [ardern[0].read_bytes(), (data / "people/103/sunak.jpg").read_bytes()]

    def add(n: int) -> httpx.Response:
        query = {"subject": f"person {n % 4}"}
        files = {"file": ("a.jpg", photos[n % 2])}
        return api.post(f"{RECOGNITION}/faces", params=query, files=files)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(add, range(8)))
    assert [a.status_code for a in answers] == [201] * 8, [a.text for a in answers]
    people = api.get("/identities").json()["identities"]
    assert sorted(p["name"] for p in people) == [f"person {n}" for n in range(4)]
    assert [p["photos"] for p in people] == [2] * 4
    listed = api.get(f"{RECOGNITION}/faces", params={"size": 3, "page": 2}).json()
    assert (len(listed["faces"]), listed["total_elements"], listed["total_pages"]) == (2, 8, 3)
