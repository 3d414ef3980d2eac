"""Makes bad files of good ones, for fuzz.py: the same file for the same seed, on every machine.

A .tflite file is mutated where its schema says that offsets, lengths, indices, shapes, types, scales and options lie,
so that most mutants are wrong in one place only; images chunk by chunk with their checksums mended, where they have
them.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from edgecnn.runtime.tflite_file import NAMES, Reader
from edgecnn.runtime.tflite_shapes import RULES
from edgecnn.runtime.tflite_tables import OPTIONS, TABLES

WIDTHS = {"b": 1, "B": 1, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8}
FLOATS = (0.0, -1.0, 1e-38, 1e-20, 1e-6, 1.0, 1e6, 1e20, 3e38, float("inf"), float("nan"))
TIFF_TAGS = 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 347
MOST_ITEMS = 24  # of a list that are worth a mutation


@dataclass(frozen=True)
class Place:
    """Where a number lies, in what struct format, and whose it is."""

    position: int
    form: str
    what: str


def places(content: bytes) -> list[Place]:
    """Every number of a good .tflite file that steers an interpreter."""
    found = [Place(0, "I", "root")]
    reader = Reader(content)
    seen: set[int] = set()

    def table(position: int, name: str, fields: tuple[str, ...]) -> None:
        if position in seen:
            return
        seen.add(position)
        found.append(Place(position, "i", "layout"))
        layout = position - reader.number("i", position)
        length = reader.number("H", layout)
        found.extend(Place(layout + 2 * index, "H", "layout") for index in range(length // 2))
        kind = 0
        for index in range(min(length // 2 - 2, len(fields))):
            offset, form = reader.number("H", layout + 4 + 2 * index), fields[index]
            if not offset:
                continue
            place = position + offset
            if form in WIDTHS:
                found.append(Place(place, form, f"{name}.{index}"))
                kind = reader.number("B", place) if (name, index) == ("Operator", 3) else kind
                continue
            found.append(Place(place, "I", "offset"))
            start = place + reader.number("I", place)
            if form == "options":
                table(start, "options", OPTIONS[kind][1])
            elif form in TABLES:
                table(start, form, TABLES[form])
            else:
                listed(start, form, f"{name}.{index}")

    def listed(start: int, form: str, what: str) -> None:
        count, item = reader.number("I", start), form[1:-1]
        found.append(Place(start, "I", "length"))
        for index in range(count if form != "text" else 0):
            if item in TABLES:
                slot = start + 4 + 4 * index
                found.append(Place(slot, "I", "offset"))
                table(slot + reader.number("I", slot), item, TABLES[item])
            elif index < MOST_ITEMS and item != "B":
                found.append(Place(start + 4 + WIDTHS[item] * index, item, what))

    table(reader.number("I", 0), "Model", TABLES["Model"])
    return found


class TFLite:
    """Mutants of one good .tflite file."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        everything = places(content)
        meaning = [place for place in everything if place.what not in ("layout", "offset", "length", "root")]
        self._groups = [meaning, everything, [place for place in everything if place.what in ("offset", "length")]]
        self._names = sorted({place.what for place in meaning})

    def mutant(self, random: random.Random) -> bytes:
        """One of them."""
        content = bytearray(self.content)
        way = random.random()
        if way < 0.9:
            for _ in range(random.choice((1, 1, 1, 2, 4))):
                group = random.choice(self._groups)
                if group is self._groups[0]:  # of each field equally often, however many tensors there are
                    name = random.choice(self._names)
                    group = [place for place in group if place.what == name]
                self._change(content, random.choice(group), random)
        if way > 0.85:
            content = bytearray(shuffled(bytes(content), random))
        return bytes(content)

    def _change(self, content: bytearray, place: Place, random: random.Random) -> None:
        form, other = "<" + place.form, random.choice(self._groups[0]).position // 4 * 4 % (len(content) - 8)
        if place.form == "f":
            struct.pack_into(form, content, place.position, random.choice(FLOATS))
            return
        bits = 8 * WIDTHS[place.form]
        value = struct.unpack_from(form, content, place.position)[0]
        if place.what in ("OperatorCode.0", "OperatorCode.3"):
            value = NAMES.index(random.choice(sorted(RULES))) if random.random() < 0.8 else random.randrange(256)
        else:
            value = random.choice((
                0, 1, 2, -1, value + 1, value - 1, 2 * value, value // 2, -value, value ^ 1 << random.randrange(bits),
                random.randrange(64), random.randrange(len(content)), 1 << bits - 1, (1 << bits - 1) - 1, 1 << bits - 2,
                struct.unpack_from(form, content, other)[0],
            ))  # fmt: skip
        struct.pack_into(form, content, place.position, _wrapped(value, place.form))


def _wrapped(value: int, form: str) -> int:
    bits = 8 * WIDTHS[form]
    value %= 1 << bits
    return value - (1 << bits) if form in "biq" and value >= 1 << bits - 1 else value


def shuffled(content: bytes, random: random.Random) -> bytes:
    """Bytes changed with no regard to what they mean."""
    some = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        if not some:
            break
        at, size = random.randrange(len(some)), 1 + random.randrange(1 << random.randrange(8))
        match random.randrange(8):
            case 0 | 1:
                some[at] ^= 1 << random.randrange(8)
            case 2:
                some[at : at + size] = random.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * len(some[at : at + size])
            case 3:
                some[at : at + size] = random.randbytes(len(some[at : at + size]))
            case 4:
                del some[at : at + size]
            case 5:
                some[at:at] = some[at : at + size]
            case 6:
                other = random.randrange(len(some))
                some[at : at + size] = some[other : other + size]
            case 7 if random.random() < 0.3:
                del some[at:]
    return bytes(some)


def manifest(document: dict[str, Any], random: random.Random) -> bytes:
    """A manifest with some of its values replaced, removed or added."""
    for _ in range(random.choice((1, 1, 2, 3))):
        spots: list[tuple[Any, Any]] = []

        def walk(value: Any) -> None:
            keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
            for key in keys:
                spots.append((value, key))  # noqa: B023 -- it is called before the next round
                walk(value[key])

        walk(document)
        holder, key = random.choice(spots)
        match random.randrange(6):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[random.choice(("extra", "file", "schema", "\u202e"))] = holder[key]
            case _:
                holder[key] = random.choice((
                    None, True, 0, -1, 1, 2, 3, 1 << 31, 1 << 63, 10**400, 1.5, 1e300, -0.0, "", "x", "../x.tflite",
                    "/etc/passwd", "..", "a/b", "manifest.json", "labels.txt", "C:\\x", "a\0b", "\x1b[2J", "x" * 300,
                    [], {}, [[[]]], "NHWC", "NCHW", "int8", "int16", "uint8", "float32", "float16", "tflite", "onnx",
                    "torchscript", "\ud800", holder[key],
                ))  # fmt: skip
    text = json.dumps(document)
    return text.encode() if random.random() < 0.8 else shuffled(text.encode(), random)


def pictures() -> dict[str, bytes]:
    """Good images of every kind, by names that end in their format."""
    noise = np.random.default_rng(0).integers(0, 256, (37, 61, 4), np.uint8)
    smooth = np.asarray(Image.fromarray(noise).resize((70, 52), Image.Resampling.BICUBIC))
    color, grey, clear = Image.fromarray(smooth[..., :3]), Image.fromarray(smooth[..., 0]), Image.fromarray(smooth)
    wide = Image.fromarray(smooth[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    frames: dict[str, Any] = {"save_all": True, "append_images": [grey.convert("RGB"), color], "duration": 50}
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "color.jpeg": (color, {"exif": exif}), "grey.jpeg": (grey, {}), "cmyk.jpeg": (color.convert("CMYK"), {}),
        "progressive.jpeg": (color, {"progressive": True, "subsampling": 0}),
        "restarts.jpeg": (color, {"restart_marker_rows": 1}),
        "color.png": (color, {"exif": exif, "dpi": (72, 72)}), "clear.png": (clear, {}), "wide.png": (wide, {}),
        "palette.png": (color.quantize(17), {"bits": 8}), "see.png": (color.quantize(9), {"transparency": 3}),
        "bits.png": (grey.convert("1"), {}), "frames.png": (color, frames), "grey.png": (grey.convert("LA"), {}),
        "color.bmp": (color, {}), "palette.bmp": (color.quantize(200), {}), "bits.bmp": (grey.convert("1"), {}),
        "clear.bmp": (clear, {}), "palette.gif": (color.quantize(64), {"transparency": 2}),
        "frames.gif": (color, frames), "grey.gif": (grey, {"interlace": 1}),
        "lossy.webp": (color, {"exif": exif}), "lossless.webp": (clear, {"lossless": True}), "clear.webp": (clear, {}),
        "frames.webp": (color, frames),
        "raw.tiff": (color, {}), "wide.tiff": (wide, {}), "lzw.tiff": (clear, {"compression": "tiff_lzw"}),
        "jpeg.tiff": (color, {"compression": "jpeg"}), "deflate.tiff": (color, {"compression": "tiff_adobe_deflate"}),
        "packbits.tiff": (color.quantize(9), {"compression": "packbits"}), "frames.tiff": (color, frames),
        "fax.tiff": (grey.convert("1"), {"compression": "group4"}), "int.tiff": (wide.convert("I"), {}),
        "cmyk.tiff": (color.convert("CMYK"), {"compression": "lzma"}),
        "color.ppm": (color, {}), "grey.ppm": (grey, {}), "bits.ppm": (grey.convert("1"), {}), "wide.ppm": (wide, {}),
    }  # fmt: skip
    contents = {}
    for name, (image, options) in made.items():
        file = io.BytesIO()
        image.save(file, name.rpartition(".")[2].upper(), **options)
        contents[name] = file.getvalue()
    return contents


def picture(name: str, content: bytes, random: random.Random) -> bytes:
    """A mutant of an image whose name ends in its format."""
    way = STRUCTURED.get(name.rpartition(".")[2])
    if way is not None and random.random() < 0.5:
        return way(content, random)
    if random.random() < 0.3:
        return _resized(content, random)
    return shuffled(content, random)


def _resized(content: bytes, random: random.Random) -> bytes:
    """The numbers that are as large as a side of the pictures, which may well be the sides, get larger or smaller."""
    some = bytearray(content)
    for order in ("<", ">"):
        for form in ("H", "I"):
            for side in (70, 52, 61, 37, 69, 51):
                packed = struct.pack(order + form, side)
                at = some.find(packed)
                if at >= 0 and random.random() < 0.3:
                    value = random.choice((0, 1, side - 1, side + 1, 300, 5000, 40000, 65535))
                    some[at : at + len(packed)] = struct.pack(order + form, value)
    return bytes(some)


def _png(content: bytes, random: random.Random) -> bytes:
    """Chunks mutated, dropped, doubled or moved, with right checksums."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    for _ in range(random.choice((1, 1, 2))):
        index = random.randrange(len(chunks))
        kind, body = chunks[index]
        match random.randrange(6):
            case 0:
                chunks.insert(random.randrange(len(chunks) + 1), chunks[index])
            case 1 if len(chunks) > 1:
                del chunks[index]
            case 2 if kind in (b"IDAT", b"fdAT", b"iCCP", b"zTXt"):
                try:
                    chunks[index] = kind, zlib.compress(shuffled(zlib.decompress(body), random))
                except zlib.error:
                    chunks[index] = kind, shuffled(body, random)
            case 3:
                chunks[index] = (
                    random.choice((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"zTXt", b"eXIf")),
                    body,
                )
            case _:
                chunks[index] = kind, shuffled(body, random)
    parts = [
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    ]
    return content[:8] + b"".join(parts)


def _jpeg(content: bytes, random: random.Random) -> bytes:
    """Segments before the first scan mutated, dropped, doubled or moved; scans doubled."""
    segments, at = [], 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        size = 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        segments.append(content[at : at + size])
        at += size
    scans = content[at:-2]
    index = random.randrange(len(segments))
    body = segments[index]
    match random.randrange(5):
        case 0:
            segments.insert(random.randrange(len(segments) + 1), body)
        case 1:
            del segments[index]
        case 2:
            scans *= random.choice((2, 5, 50))
        case 3:
            segments[index] = body[:2] + (len(body) - 2).to_bytes(2, "big") + shuffled(body[4:], random)
        case 4:
            segments[index] = body[:4] + shuffled(body[4:], random)[: len(body) - 4].ljust(len(body) - 4, b"\0")
    return content[:2] + b"".join(segments) + scans + content[-2:]


def _tiff(content: bytes, random: random.Random) -> bytes:
    """Entries of the first directory with other tags, types, counts and values."""
    some = bytearray(content)
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", some, 4)
    (count,) = struct.unpack_from(order + "H", some, start)
    for _ in range(random.choice((1, 1, 2, 3))):
        at = start + 2 + 12 * random.randrange(count)
        tag, kind, items, value = struct.unpack_from(order + "HHII", some, at)
        large = 5000, 65535, 1 << 20, (1 << 31) - 1, (1 << 32) - 1, value + 1, items + 1
        numbers = 0, 1, 2, 3, 4, 8, 16, 32, 255, *large
        match random.randrange(5):
            case 0:
                tag = random.choice(TIFF_TAGS)
            case 1:
                kind = random.randrange(20)
            case 2:
                items = random.choice(numbers)
            case _:
                value = random.choice(numbers)
        struct.pack_into(order + "HHII", some, at, tag, kind, items % (1 << 32), value % (1 << 32))
    return bytes(some)


def _webp(content: bytes, random: random.Random) -> bytes:
    """Chunks mutated, dropped, doubled or renamed, with right sizes."""
    chunks, at = [], 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        chunks.append((content[at : at + 4], content[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    index = random.randrange(len(chunks))
    kind, body = chunks[index]
    match random.randrange(4):
        case 0:
            chunks.insert(random.randrange(len(chunks) + 1), chunks[index])
        case 1:
            chunks[index] = random.choice((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF")), body
        case _:
            chunks[index] = kind, shuffled(body, random)
    rest = b"".join(kind + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2) for kind, body in chunks)
    return b"RIFF" + (4 + len(rest)).to_bytes(4, "little") + b"WEBP" + rest


STRUCTURED: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "png": _png, "jpeg": _jpeg, "tiff": _tiff, "webp": _webp
}  # fmt: skip
