"""Sends one request and prints the answer as JSON (status 0: none came); runs in a pod.

Arguments: method, URL, then NAME=VALUE fields of the form, or NAME=@PATH for photos.
FACES_KEY in the environment is the API key.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import httpx

method, url, *parts = sys.argv[1:]
fields: dict[str, str] = {}
photos: list[tuple[str, tuple[str, bytes, str]]] = []
for part in parts:
    name, _, value = part.partition("=")
    if value.startswith("@"):
        path = Path(value[1:])
        photos.append((name, (path.name, path.read_bytes(), "image/jpeg")))
    else:
        fields[name] = value
headers = {"Authorization": f"Bearer {key}"} if (key := os.environ.get("FACES_KEY")) else {}
try:
    answer = httpx.request(
        method, url, headers=headers, data=fields or None, files=photos or None, timeout=60
    )
    outcome = {"status": answer.status_code, "body": answer.text}
except httpx.TransportError as error:
    outcome = {"status": 0, "body": str(error)}
print(json.dumps(outcome))
