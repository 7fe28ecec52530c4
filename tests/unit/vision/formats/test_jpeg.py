"""JPEG: how far large ones are reduced, missing ends, and kinds that cannot be read."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from serving.errors import TooLarge, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.formats import jpeg_segments as segments
from tests.support import images
from tests.support.images import RED, encode, quadrants

SETTINGS = DecodeSettings()
END = b"\xff\xd9"
PORTRAIT = Image.open(images.PORTRAIT).resize((133, 101))


class TestReduced:
    def test_a_large_jpeg_is_decoded_reduced(self) -> None:
        data = encode(Image.new("L", (10_000, 10_000), 99), "JPEG", quality=20)
        photo = decode(data, SETTINGS)
        assert (photo.width, photo.height) == (10_000, 10_000)
        assert photo.pixels.shape == (5_000, 5_000, 3)

    @pytest.mark.parametrize(
        ("size", "side", "most", "wanted"),
        [
            ((400, 300), 400, 10**6, (400, 300)),
            ((400, 300), 201, 10**6, (400, 300)),
            ((400, 300), 200, 10**6, (200, 150)),
            ((400, 300), 64, 10**6, (100, 75)),
            ((400, 300), 400, 5_000, (50, 38)),  # more pixels than allowed, unless reduced
            ((401, 3), 100, 10**6, (201, 2)),
        ],
    )
    def test_how_far_a_jpeg_is_reduced(
        self, size: tuple[int, int], side: int, most: int, wanted: tuple[int, int]
    ) -> None:
        limits = DecodeSettings(reduce_above_side=side, max_pixels=most)
        photo = decode(encode(Image.new("RGB", size, RED), "JPEG"), limits)
        assert (photo.width, photo.height) == size
        assert photo.pixels.shape == (wanted[1], wanted[0], 3)

    def test_only_what_is_decoded_takes_memory(self) -> None:
        data = encode(Image.new("L", (10_000, 10_000), 99), "JPEG", quality=20)
        tracemalloc.start()
        try:
            decode(data, SETTINGS)
            # numpy's arrays and bytes are traced: 75 MB each, and 300 MB at the full size.
            assert tracemalloc.get_traced_memory()[1] < 200e6
        finally:
            tracemalloc.stop()

    def test_too_many_pixels_for_any_reduction(self) -> None:
        limits = DecodeSettings(max_jpeg_pixels=1_000)
        with pytest.raises(TooLarge, match=r"0\.001 million pixels"):
            decode(encode(quadrants(), "JPEG"), limits)

    @pytest.mark.parametrize(("scans", "refused"), [(1, False), (3, True)])
    def test_a_jpeg_in_parts_counts_in_full(self, scans: int, refused: bool) -> None:
        """One of 240 million pixels has 3 MB, and takes 1.4 GB."""
        limits = DecodeSettings(max_pixels=4000, max_jpeg_pixels=1_000_000, reduce_above_side=64)
        file = images.flat_jpeg(320, 240, scans=scans)
        with pytest.raises(TooLarge) if refused else contextlib.nullcontext():
            assert decode(file, limits).pixels.shape == (30, 40, 3)

    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr"])
    @pytest.mark.parametrize("options", [{}, {"optimize": True}, {"exif": b"\xff\xda\xff\xff" * 9}])
    def test_an_ordinary_jpeg_of_any_colours_is_reduced(
        self, mode: str, options: dict[str, Any]
    ) -> None:
        limits = DecodeSettings(max_pixels=4000, max_jpeg_pixels=1_000_000, reduce_above_side=64)
        file = encode(quadrants(320, 240).convert(mode), "JPEG", **options)
        assert decode(file, limits).pixels.shape == (30, 40, 3)

    def test_a_progressive_jpeg_counts_in_full(self) -> None:
        limits = DecodeSettings(max_pixels=64 * 48 - 1)
        assert decode(encode(quadrants(), "JPEG"), limits).width == 64
        with pytest.raises(TooLarge):
            decode(encode(quadrants(), "JPEG", progressive=True), limits)


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RGB", {}),
    ("RGB", {"progressive": True}),
    ("RGB", {"subsampling": 2, "quality": 20}),
    ("RGB", {"restart_marker_blocks": 3}),
    ("L", {"quality": 95}),
    ("CMYK", {}),
]


class TestEnd:
    @pytest.mark.parametrize(("mode", "options"), KINDS)
    @pytest.mark.parametrize("end", [b"", b"\xff", b"\xff\xff"])
    def test_a_missing_end_marker_is_added(
        self, mode: str, options: dict[str, Any], end: bytes
    ) -> None:
        data = encode(PORTRAIT.convert(mode), "JPEG", **options)
        assert data.endswith(END)
        wanted = decode(data, SETTINGS).pixels
        assert np.array_equal(decode(data[:-2] + end, SETTINGS).pixels, wanted)

    @pytest.mark.parametrize(("mode", "options"), KINDS)
    def test_missing_rows_are_refused(self, mode: str, options: dict[str, Any]) -> None:
        """Cut anywhere it is refused, or the very same photo: never one with grey rows."""
        data = encode(PORTRAIT.convert(mode), "JPEG", **options)
        wanted = decode(data, SETTINGS).pixels
        cuts = [*range(len(data) - 40, len(data)), *range(700, len(data), 97)]
        refused = 0
        for cut in cuts:
            try:
                assert np.array_equal(decode(data[:cut], SETTINGS).pixels, wanted), cut
            except UnsupportedImage:
                refused += 1
        assert refused >= len(cuts) - 12

    @pytest.mark.parametrize(
        ("mode", "options"),
        [*KINDS, ("L", {"progressive": True}), ("RGB", {"keep_rgb": True})],
    )
    @pytest.mark.parametrize("orientation", [1, 6])
    def test_an_end_marker_does_not_stand_for_rows(
        self, mode: str, options: dict[str, Any], orientation: int
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encode(PORTRAIT.convert(mode), "JPEG", exif=exif, **options)
        wanted = decode(data, SETTINGS).pixels
        starts = [n for n in range(len(data)) if data[n : n + 2] == b"\xff\xda"]
        scans = list(zip(starts, segments.scan_ends(data), strict=True))
        if options.get("progressive"):  # its last scan has the last bit of what is there already
            scans.pop()
        says = "its last rows are missing"
        for cut in (n for start, end in scans for n in range(start + 20, end - 20, 97)):
            with pytest.raises(UnsupportedImage, match=says):
                decode(data[:cut] + END, SETTINGS)
            with pytest.raises(UnsupportedImage, match=says):
                decode(data[:cut] + END + data[cut:], SETTINGS)
        assert np.array_equal(decode(data, SETTINGS).pixels, wanted)

    @pytest.mark.parametrize("options", [{}, {"subsampling": 2, "quality": 20}, {"quality": 95}])
    def test_a_cut_in_the_last_block_costs_no_other(self, options: dict[str, Any]) -> None:
        """Only codes behind all of them would show it, for which every photo were decoded twice."""
        data = encode(PORTRAIT, "JPEG", **options)
        wanted, read = decode(data, SETTINGS).pixels, 0
        for missing in range(3, 40):
            with contextlib.suppress(UnsupportedImage):
                pixels = decode(data[:-missing] + END, SETTINGS).pixels
                read += 1
                # Of 16 pixels a side, and the colours of one more beside it.
                assert np.array_equal(pixels[:95], wanted[:95])
                assert np.array_equal(pixels[:, :127], wanted[:, :127])
        assert 0 < read < 30

    @pytest.mark.parametrize("colour", [126, 127, 128, 129])
    @pytest.mark.parametrize(("mode", "options"), KINDS)
    def test_a_photo_that_ends_in_grey_is_whole(
        self, mode: str, options: dict[str, Any], colour: int
    ) -> None:
        grey = Image.new("RGB", PORTRAIT.size, (colour,) * 3)
        grey.paste(PORTRAIT.resize((60, 50)))
        data = encode(grey.convert(mode), "JPEG", **options)
        assert decode(data, SETTINGS).pixels[-1, -1] == pytest.approx([colour] * 3, abs=3)

    def test_a_whole_photo_is_decoded_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loads = []
        load = JpegImageFile.load

        def counted(image: JpegImageFile) -> Any:
            loads.append(image)
            return load(image)

        monkeypatch.setattr(JpegImageFile, "load", counted)
        for options in ({}, {"progressive": True}):
            decode(encode(PORTRAIT, "JPEG", **options), SETTINGS)
        once = len(loads)
        decode(encode(Image.new("RGB", (9, 9), (128,) * 3), "JPEG"), SETTINGS)
        # Pillow's own methods load, too, but what is loaded stays.
        assert (len(set(map(id, loads[:once]))), len(set(map(id, loads)))) == (2, 4)

    def test_scans_that_a_progressive_jpeg_never_had_are_not_missed(self) -> None:
        data = encode(PORTRAIT, "JPEG", progressive=True)
        starts = [n for n in range(len(data)) if data[n : n + 2] == b"\xff\xda"]
        for start in starts[1:]:
            coarser = data[: data.rindex(b"\xff\xc4", 0, start)] + END
            assert decode(coarser, SETTINGS).width == PORTRAIT.width

    def test_the_refusal_says_what_is_missing(self) -> None:
        data = encode(PORTRAIT, "JPEG")
        with pytest.raises(UnsupportedImage, match="its last rows are missing"):
            decode(data[:-60], SETTINGS)

    def test_zeros_behind_a_cut_do_not_stand_for_rows(self) -> None:
        data = encode(PORTRAIT, "JPEG")
        for zeros in (10, 1000, 50_000):
            with pytest.raises(UnsupportedImage, match="cut off"):
                decode(data[: len(data) // 2] + bytes(zeros), SETTINGS)
            assert decode(data[:-2] + bytes(zeros), SETTINGS).width == PORTRAIT.width

    def test_a_progressive_jpeg_needs_all_of_its_scans(self) -> None:
        data = encode(PORTRAIT, "JPEG", progressive=True)
        scans = [n for n in range(len(data)) if data[n : n + 2] == b"\xff\xda"]
        assert len(scans) > 5
        for start in scans[1:]:
            with pytest.raises(UnsupportedImage, match="cut off"):
                decode(data[: data.rindex(b"\xff\xc4", 0, start)], SETTINGS)

    @pytest.mark.parametrize("mode", ["RGB", "L"])
    def test_a_flat_photo_needs_its_end_no_more_than_others(self, mode: str) -> None:
        data = encode(Image.new(mode, (64, 48), "white"), "JPEG")
        assert decode(data[:-2], SETTINGS).pixels.min() == 255
        assert decode(data[:-2] + bytes(5000), SETTINGS).pixels.min() == 255

    def test_scans_of_one_component_each(self) -> None:
        data = images.flat_jpeg(64, 48, scans=3)
        assert decode(data, SETTINGS).width == 64
        with pytest.raises(UnsupportedImage, match="cut off"):
            decode(data[: data.rindex(b"\xff\xda")], SETTINGS)

    def test_bytes_behind_the_end_do_no_harm(self) -> None:
        data = encode(PORTRAIT, "JPEG")
        for more in (bytes(9), b"\xff", END, data, b"text"):
            assert decode(data + more, SETTINGS).width == PORTRAIT.width


class TestKinds:
    def test_12_bits_are_named(self) -> None:
        data = bytearray(encode(quadrants(), "JPEG"))
        data[data.index(b"\xff\xc0") + 4] = 12
        with pytest.raises(UnsupportedImage, match="12 bits a sample cannot be read; send"):
            decode(bytes(data), SETTINGS)

    def test_2_colours_are_named(self) -> None:
        data = bytearray(encode(quadrants(), "JPEG"))
        data[data.index(b"\xff\xc0") + 9] = 2
        with pytest.raises(UnsupportedImage, match="2 colours cannot be read; send"):
            decode(bytes(data), SETTINGS)

    @pytest.mark.parametrize(
        ("marker", "named"), [(0xC3, "lossless"), (0xC5, "hierarchical"), (0xF7, "JPEG-LS")]
    )
    def test_rare_kinds_are_named_and_not_said_to_be_damaged(self, marker: int, named: str) -> None:
        data = bytearray(encode(quadrants(), "JPEG"))
        data[data.index(b"\xff\xc0") + 1] = marker
        with pytest.raises(UnsupportedImage, match=named) as told:
            decode(bytes(data), SETTINGS)
        assert "damaged" not in str(told.value)

    def test_a_height_behind_the_pixels_is_named(self) -> None:
        data = bytearray(encode(quadrants(), "JPEG"))
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 7] = b"\0\0"
        with pytest.raises(UnsupportedImage, match="DNL"):
            decode(bytes(data), SETTINGS)

    def test_one_without_pixels_is_damaged(self) -> None:
        with pytest.raises(UnsupportedImage, match="damaged"):
            decode(encode(quadrants(), "JPEG")[:40], SETTINGS)

    @pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "CMYK"])
    def test_colours(self, mode: str) -> None:
        pixels = decode(encode(quadrants().convert(mode), "JPEG", quality=95), SETTINGS).pixels
        wanted = np.array(quadrants().convert("L").getpixel((4, 4)) if mode == "L" else RED)
        assert np.abs(pixels[4, 4] - wanted).max() < 12
