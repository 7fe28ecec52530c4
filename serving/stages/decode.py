"""The decode stage: the bytes of an image file in, a photo out."""

from __future__ import annotations

from serving.errors import TooLarge
from serving.settings import DecodeSettings, TracingSettings
from serving.stages import calls, proxy, refs
from serving.stages.turns import Turns
from serving.telemetry import replica
from serving.vision.decode import decode, peak_bytes
from serving.vision.records import Photo

# Of the memory for photos: what takes more of it is large.
_LARGE = 1 / 8


@calls.stage
class Decoder:
    """The deployment: the bytes of an image file in, a photo out.

    Large photos are decoded one after the other, beside the others: they need much memory and
    seconds, and callers with ordinary photos wait for neither.
    """

    def __init__(self, settings: DecodeSettings, traces: TracingSettings) -> None:
        replica.start("decode", traces)
        self._settings = settings
        self._ordinary = Turns(settings.threads, "decode")
        self._large = Turns(1, "decode-large")
        proxy.wait()

    async def ready(self) -> None:
        """Return as soon as the replica is up."""

    async def decode(self, data: refs.Ref[bytes]) -> refs.Ref[Photo]:
        photo = await self._decoded(data, self._ordinary, int(self._settings.memory_bytes * _LARGE))
        if photo is None:
            photo = await self._decoded(data, self._large, self._settings.memory_bytes)
        if photo is None:
            raise TooLarge(
                "To decode the image would take more than the "
                f"{self._settings.memory_bytes / 1e6:,.0f} MB of memory that there are; send a "
                "smaller one, or a JPEG."
            )
        return photo

    async def _decoded(
        self, data: refs.Ref[bytes], turns: Turns, most: int
    ) -> refs.Ref[Photo] | None:
        """None: it would take more than ``most`` bytes of memory."""
        photo = await turns.work(data.get, lambda raw: self._decode(raw, most))
        if photo.result is None:
            return None
        return refs.made(photo.result, photo.result.pixels.nbytes, photo.ms)

    def _decode(self, raw: bytes, most: int) -> Photo | None:
        if peak_bytes(raw, self._settings) > most:
            return None
        return decode(raw, self._settings)
