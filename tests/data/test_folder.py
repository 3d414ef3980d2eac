"""Folders of images: every kind of picture, and every way such a folder can be wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.dataset import DataSet, everything
from edgecnn.data.registry import load
from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.runtime import picture

RED, BLUE = (200, 30, 40), (20, 40, 220)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes, 6 training and 2 test images each, of different sizes."""
    for split, count in (("train", 6), ("test", 2)):
        for name, colour in (("red", RED), ("blue", BLUE)):
            place = tmp_path / "colours" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (20 + 9 * number, 50 - 5 * number), colour).save(place / f"{number}.png")
    return tmp_path / "colours"


def open_folder(folder: Path, **options) -> DataSet:
    return load(str(folder), **options)


def only(folder: Path, picture: Image.Image, kind: str, **save) -> np.ndarray:
    """How ``picture`` comes out of a data set in which it is the only image of class 'blue', at 32x32x3."""
    shutil.rmtree(folder / "test" / "blue")
    (folder / "test" / "blue").mkdir()
    picture.save(folder / "test" / "blue" / f"x.{kind}", **save)
    images, labels = everything(open_folder(folder).test)
    return images[labels == 0][0]


def test_images_of_any_size_come_out_as_asked(folder):
    dataset = open_folder(folder)
    assert (dataset.classes, dataset.image, dataset.note) == (("blue", "red"), (32, 32, 3), "")
    assert (len(dataset.train), len(dataset.test)) == (12, 4)
    images, labels = everything(dataset.train)
    assert images.shape == (12, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(images[:, 5, 5], np.array([BLUE, RED])[labels])
    assert len(set(labels[:6])) == 2, "the first images are a mixture of classes"
    images, labels = open_folder(folder, image=(24, 40, 1)).train.take(np.array([3, 3, 0]))
    assert images.shape == (3, 24, 40, 1)
    assert open_folder(folder).train.take(np.array([3, 3, 0]))[1].tolist() == labels.tolist()


def test_pictures_shrink_with_antialiasing(folder):
    """Fine stripes become grey instead of stripes or one of their colours."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    image = only(folder, Image.fromarray(stripes), "png")
    assert abs(image.astype(int) - 127).max() <= 8


def half_transparent() -> Image.Image:
    picture = Image.new("RGBA", (40, 40), (*RED, 255))
    picture.paste((0, 255, 0, 0), (0, 0, 40, 20))
    return picture


def palette_with_transparency() -> Image.Image:
    picture = Image.new("P", (40, 40), 1)
    picture.putpalette([0, 255, 0, *RED])
    picture.paste(0, (0, 0, 40, 20))
    return picture


GREY = (128, 128, 128)


@pytest.mark.parametrize(
    ("make", "kind", "save", "top", "bottom"),
    [
        (lambda: Image.new("L", (40, 40), 90), "png", {}, (90, 90, 90), (90, 90, 90)),
        (lambda: Image.new("1", (40, 40), 1), "png", {}, (255, 255, 255), (255, 255, 255)),
        (lambda: Image.new("LA", (40, 40), (90, 0)), "png", {}, GREY, GREY),
        (half_transparent, "png", {}, GREY, RED),
        (half_transparent, "webp", {"lossless": True}, GREY, RED),
        (palette_with_transparency, "png", {"transparency": 0}, GREY, RED),
        (palette_with_transparency, "gif", {"transparency": 0}, GREY, RED),
        (palette_with_transparency, "bmp", {}, (0, 255, 0), RED),
        (lambda: Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "jpg", {}, (254, 0, 0), (254, 0, 0)),
        (lambda: Image.fromarray(np.full((40, 40), 0x5AFF, np.uint16)), "png", {}, (0x5A,) * 3, (0x5A,) * 3),
        (lambda: Image.fromarray(np.full((40, 40), 0x5AFF, np.int32)), "tiff", {}, (0x5A,) * 3, (0x5A,) * 3),
    ],
)
def test_every_kind_of_picture_becomes_rgb(folder, make, kind, save, top, bottom):
    image = only(folder, make(), kind, **save).astype(int)
    assert abs(image[2, 10] - top).max() <= 2
    assert abs(image[-3, 10] - bottom).max() <= 2


def test_pictures_are_turned_upright(folder):
    picture = Image.new("RGB", (40, 20), BLUE)
    picture.paste(RED, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter: what was left is on top
    image = only(folder, picture, "png", exif=exif)
    np.testing.assert_array_equal([image[2, 16], image[-3, 16]], [RED, BLUE])


def break_three(folder: Path) -> None:
    (folder / "train" / "red" / "0.png").write_bytes(b"no image at all")
    whole = (folder / "train" / "blue" / "1.png").read_bytes()
    (folder / "train" / "blue" / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "test" / "blue" / "0.png").write_bytes(b"")


def test_broken_images_are_counted_and_named(folder):
    break_three(folder)
    (folder / "test" / "red" / "Thumbs.db").write_bytes(b"x")
    (folder / "test" / "red" / "below").mkdir()
    with pytest.raises(BadFileError, match=r"^5 of 18 images in .* cannot be read: ") as caught:
        open_folder(folder)
    message = str(caught.value)
    assert message.count(".png (") == 3
    for part in (
        "train/red/0.png (not an image ",
        "train/blue/1.png (",
        "test/blue/0.png (",
        ", ...",
        "skip",
    ):
        assert part in message
    assert "\n" not in message


def test_broken_images_are_skipped_by_choice_and_noted(folder):
    break_three(folder)
    dataset = open_folder(folder, on_broken="skip")
    assert (len(dataset.train), len(dataset.test)) == (10, 3)
    assert dataset.note.startswith("skipped: 3 of 16 images")
    assert "train/red/0.png" in dataset.note
    images, labels = everything(dataset.train)
    np.testing.assert_array_equal(images[:, 5, 5], np.array([BLUE, RED])[labels])
    with pytest.raises(UnknownNameError, match="valid: refuse, skip"):
        open_folder(folder, on_broken="ignore")


def test_pictures_of_too_many_pixels_are_refused(folder, monkeypatch, recwarn):
    Image.new("L", (101, 100)).save(folder / "train" / "red" / "0.png")
    monkeypatch.setattr(picture, "PIXELS", 10_000)
    with pytest.raises(BadFileError, match=r"1 of 16 .*101x100 pixels, at most 10,000 are allowed"):
        open_folder(folder)
    for limit, reason in ((8_000, "101x100 pixels"), (5_000, "bomb")):  # Pillow itself refuses at twice its limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(BadFileError, match=rf"1 of 16 .*{reason}"):
            open_folder(folder)
    assert not recwarn.list


def test_hidden_files_and_files_beside_the_classes_are_ignored(folder):
    (folder / "train" / "red" / ".DS_Store").write_bytes(b"x")
    (folder / "train" / ".cache").mkdir()
    (folder / "train" / "readme.txt").write_text("two colours")
    assert len(open_folder(folder).train) == 12


def test_an_image_that_breaks_later_is_named(folder):
    train = open_folder(folder).train
    for file in (folder / "train").rglob("*.png"):
        file.unlink()
    with pytest.raises(BadFileError, match=r"\.png could be read before and cannot now"):
        train.take(np.array([0]))


def remove(path: str):
    return lambda folder: shutil.rmtree(folder / path)


def no_classes(folder: Path) -> None:
    for split in ("train", "test"):
        shutil.rmtree(folder / split)
        (folder / split).mkdir()


def one_class(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "red")
    shutil.rmtree(folder / "test" / "red")


def other_class(folder: Path) -> None:
    (folder / "test" / "red").rename(folder / "test" / "rot")


def empty_class(folder: Path) -> None:
    for file in (folder / "test" / "red").iterdir():
        file.unlink()


def named(name: str):
    def harm(folder: Path) -> None:
        for split in ("train", "test"):
            (folder / split / "red").rename(folder / split / name)

    return harm


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (named("two\nlines"), r"the class folder 'two\\nlines' in .* is not one line of UTF-8; give it another"),
        (named(os.fsdecode(b"caf\xe9")), "is not one line of UTF-8"),
        (remove("train"), "has no folder 'train'"),
        (remove("test"), "has no folder 'test'"),
        (remove("."), "there is no data set folder"),
        (no_classes, "has no class folders"),
        (one_class, "has only the class 'blue'"),
        (other_class, "only train has red and only test has rot"),
        (empty_class, "test/red has no images"),
    ],
)
def test_each_way_a_folder_can_be_wrong_has_its_own_line(folder, harm, reason):
    harm(folder)
    with pytest.raises(BadFileError, match=reason) as caught:
        open_folder(folder)
    assert "\n" not in str(caught.value)


def test_a_class_whose_images_are_all_broken_is_an_error_even_when_skipping(folder):
    for file in (folder / "test" / "red").iterdir():
        file.write_bytes(b"x")
    with pytest.raises(BadFileError, match="test/red has no images"):
        open_folder(folder, on_broken="skip")


@pytest.mark.parametrize("image", [(0, 32, 3), (32, 32, 0), (32, 32, 5)])
def test_impossible_sizes_are_refused(folder, image):
    with pytest.raises(UsageError, match="not possible"):
        open_folder(folder, image=image)


def test_a_folder_in_the_working_directory_needs_no_separator(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert load("colours").name == "colours"


@pytest.mark.parametrize(
    ("mode", "channels", "colour", "expected"),
    [
        ("RGBA", 4, (200, 30, 40, 128), (200, 30, 40, 128)),
        ("RGB", 4, (200, 30, 40), (200, 30, 40, 255)),
        ("LA", 2, (90, 7), (90, 7)),
        ("L", 2, 90, (90, 255)),
        ("RGBA", 2, (90, 90, 90, 40), (90, 40)),
        ("CMYK", 4, (0, 0, 0, 255), (0, 0, 0, 255)),
        ("CMYK", 2, (0, 0, 0, 255), (0, 255)),
    ],
)
def test_two_and_four_channels_keep_transparency_as_it_is(folder, mode, channels, colour, expected):
    kind = "tiff" if mode == "CMYK" else "png"
    for split in ("train", "test"):
        for path in (folder / split).glob("*/*"):
            path.unlink()
            Image.new(mode, (32, 32), colour).save(path.with_suffix(f".{kind}"))
    pixels = open_folder(folder, image=(32, 32, channels)).test.take(np.array([0]))[0]
    assert pixels.shape == (1, 32, 32, channels)
    assert tuple(pixels[0, 5, 5]) == expected
