"""Pictures: every kind comes out upright and opaque, and what is damaged or too large is refused with its reason."""

from __future__ import annotations

import io
import os
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.folder import Files
from edgecnn.data.registry import load
from edgecnn.runtime import picture
from edgecnn.runtime.picture import BadPictureError, decode

RED, BLUE = (200, 30, 40), (20, 40, 220)


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def refused(path: Path, image: tuple[int, int, int] = (8, 8, 3)) -> str:
    """Why a file is refused: one line that begins with its path."""
    with pytest.raises(BadPictureError) as caught:
        decode(path, image)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_folders_of_training_images_and_the_device_see_the_same_pixels(tmp_path: Path) -> None:
    """All kinds of pictures, as class 'a' of a data set and one by one."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 61, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 8
    for split, name in (("train", "a"), ("test", "a"), ("train", "b"), ("test", "b")):
        (tmp_path / split / name).mkdir(parents=True)
        save(tmp_path / split / name / "0.png", Image.fromarray(noise))
    folder = tmp_path / "train" / "a"
    save(folder / "1.png", Image.fromarray(noise[..., :2], "LA"))
    save(folder / "2.jpg", Image.fromarray(noise, "CMYK"), exif=exif)
    save(folder / "3.webp", Image.fromarray(noise))
    save(folder / "4.gif", Image.fromarray(noise[..., 0]), transparency=7)
    save(folder / "5.tiff", Image.fromarray(noise[..., 0].astype(np.uint16) * 200))
    for shape in ((32, 32, 3), (17, 40, 1)):
        files = load(str(tmp_path), image=shape).train
        assert isinstance(files, Files) and len(files) == 7
        for index, path in enumerate(files.paths):
            np.testing.assert_array_equal(files.take(np.array([index]))[0][0], decode(path, shape))


def test_bytes_are_what_a_file_with_them_is(tmp_path: Path, monkeypatch) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8))
    content = save(tmp_path / "0.jpg", noise).read_bytes()
    np.testing.assert_array_equal(np.asarray(picture.load(content)), np.asarray(picture.load(tmp_path / "0.jpg")))
    monkeypatch.setattr(picture, "BYTES", len(content) - 1)
    with pytest.raises(BadPictureError, match=f"^{len(content):,} bytes, at most {len(content) - 1:,} are allowed$"):
        picture.load(content)


def test_only_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in (RED, BLUE)]
    for kind in ("gif", "png", "webp", "tiff"):
        options = {"lossless": True} if kind == "webp" else {}
        path = save(tmp_path / f"x.{kind}", frames[0], save_all=True, append_images=frames[1:], **options)
        assert abs(decode(path, (4, 4, 3)).astype(int) - RED).max() <= 2


def test_transparency_is_laid_over_grey_in_bands_that_do_not_show(tmp_path: Path, monkeypatch) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (70, 50, 4), np.uint8)
    path = save(tmp_path / "x.png", Image.fromarray(noise))
    whole = decode(path, (70, 50, 3))
    monkeypatch.setattr(picture, "BAND", 16)
    np.testing.assert_array_equal(decode(path, (70, 50, 3)), whole)
    alpha = noise[..., 3:] / 255
    assert abs(whole - (noise[..., :3] * alpha + 128 * (1 - alpha))).max() <= 1


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "webp", "bmp", "tiff"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / f"x.{kind}", Image.effect_noise((200, 200), 60).convert("RGB"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert refused(path)


def not_there(path: Path) -> None:
    pass


def empty(path: Path) -> None:
    path.write_bytes(b"")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def postscript(path: Path) -> None:
    """Pillow would start Ghostscript for this one."""
    Image.new("RGB", (9, 9)).save(path, "EPS")


def float_pixels(path: Path) -> None:
    Image.new("F", (9, 9)).save(path, "TIFF")


def wide_integers(path: Path) -> None:
    Image.fromarray(np.full((9, 9), 70_000, np.int32)).save(path, "TIFF")


def lab(path: Path) -> None:
    Image.new("LAB", (9, 9)).save(path, "TIFF")


def enormous(path: Path) -> None:
    """A hole of 200 MB behind a good picture."""
    Image.new("RGB", (9, 9)).save(path, "PNG")
    os.truncate(path, 200_000_000)


def enormous_webp(path: Path) -> None:
    Image.new("RGB", (9, 9)).save(path, "WEBP")
    os.truncate(path, 40_000_000)


def tiff(tags: dict[int, int], pixels: bytes) -> bytes:
    """40 grey pixels a row, uncompressed; ``tags`` beside those or in their place."""
    rows = {256: 40, 257: 40, 258: 8, 259: 1, 262: 1, 277: 1, 278: 40, 279: len(pixels)} | tags
    rows.setdefault(324 if 322 in rows else 273, 8 + 2 + 12 * (len(rows) + 1) + 4)
    body = struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHLL", tag, 4, 1, rows[tag]) for tag in sorted(rows))
    return b"II*\0" + struct.pack("<L", 8) + body + bytes(4) + pixels


@pytest.mark.parametrize(
    ("tags", "pixels", "grey"),
    [
        ({258: 12}, b"\xff" * 2400, 255),
        ({258: 12}, b"\x80\x08\x00" * 800, 128),
        ({258: 16}, b"\xff" * 3200, 255),
        ({258: 16, 262: 0}, bytes(3200), 255),
        ({258: 16, 262: 0}, b"\xff" * 3200, 0),
        ({262: 0}, bytes(1600), 255),
    ],
)
def test_grey_of_more_bits_and_upside_down_is_what_it_means(tags: dict[int, int], pixels: bytes, grey: int) -> None:
    assert set(np.asarray(picture.load(tiff(tags, pixels))).flat) == {grey}


def test_a_tile_that_is_larger_than_its_picture_is_counted_before_it_is_decoded(monkeypatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(BadPictureError, match="a tile of 268,435,456 pixels, at most 33,554,432 are allowed"):
        picture.load(tiff({322: 16384, 323: 16384, 325: 1600}, bytes(1600)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_whose_exif_data_cannot_be_read_is_taken_as_it_is(kind: str) -> None:
    content = io.BytesIO()
    Image.new("RGB", (9, 7), RED).save(content, kind, exif=b"Exif\0\0garbage" if kind == "JPEG" else b"garbage!")
    assert picture.load(content.getvalue()).size == (9, 7)


def tiff_of_many(path: Path, tag: int, kind: int, order: str = "<", large: bool = False) -> None:
    """One pixel, and a tag of 100,000 numbers, in either byte order, also in the layout for large files."""
    tags = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1}
    entries = [(name, 3, 1, value) for name, value in tags.items() if name != tag] + [(tag, kind, 100_000, 400)]
    numbers, start = ("Q", 16) if large else ("L", 8)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if large else 42)
    head += struct.pack(f"{order}HHQ", 8, 0, start) if large else struct.pack(f"{order}L", start)
    body = struct.pack(f"{order}{'Q' if large else 'H'}", len(entries))
    for name, of, count, value in sorted(entries):
        body += struct.pack(f"{order}HH{numbers}{numbers}", name, of, count, value)
    path.write_bytes((head + body).ljust(400, b"\0") + bytes(800_000))


def long_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x9286] = "x" * 70_000
    Image.new("RGB", (9, 9)).save(path, "PNG", exif=exif)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (partial(tiff_of_many, tag=273, kind=1), "100,000 numbers in its tag 273, at most 65,536 are allowed"),
        (partial(tiff_of_many, tag=279, kind=4, order=">"), "100,000 numbers in its tag 279, at most 65,536 are"),
        (partial(tiff_of_many, tag=324, kind=16, large=True), "100,000 numbers in its tag 324, at most 65,536 are"),
        (partial(tiff_of_many, tag=33434, kind=5), "100,000 numbers in its tag 33434, at most 65,536 are allowed"),
        (long_exif, "70,046 bytes of EXIF data, at most 65,536 are allowed"),
        (not_there, "there is no such file"),
        (os.mkdir, "not a regular file"),
        (pipe, "not a regular file"),
        (empty, "not an image (valid: JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM)"),
        (postscript, "not an image (valid: JPEG,"),
        (float_pixels, "floating-point pixels have no agreed range"),
        (wide_integers, "integer pixels outside 0 to 65535"),
        (lab, "pixels of kind LAB (valid: 1, L,"),
        (enormous, "200,000,000 bytes, at most 134,217,728 are allowed"),
        (enormous_webp, "40,000,000 bytes, at most 33,554,432 are allowed"),
    ],
)
def test_each_bad_file_has_its_reason(tmp_path: Path, make, reason: str) -> None:
    make(tmp_path / "x")
    assert refused(tmp_path / "x").startswith(reason)


@pytest.mark.parametrize(("kind", "limit"), [("png", "PIXELS"), ("gif", "PIXELS"), ("webp", "WEBP_PIXELS")])
def test_pixels_are_counted_before_they_are_decoded(tmp_path: Path, monkeypatch, kind: str, limit: str) -> None:
    path = save(tmp_path / f"x.{kind}", Image.new("L", (101, 100)))
    monkeypatch.setattr(picture, limit, 10_000)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    assert refused(path) == "101x100 pixels, at most 10,000 are allowed"


def test_the_header_of_a_bomb_is_enough_to_refuse_it(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, "PNG")
    bomb = bytearray(content.getvalue())
    bomb[16:24] = (50_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    (tmp_path / "x.png").write_bytes(bomb)
    assert "bomb" in refused(tmp_path / "x.png")


def test_the_pieces_of_a_tiff_are_counted_before_pillow_sees_it(tmp_path: Path, monkeypatch) -> None:
    tiff_of_many(tmp_path / "x", 273, 1)
    monkeypatch.setattr(Image, "open", lambda *_words, **_more: pytest.fail("it was opened"))
    assert refused(tmp_path / "x").startswith("100,000 numbers")


def test_a_tiff_of_many_strips_and_a_long_profile_is_a_picture(tmp_path: Path) -> None:
    noise = Image.effect_noise((64, 2000), 60)
    noise.save(tmp_path / "x", "TIFF", tiffinfo={278: 1, 34675: bytes(200_000)})
    assert np.array_equal(np.asarray(picture.load(tmp_path / "x")), np.asarray(noise))


def test_a_decoder_that_reads_on_and_on_is_stopped(tmp_path: Path, monkeypatch) -> None:
    path = save(tmp_path / "x.jpg", Image.effect_noise((600, 600), 60), quality=100)
    monkeypatch.setattr(picture, "SECONDS", -1.0)
    assert refused(path) == "it takes more than -1 s to decode"
