"""Who is on the photos that the tests of the page use, and how they get into the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.support.images import DATA

ARDERN = sorted((DATA / "2576").glob("*.jpg"))
MACRON = DATA / "people" / "101" / "macron_2025.jpg"
DIALOG_FILES = "dialog input[type=file]"


def enrol(api: httpx.Client, person: int, *photos: Path, name: str | None = None) -> None:
    files = [("images", ("photo", photo.read_bytes())) for photo in photos]
    fields = {"id": str(person), **({"name": name} if name else {})}
    api.post("/generate", data=fields, files=files).raise_for_status()


def person_of(api: httpx.Client, person: int, place: str = "") -> dict[str, Any]:
    answer = api.get(f"{place}/identities/{person}")
    return {} if answer.status_code == 404 else dict(answer.raise_for_status().json())
