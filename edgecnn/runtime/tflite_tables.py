"""Checks that a .tflite file is a sound FlatBuffer of TFLite's schema, before code that trusts it gets to see it.

An interpreter follows a file's offsets without looking where they lead. Here every table, list and text that it could
follow is found to lie in the file, aligned, and of the size that its type has. A field that schema.fbs has and an image
classifier does not need (variables, sparse tensors, custom operations, values outside the FlatBuffer) is refused, and
so is one that it did not have when this was written. See "FlatBuffers Internals" and the Verifier in flatbuffers.h.
"""

from __future__ import annotations

import struct

from edgecnn.runtime.tflite_file import Reader

# The fields of each table, in the order of the schema: a struct format; a list "[...]" of a format or of a table;
# a text; a table; "" for what must not be there. Operator's 4th field says which table its 5th is: see OPTIONS.
TABLES = {
    "Model": ("I", "[OperatorCode]", "[SubGraph]", "text", "[Buffer]", "[i]", "[Metadata]", "[SignatureDef]"),
    "OperatorCode": ("b", "", "i", "i"),
    "SubGraph": ("[Tensor]", "[i]", "[i]", "[Operator]", "text", "i"),
    "Tensor": ("[i]", "b", "I", "text", "Quantization", "", "", "[i]", "B"),
    "Quantization": ("[f]", "[f]", "[f]", "[q]", "", "", "i"),
    "Operator": ("I", "[i]", "[i]", "B", "options", "", "b", "", "", "", "", "", "", "i"),
    "Buffer": ("[B]",),
    "Metadata": ("text", "I"),
    "SignatureDef": ("[TensorMap]", "[TensorMap]", "text", "", "I"),
    "TensorMap": ("text", "I"),
}

# BuiltinOptions of the schema by number: the operations that take them, by the names of tflite_file.NAMES, and fields.
_PLAIN: tuple[str, ...] = ()
OPTIONS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("CONV_2D", ("b", "i", "i", "b", "i", "i", "b")),
    2: ("DEPTHWISE_CONV_2D", ("b", "i", "i", "i", "b", "i", "i")),
    5: ("AVERAGE_POOL_2D MAX_POOL_2D", ("b", "i", "i", "i", "i", "b")),
    8: ("FULLY_CONNECTED", ("b", "b", "B", "B", "b")),
    9: ("SOFTMAX", ("f",)),
    10: ("CONCATENATION", ("i", "b")),
    11: ("ADD", ("b", "B")),
    12: ("L2_NORMALIZATION", ("b",)),
    15: ("RESIZE_BILINEAR", ("", "", "B", "B")),
    17: ("RESHAPE", ("[i]",)),
    21: ("MUL", ("b",)),
    22: ("PAD", _PLAIN),
    26: ("TRANSPOSE", _PLAIN),
    27: ("MEAN SUM REDUCE_MAX REDUCE_MIN", ("B",)),
    28: ("SUB", ("b", "B")),
    29: ("DIV", ("b",)),
    30: ("SQUEEZE", ("[i]",)),
    32: ("STRIDED_SLICE", ("i", "i", "i", "i", "i", "B")),
    33: ("EXP", _PLAIN),
    35: ("SPLIT", ("i",)),
    36: ("LOG_SOFTMAX", _PLAIN),
    37: ("CAST", ("b", "b")),
    38: ("DEQUANTIZE", _PLAIN),
    39: ("MAXIMUM MINIMUM", _PLAIN),
    42: ("NEG", _PLAIN),
    43: ("PADV2", _PLAIN),
    48: ("SLICE", _PLAIN),
    52: ("EXPAND_DIMS", _PLAIN),
    66: ("SQUARE", _PLAIN),
    74: ("RESIZE_NEAREST_NEIGHBOR", ("B", "B")),
    75: ("LEAKY_RELU", ("f",)),
    76: ("SQUARED_DIFFERENCE", _PLAIN),
    77: ("MIRROR_PAD", ("b",)),
    78: ("ABS", _PLAIN),
    81: ("REVERSE_V2", _PLAIN),
    89: ("QUANTIZE", _PLAIN),
    91: ("HARD_SWISH", _PLAIN),
    101: ("BATCH_MATMUL", ("B", "B", "B")),
    116: ("GELU", ("B",)),
}
MOST = 1 << 14  # operations, and tensors; a network of 1,000 layers has about 5,000. Buffers may be twice as many.
_LISTS = {"B": 1, "i": 4, "f": 4, "q": 8}


def check_tables(reader: Reader) -> None:
    """Raise BadFileError unless everything that is reachable from the root of the file is sound."""
    _check_table(reader, reader.number("I", 0), "Model", TABLES["Model"])


def _check_table(reader: Reader, position: int, name: str, fields: tuple[str, ...]) -> None:
    reader.items(position, 1, 4)
    if position % 4:
        raise reader.broken(f"a table {name} is not aligned")
    layout = position - reader.number("i", position)
    if layout % 2:
        raise reader.broken(f"the layout of a table {name} is not aligned")
    length, size = reader.number("H", layout), reader.number("H", layout + 2)
    if length < 4 or length % 2 or size < 4 or max(layout + length, position + size) > len(reader.content):
        raise reader.broken(f"a table {name} ends outside the file")
    reader.items(layout, length // 4, 4)  # many tables may share a long one, which is gone through for each
    kind = 0
    for index, offset in enumerate(struct.unpack_from(f"<{length // 2 - 2}H", reader.content, layout + 4)):
        if not offset:
            continue
        form = fields[index] if index < len(fields) else ""
        if not form:
            raise reader.broken(f"it has field {index} of {name}, which no image classifier needs")
        width = struct.calcsize(form) if len(form) == 1 else 4
        place = position + offset
        if offset < 4 or offset + width > size or place % width:
            raise reader.broken(f"field {index} of a table {name} lies outside it or is not aligned")
        if name == "Operator" and index == 3:
            kind = reader.number("B", place)
        if len(form) > 1:
            _follow(reader, place, form, kind)


def _follow(reader: Reader, place: int, form: str, kind: int) -> None:
    """Check what the offset at ``place`` leads to."""
    start = place + reader.number("I", place)
    if form == "options":
        if kind not in OPTIONS:
            raise reader.broken(f"it has options of kind {kind}, which no image classifier needs")
        _check_table(reader, start, "options", OPTIONS[kind][1])
        return
    if form in TABLES:
        _check_table(reader, start, form, TABLES[form])
        return
    if start % 4:
        raise reader.broken("a list is not aligned")
    count = reader.number("I", start)
    if form == "text":
        reader.items(start + 4, count // 4, 4)
        if reader.number("B", start + 4 + count):
            raise reader.broken("a text has no end")
        return
    item = form[1:-1]
    # Each becomes an object of Python's; tables may all be one and the same, so that a small file has very many.
    if (item == "i" or item in TABLES) and count > 2 * MOST:
        what = "number" if item == "i" else item
        raise reader.broken(f"it has a list of {count} {what}s, at most {2 * MOST} are allowed")
    if item in _LISTS:
        width = _LISTS[item]
        # Items of 8 bytes may lie at multiples of 4 alone in files of old writers, which interpreters put up with.
        reader.items(start + 4, count * width // 4, 4)
        if start + 4 + count * width > len(reader.content):
            raise reader.broken("a list ends outside the file")
        return
    reader.items(start + 4, count, 4)
    for index in range(count):
        slot = start + 4 + 4 * index
        _check_table(reader, slot + reader.number("I", slot), item, TABLES[item])
