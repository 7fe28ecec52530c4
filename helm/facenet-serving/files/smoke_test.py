"""`helm test`: enrols a person, identifies it on another photo, and erases it.

Arguments: the service's URL, an unused person id, the seconds that the service may take to become
ready, whether it requires API keys ("keys" or "open"), and addresses HOST:PORT that NetworkPolicies
close to this pod. FACES_KEY: a key of the scope admin; without one no person is enrolled, and the
test only checks that requests without a key are refused.
"""

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx

PHOTOS = Path("/app/data")
url, person, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
walled = sys.argv[5:]
locked, key = sys.argv[4] == "keys", os.environ.get("FACES_KEY", "").strip()
anonymous = httpx.Client(base_url=url, timeout=60)
service = httpx.Client(base_url=url, timeout=60)
if key:
    service.headers["Authorization"] = f"Bearer {key}"


def ask(method: str, path: str, **request: Any) -> Any:
    answer = service.request(method, path, **request)
    if answer.is_success:
        return answer.json()
    sys.exit(f"{method} {path} answers {answer.status_code}: {answer.text}")


def photo(path: Path) -> tuple[str, bytes, str]:
    return path.name, path.read_bytes(), "image/jpeg"


def connects(address: str) -> bool:
    """Whether the address accepts a connection. An unknown name proves nothing: the test fails."""
    host, _, port = address.rpartition(":")
    try:
        resolved = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        sys.exit(f"{host} is not known, so the test cannot check that it is closed: {error}")
    try:
        socket.create_connection((str(resolved[0][4][0]), int(port)), timeout=3).close()
    except OSError:
        return False
    return True


deadline = time.monotonic() + seconds
while True:
    try:
        ready = service.get("/readyz")
        if ready.is_success:
            break
        reason = ready.text
    except httpx.TransportError as error:
        reason = str(error)
    if time.monotonic() > deadline:
        sys.exit(f"The service at {url} is not ready: {reason}")
    time.sleep(2)

for address in walled:
    tries = 3  # a network plugin may take a moment with a new pod
    while connects(address) and tries:
        tries -= 1
        time.sleep(2)
    if not tries:
        sys.exit(
            f"This pod can connect to {address}, which a NetworkPolicy closes: the network "
            "plugin enforces none, and any client that reaches Ray's pods can run code in them."
        )

if locked:
    for method, path in (("POST", "/infer"), ("GET", f"/identities/{person}")):
        answer = anonymous.request(method, path)
        if answer.status_code != 401:
            sys.exit(f"{method} {path} without a key answers {answer.status_code}, not 401.")
    if not key:
        print("The service is ready and refuses requests without a key. No person was enrolled:")
        print("that needs a key of the scope admin, see test.keySecret.")
        sys.exit()

answer = service.get(f"/identities/{person}")
if answer.is_success:
    sys.exit(f"The id {person} is already enrolled; choose another test.personId.")
if answer.status_code != 404:
    sys.exit(f"GET /identities/{person} answers {answer.status_code}: {answer.text}")

photos = [photo(path) for path in sorted((PHOTOS / "2576").glob("*.jpg"))[:3]]
try:
    ask(
        "POST",
        "/generate",
        data={"id": str(person), "name": "helm test"},
        files=[("images", each) for each in photos],
    )
    # Several candidates: if the same person is enrolled already, either may be the nearest, and the
    # model cannot decide between them.
    faces = ask(
        "POST",
        "/infer",
        params={"top_k": 5},
        files=[("image", photo(PHOTOS / "id_is_2576.jpg"))],
    )["faces"]
    if not faces or person not in [candidate["id"] for candidate in faces[0]["candidates"]]:
        sys.exit(f"The person was not found on another photo: {faces}")
    if faces[0]["id"] is None and person not in [one["id"] for one in faces[0]["ambiguous"]]:
        sys.exit(f"The person was found, but not named: {faces}")
finally:
    service.delete(f"/identities/{person}", params={"erase": "true"})

if service.get(f"/identities/{person}").status_code != 404:
    sys.exit(f"{person} was erased, but is still enrolled.")
print("Enrolled, identified and erased.")
