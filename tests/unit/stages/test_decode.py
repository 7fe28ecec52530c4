"""A decode replica: photos out of files, within the memory that it has for them."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving import deadline
from serving.errors import TimedOut, TooLarge, UnsupportedImage
from serving.settings import DecodeSettings, TracingSettings
from serving.stages.decode import Decoder
from serving.stages.refs import Ref
from serving.vision.decode import peak_bytes
from serving.vision.records import Photo
from tests.support import cgroups
from tests.support.images import encode, quadrants

PHOTO = encode(quadrants(1200, 900), "PNG")
PEAK = peak_bytes(PHOTO, DecodeSettings())


def decoder(memory_bytes: int = 2**30, threads: int = 4) -> Decoder:
    settings = DecodeSettings(memory_bytes=memory_bytes, threads=threads)
    return Decoder(settings, TracingSettings())


async def decoded(replica: Decoder, data: bytes, **beside: Any) -> Photo:
    """``beside``: what callers send beside the arguments, see `serving.stages.calls`."""
    return await (await replica.decode(Ref((data,), True), **beside)).get()


def test_large_photos_are_decoded_one_after_the_other() -> None:
    async def run() -> list[Photo]:
        replica = decoder(memory_bytes=PEAK)
        return await asyncio.gather(*(decoded(replica, PHOTO) for _ in range(6)))

    photos = asyncio.run(run())
    for photo in photos:
        assert np.array_equal(photo.pixels, np.asarray(quadrants(1200, 900)))


def test_one_that_never_fits_is_refused_and_the_others_are_not() -> None:
    large = encode(Image.new("RGB", (3000, 2000)), "PNG")

    async def run() -> Photo:
        replica = decoder(memory_bytes=PEAK)
        with pytest.raises(TooLarge, match=r"of memory that there are; send a smaller one"):
            await decoded(replica, large)
        with pytest.raises(UnsupportedImage):
            await decoded(replica, PHOTO[:20])
        return await decoded(replica, PHOTO)

    assert asyncio.run(run()).width == 1200


def test_ordinary_photos_do_not_wait_for_large_ones() -> None:
    large = encode(Image.new("RGB", (3000, 2000)), "PNG")
    assert peak_bytes(large, DecodeSettings()) > 2**28 / 8

    async def nothing() -> None:
        pass

    async def run() -> None:
        replica = decoder(memory_bytes=2**28, threads=1)
        over = threading.Event()
        first = asyncio.ensure_future(replica._large.work(nothing, lambda _: over.wait(10)))
        until = deadline.Left(time.monotonic() + 0.3)
        waiting = asyncio.ensure_future(decoded(replica, large, until=until))
        assert (await decoded(replica, PHOTO)).width == 1200
        with pytest.raises(TimedOut):
            await waiting
        over.set()
        await first
        assert (await decoded(replica, large)).width == 3000  # and nothing of it is left

    asyncio.run(run())


# As many photos at once as a replica has threads, and one more; their pixels stay in this process,
# where in a pod they are in Ray's object store, which is part of its memory, too.
_AT_ONCE = """
import asyncio, sys
from pathlib import Path
from serving.settings import DecodeSettings, TracingSettings
from serving.stages.decode import Decoder
from serving.stages.refs import Ref

async def main():
    data = Path(sys.argv[1]).read_bytes()
    replica = Decoder(DecodeSettings(memory_bytes=int(sys.argv[2])), TracingSettings())
    made = await asyncio.gather(*(replica.decode(Ref((data,), True)) for _ in range(3)))
    print([(await photo.get()).pixels.shape for photo in made])

asyncio.run(main())
"""


def test_the_largest_photos_at_once_fit_into_the_pod(tmp_path: Path) -> None:
    """In a control group: the chart's 3 GiB without the 512 MiB of Ray's own processes."""
    side = int(DecodeSettings().max_pixels ** 0.5)
    photo = tmp_path / "large.png"
    Image.new("RGBA", (side, side), "teal").save(photo, compress_level=1)
    words = [sys.executable, "-c", _AT_ONCE, str(photo), str(2**30)]
    try:
        done, _, _, killed = cgroups.run(2560 * 2**20, *words)
    except cgroups.NoCgroups as error:
        pytest.skip(str(error))
    assert (done.returncode, killed) == (0, 0), done.stderr
    assert done.stdout == f"{[(side, side, 3)] * 3}\n"
