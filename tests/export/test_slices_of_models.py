"""Files of all models in slices: the last prefix is the whole file, every other one its inner tensor, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecnn.export.drafts import Order, make
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8, Recipe
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.internals import tensor_values
from edgecnn.runtime.preprocess import prepare
from edgecnn.runtime.slices import prefixes
from edgecnn.runtime.tflite_file import read
from tests import nets
from tests.runtime.test_slices import outputs

pytestmark = pytest.mark.usefixtures("stored_conversions")


@pytest.mark.parametrize("model", nets.MODELS)
@pytest.mark.parametrize("recipe", [FLOAT32, STATIC_W8A8], ids=lambda recipe: recipe.name)
def test_slices_of_a_model(model: str, recipe: Recipe, tmp_path: Path) -> None:
    source = nets.source(model)
    content = make(Order("tflite", recipe), source).content
    path = tmp_path / "file.tflite"
    path.write_bytes(content)
    with open_artifact(path) as runner:
        tensor = prepare(source.probes[:1], runner.input)
        whole = runner.run(tensor)
    file = read(content)
    ends = [operation.outputs[0] for operation in file.operations]
    inner = tensor_values(content, tensor, ends)
    slices = list(prefixes(content))
    assert [operation for operation, _ in slices] == list(file.operations)
    for operation, prefix in slices:
        found = outputs(prefix, tensor, delegate=False, real=True)
        end = operation.outputs[0]
        np.testing.assert_array_equal(found[file.tensors[end].name], inner[end])
    (last,) = outputs(slices[-1][1], tensor).values()
    np.testing.assert_array_equal(last, whole)
