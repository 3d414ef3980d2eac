"""CIFAR-10 files of the official size, mostly holes, so that making them costs neither time nor disk."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np

NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
PER_FILE = 10_000
PIXELS = 3072
RECORD = 1 + PIXELS


def pixels(file: int, row: int) -> np.ndarray:
    """The uint8 [3072] pixels put at ``row`` of the file ``file``: never twice the same."""
    return np.random.default_rng((file, row)).integers(0, 256, PIXELS, np.uint8)


def image(file: int, row: int) -> np.ndarray:
    """The same as uint8 [32, 32, 3]."""
    planes = pixels(file, row).reshape(3, 32, 32)
    return np.stack([planes[0], planes[1], planes[2]], axis=-1)


def label(file: int, row: int) -> int:
    return (3 * file + row) % 10


def binary_layout(root: Path, rows: tuple[int, ...] = ()) -> Path:
    """The binary layout under ``root``; only ``rows`` of each file have content, the rest is zero."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        with (folder / f"{name}.bin").open("wb") as file:
            file.truncate(PER_FILE * RECORD)
            for row in rows:
                file.seek(row * RECORD)
                file.write(bytes([label(number, row)]) + pixels(number, row).tobytes())
    return folder


def python_layout(root: Path, rows: tuple[int, ...] = ()) -> Path:
    """The Python layout under ``root``, token by token as the official files have it."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        labels = [label(number, row) for row in range(PER_FILE)]
        head = official_head(labels)
        with (folder / name).open("wb") as file:
            file.write(head)
            for row in rows:
                file.seek(len(head) + row * PIXELS)
                file.write(pixels(number, row).tobytes())
            file.seek(len(head) + PER_FILE * PIXELS)
            file.write(official_tail())
    return folder


def official_head(
    labels: list[int], shape: tuple[int, int] = (PER_FILE, PIXELS), kind: bytes = b"u1", size: int = PER_FILE * PIXELS
) -> bytes:
    """What stands before the pixels: Python 2's protocol 2, with its short strings and batches of 1,000 items."""
    batches = b"".join(
        b"(" + b"".join(b"K" + bytes([value]) for value in labels[start : start + 1000]) + b"e"
        for start in range(0, len(labels), 1000)
    )
    return (
        b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03U\x06labelsq\x04]q\x05"
        + batches
        + b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09"
        + b"(K\x01M"
        + struct.pack("<H", shape[0])
        + b"M"
        + struct.pack("<H", shape[1])
        + b"\x86"
        + b"cnumpy\ndtype\nq\x0aU\x02"
        + kind
        + b"K\x00K\x01\x87Rq\x0b"
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", size)
    )


def official_tail(names: int = PER_FILE) -> bytes:
    """What stands after the pixels: the end of the array, and the names of the images."""
    files = b"".join(b"U\x05" + b"%05d" % name + b"r" + struct.pack("<I", 13 + name) for name in range(names))
    return b"tbU\x09filenamesq\x0c](" + files + b"eu."


def modern_batch(protocol: int) -> bytes:
    """A batch file as today's Python and numpy write it; row 7 has content."""
    data = np.zeros((PER_FILE, PIXELS), np.uint8)
    data[7] = pixels(0, 7)
    labels = [label(0, row) for row in range(PER_FILE)]
    return pickle.dumps({b"labels": labels, b"data": data, b"batch_label": b"one"}, protocol=protocol)


def archive(folder: str = "cifar-10-batches-py") -> bytes:
    """A small .tar.gz with a folder of six little files, shaped like the official one."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in NAMES:
            member = tarfile.TarInfo(f"{folder}/{name}")
            body = name.encode() * 1000
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return gzip.compress(content.getvalue(), mtime=0)
