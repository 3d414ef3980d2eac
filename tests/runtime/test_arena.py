"""The arena is the one that the engine makes where its kernels need no scratch, and can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.runtime.arena import arena_bytes
from edgecnn.runtime.tflite_file import read
from tests import tiny_graphs
from tests.tiny_graphs import Step, Value, constant


def of_the_engine(content: bytes) -> int:
    """The bytes from the first tensor in memory to the end of the last, as TFLite laid them out without a delegate."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    views = [
        interpreter.tensor(index)() for index, each in enumerate(read(content).tensors) if not each.constant
    ]  # in one list, so that none is let go
    starts = [view.ctypes.data for view in views]
    return max(start + view.nbytes for start, view in zip(starts, views, strict=True)) - min(starts)


CONSTANTS = {"UPRIGHT": constant(np.array([4, 1], np.int32)), "ROW": constant(np.ones((1, 4), np.float32))}
GRAPHS: dict[str, list[Step]] = {
    "a row": [("TANH", ["image"], ["a"])],
    "taking turns": [
        ("TANH", ["image"], ["a"]), ("ABS", ["a"], ["b"]), ("TANH", ["b"], ["c"]), ("ABS", ["c"], ["d"]),
    ],
    "a sum in place": [
        ("TANH", ["image"], ["a"]), ("TANH", ["a"], ["b"]), ("ADD", ["a", "b"], ["c"]), ("TANH", ["c"], ["d"]),
    ],
    "a sum beside what is needed again": [
        ("TANH", ["image"], ["a"]), ("ADD", ["a", "ROW"], ["b"]), ("ADD", ["b", "ROW"], ["c"]),
        ("ADD", ["a", "c"], ["d"]),
    ],
    "a softmax in place": [
        ("TANH", ["image"], ["a"]), ("SOFTMAX", ["a"], ["b"]), ("SOFTMAX", ["b"], ["c"]), ("TANH", ["c"], ["d"]),
    ],
    "a sum that is the output": [("TANH", ["image"], ["a"]), ("TANH", ["a"], ["b"]), ("ADD", ["a", "b"], ["c"])],
    "a reshape in place": [
        ("TANH", ["image"], ["a"]), ("RESHAPE", ["a", "UPRIGHT"], ["b"]), ("TANH", ["b"], ["c"]),
    ],
    "a reshape of the input": [("RESHAPE", ["image", "UPRIGHT"], ["a"]), ("ABS", ["a"], ["b"])],
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_the_arena_is_the_engines(name: str) -> None:
    steps = GRAPHS[name]
    names = dict.fromkeys(each for _, taken, given in steps for each in (*taken, *given))
    values = {each: CONSTANTS.get(each, Value((1, 4))) for each in names}
    content = tiny_graphs.file(values, steps, steps[-1][2])
    assert arena_bytes(read(content)) == of_the_engine(content)


def test_a_skip_connection_keeps_its_tensor() -> None:
    content = tiny_graphs.skip_connection()
    assert arena_bytes(read(content)) == of_the_engine(content) == 3 * 64 + 16


def test_int8_takes_a_quarter_and_a_batch_takes_its_multiple() -> None:
    # image 8x8x3 and 6x6x4 after the convolution, then 3x3x4, which fits in nothing that is free
    sizes = [8 * 8 * 3, 6 * 6 * 4, 3 * 3 * 4]
    for quantized, width in ((True, 1), (False, 4)):
        file = read(tiny_graphs.classifier(quantized))
        for batch in (1, 16):
            whole = [-(-size * width * batch // 64) * 64 for size in sizes]
            least, most = sum(sizes) * width * batch, sum(whole)
            assert least <= arena_bytes(file, batch) <= most
