"""Settings of events, and events, for their tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.events.event import Event, event, sequence_of
from serving.settings import EventSettings
from tests.support.webhooks import SECRET


def settings(
    folder: Path, url: str = "https://hooks.example.com/faces", **more: Any
) -> EventSettings:
    key = folder / "key"
    key.write_text(SECRET)
    return EventSettings(url=url, key_file=str(key), **more)


def made(person: int) -> Event:
    return event(
        "enrolled",
        "default",
        key=[person],
        time=1000.0,
        sequence=sequence_of(person),
        data={},
        person=person,
    )
