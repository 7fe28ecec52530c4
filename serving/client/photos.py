"""Photos in the forms that callers have -> the bytes of an image file."""

from __future__ import annotations

import errno
import io
import mimetypes
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, cast

from serving.client.errors import ClientError

if TYPE_CHECKING:
    from PIL import Image

# JPEG is the one format that the service can decode reduced, and lossless files may exceed its
# limit of bytes.
_JPEG = {"quality": 95, "subsampling": 0}
# Lossless, so that the service converts these modes to RGB, as it does for files.
_LOSSLESS = {**dict.fromkeys(("1", "LA", "P", "RGBA", "I;16"), "PNG"), "I": "TIFF", "F": "TIFF"}


# More than any service takes; a device such as /dev/zero would fill the memory.
_MOST_BYTES = 2**30


class Readable(Protocol):
    """A file that is open for reading bytes."""

    def read(self) -> bytes: ...


class Pixels(Protocol):
    """A numpy array, uint8 RGB (H, W, 3), or a Pillow image."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...


Photo: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | Pixels


class File(NamedTuple):
    """One file of a multipart body: name, bytes, media type."""

    name: str
    data: bytes
    kind: str


def file_of(photo: Photo) -> File:
    """The image file to send.

    Files and bytes are sent as they are. Arrays and images become JPEG of quality 95 with full
    chroma; images with transparency or more than 8 bits, PNG or TIFF. The EXIF rotation of an image
    is applied first.

    Raises:
        ClientError: a file cannot be read, or an image not encoded.
        ValueError: an array is not uint8 (H, W, 3).
        TypeError: it is none of these.
    """
    if isinstance(photo, (str, os.PathLike)):
        return _read(Path(photo))
    if isinstance(photo, (bytes, bytearray, memoryview)):
        return _unnamed(bytes(photo))
    if hasattr(photo, "read"):
        # A file of text would fail at the first byte that is no UTF-8.
        data = None if isinstance(photo, io.TextIOBase) else photo.read()
        if not isinstance(data, bytes):
            raise TypeError("Open the photo's file for bytes: open(path, 'rb').")
        return _unnamed(data)
    if hasattr(type(photo), "__array_interface__"):
        return _encoded(photo)
    raise TypeError(
        "A photo is a path, bytes, an open file, a numpy array or a Pillow image, not "
        f"{type(photo).__name__}."
    )


def files_of(photos: Photo | Iterable[Photo]) -> list[File]:
    """The files of several photos or of a single one; raises the errors of `file_of`."""
    several = isinstance(photos, Iterable) and not (
        isinstance(photos, (str, os.PathLike, bytes, bytearray, memoryview))
        or hasattr(photos, "read")
        or hasattr(type(photos), "__array_interface__")
    )
    return [file_of(photo) for photo in cast("Iterable[Photo]", photos if several else [photos])]


# Of one request of a stream. httpx reads an answer when all is sent, so more would be of no use.
_PHOTOS, _BYTES = 16, 16 * 2**20


def batches(photos: Iterable[Photo]) -> Iterator[list[File | ClientError]]:
    """The files of endless photos, a few at a time; in the place of a photo that cannot be read or
    encoded, its error. Raises the other errors of `file_of`."""
    batch: list[File | ClientError] = []
    nbytes = 0
    for photo in photos:
        file: File | ClientError
        try:
            file = file_of(photo)
            nbytes += len(file.data)
        except ClientError as error:
            file = error
        batch.append(file)
        if len(batch) == _PHOTOS or nbytes >= _BYTES:
            yield batch
            batch, nbytes = [], 0
    if batch:
        yield batch


def _read(path: Path) -> File:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # base64 of a whole photo, most probably
            raise ClientError(
                f"A text of {len(str(path))} characters is no path of a file; of base64 give the "
                "bytes: base64.b64decode(text)."
            ) from None
        raise ClientError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # a zero byte in the path
        raise ClientError(f"{str(path)!r} cannot be read: {error}.") from None
    if len(data) > _MOST_BYTES:
        raise ClientError(f"{path} is no photo: it has more than {_MOST_BYTES:,} bytes.")
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    # A file's name may not be valid text.
    return File(path.name.encode(errors="replace").decode(), data, kind)


def _unnamed(data: bytes) -> File:
    return File("photo", data, "application/octet-stream")


def _narrowed(image: Image.Image) -> Image.Image:
    """Pixels of 32 bits as those of 8 or 16 that they hold: the service takes the whole range for
    the brightness, in which a camera's 16 bits would be black."""
    import numpy as np

    if image.mode != "I":
        return image
    values = np.asarray(image)
    most = values.max()
    if values.min() < 0 or most >= 2**16:
        return image
    return image.convert("L" if most < 2**8 else "I;16")


def _encoded(pixels: Pixels) -> File:
    import numpy as np
    from PIL import Image, ImageOps

    if isinstance(pixels, Image.Image):
        image = pixels
    else:
        array = np.asarray(pixels)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
            raise ValueError(
                f"An array of a photo is uint8 RGB (H, W, 3), not {array.dtype} {array.shape}."
            )
        image = Image.fromarray(array)
    # As with a file, a damaged EXIF block is no reason to refuse the pixels.
    with suppress(Exception):
        image = ImageOps.exif_transpose(image)
    out = io.BytesIO()
    try:
        image = _narrowed(image)
        format = _LOSSLESS.get(image.mode, "JPEG")
        if format == "JPEG":
            image = image if image.mode == "L" else image.convert("RGB")
            image.save(out, format, **_JPEG)
        else:
            image.save(out, format)
    except Exception as error:
        # A side of more than 65,500 pixels, or a damaged file that Pillow reads only now; its
        # decoders raise a dozen exception types for those.
        raise ClientError(f"The image cannot be encoded: {error}.") from error
    return File(f"photo.{format.lower()}", out.getvalue(), f"image/{format.lower()}")
