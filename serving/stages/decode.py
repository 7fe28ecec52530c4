"""The decode stage: the bytes of an image file in, a photo out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from serving.settings import DecodeSettings, TracingSettings
from serving.stages import calls, refs
from serving.stages.pool import work
from serving.stages.room import Room
from serving.telemetry import replica
from serving.vision.decode import decode, peak_bytes
from serving.vision.records import Photo


@calls.stage
class Decoder:
    """The deployment: the bytes of an image file in, a photo out."""

    def __init__(self, settings: DecodeSettings, traces: TracingSettings) -> None:
        replica.start("decode", traces)
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="decode")
        self._room = Room(settings.memory_bytes)

    async def ready(self) -> None:
        """Return as soon as the replica is up."""

    async def decode(self, data: refs.Ref[bytes]) -> refs.Ref[Photo]:
        raw = await data.get()
        photo = await work(self._pool, lambda: self._decoded(raw))
        return refs.made(photo.result, photo.result.pixels.nbytes, photo.ms)

    def _decoded(self, raw: bytes) -> Photo:
        """In a thread, in which it waits for room."""
        with self._room.taken(peak_bytes(raw, self._settings)):
            return decode(raw, self._settings)
