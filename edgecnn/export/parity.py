"""The gate: what an exported file must show before it is called done.

Float files must give PyTorch's logits; quantized ones must choose PyTorch's classes under the same quantization, and
every TFLite layer must have the one bias scale that makes its integer arithmetic right, and be int8 or float32 as its
graph has it. A file that fails is refused with the name of the layer at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgecnn.errors import CheckFailedError
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.measure.accuracy import Score
from edgecnn.measure.comparison import Comparison
from edgecnn.measure.stats import agreement
from edgecnn.quantize.qdq import Borders
from edgecnn.runtime.internals import partitions
from edgecnn.runtime.manifest import Scalar

PROBES = 1000  # images
MAX_LOGIT_DIFFERENCE = 1e-4
# Of the largest logit, where that is more: float32 rounds in proportion, and a deep model's sums, in another order,
# differ by some 1e-6 of what they are (``benchmarks/own_models.py`` prints it for twelve models).
MAX_LOGIT_SHARE = 1e-5
MIN_AGREEMENT = 0.97
# What training under quantization gained must be in the file: 98.5 %, less the 0.75 that PROBES may miss by chance.
MIN_TRAINED_AGREEMENT = 0.9775
TOLD_APART = 1e-6  # of the largest logit; what differs by less is the rounding of one and the same answer
MAX_BIAS_SCALE_ERROR = 1e-5  # float32 rounding of the product of two scales
MAX_ACCURACY_DROP = 0.01  # from the recorded accuracy, as a share of the images
MAX_4_BIT_DROP = 0.05  # the same where weights have 4 bits, which calibration alone cannot make good

Gate = dict[str, Scalar]
Blame = Callable[[], str]


def check_float(name: str, logits: np.ndarray, reference: np.ndarray, blame: Blame) -> Gate:
    """Logits [n, classes] of a float file against PyTorch's. Raises CheckFailedError."""
    difference = float(np.max(np.abs(logits - reference)))
    largest = float(np.max(np.abs(reference)))
    allowed = max(MAX_LOGIT_DIFFERENCE, MAX_LOGIT_SHARE * largest)
    if not difference <= allowed:
        raise CheckFailedError(
            f"{name}: logits differ by {difference:.2g} from PyTorch's on {len(logits)} images (at most {allowed:.2g}, "
            f"with logits up to {largest:.2g}); {blame()}"
        )
    return {
        "images": len(logits), "max_logit_difference": difference, "largest_logit": largest,
        "allowed_logit_difference": allowed,
    }  # fmt: skip


def check_quantized(
    name: str, logits: np.ndarray, reference: np.ndarray, blame: Blame, least: float = MIN_AGREEMENT
) -> Gate:
    """Logits [n, classes] of a quantized file against those of its simulation in PyTorch.

    Raises CheckFailedError where they choose the same class of less than ``least`` (a share) of the images, or the file
    always says the same.
    """
    check_told_apart(name, logits, reference, blame)
    share = agreement(logits.argmax(1), reference.argmax(1))
    mean = float(np.mean(np.abs(logits - reference)))
    if not (share >= least and np.isfinite(mean)):
        raise CheckFailedError(
            f"{name}: chooses the class of its PyTorch reference on only {100 * share:.1f} % of {len(logits)} images "
            f"(at least {100 * least:g} %), mean logit difference {mean:.2g}; {blame()}"
        )
    return {"images": len(logits), "agreement": share, "mean_logit_difference": mean}


def check_told_apart(name: str, logits: np.ndarray, reference: np.ndarray, blame: Blame) -> None:
    """Raise CheckFailedError if a file gives the same logits [n, classes] for all images and the reference does not."""
    if np.ptp(logits, 0).max() == 0 and np.ptp(reference, 0).max() > TOLD_APART * np.abs(reference).max():
        raise CheckFailedError(f"{name}: gives the same logits for all {len(logits)} images, unlike PyTorch; {blame()}")


def check_structure(name: str, content: bytes, layer_name: Callable[[int], str]) -> Gate:
    """Bias scales of every layer of a TFLite file, and what the engine will do with its operations.

    ``layer_name`` gives the name of the layer at a position in the order of execution. Raises CheckFailedError if
    a bias scale is not input scale times weight scale.
    """
    graph = TFLiteGraph(content)
    for position, layer in enumerate(graph.layers()):
        error = layer.bias_scale_error()
        if not error <= MAX_BIAS_SCALE_ERROR:
            raise CheckFailedError(
                f"{name}: the bias scale of layer {layer_name(position)} ({layer.operation}) is off by "
                f"{100 * error:.2g} % from input scale times weight scale; the file would be silently wrong"
            )
    delegated, outside = partitions(content)
    counted = graph.operations()
    return {
        "operations": sum(counted.values()),
        **{f"{kind.lower()}_ops": counted[kind] for kind in ("QUANTIZE", "DEQUANTIZE", "TRANSPOSE")},
        "xnnpack_partitions": delegated,
        "ops_outside_xnnpack": ", ".join(outside),
    }


def check_integers(
    name: str, content: bytes, layer_name: Callable[[int], str], borders: Borders, without_kernel: Sequence[str]
) -> Gate:
    """What of a static_w8a8 file is int8 and what float32: as ``borders`` of its graph say, layer by layer.

    Float are the layers that were to stay so, what follows from them, and ``without_kernel``, the operations of the
    model that have no int8 kernel. Raises CheckFailedError for a layer with weights of another type, for a file that
    quantizes or dequantizes more often or less, and for one that computes in float what the graph has in int8.
    """
    graph = TFLiteGraph(content)
    for position, layer in enumerate(graph.layers()):
        module, found = layer_name(position), layer.weight.dtype.name
        wanted = "float32" if module in borders.floats else "int8" if module in borders.integers else found
        if found != wanted:
            raise CheckFailedError(
                f"{name}: the weights of layer {module} ({layer.operation}) are {found}, but were to be {wanted}; "
                "the converter did not keep to the graph"
            )
    counted, left = graph.operations(), graph.float_operations()
    quantized, dequantized = counted["QUANTIZE"], counted["DEQUANTIZE"]
    if borders.dequantized is None:
        kept = quantized <= borders.quantized
    else:
        kept = (quantized, dequantized) == (borders.quantized, borders.dequantized)
    if not kept or (left and not without_kernel and not borders.floats):
        expected = "any" if borders.dequantized is None else borders.dequantized
        raise CheckFailedError(
            f"{name}: {quantized} QUANTIZE and {dequantized} DEQUANTIZE operations where the model's graph has "
            f"{borders.quantized} and {expected}, and in float {', '.join(sorted(set(left))) or 'nothing'}; "
            "the converter left the integers where it should not"
        )
    # The converter may find a way to compute in int8 what the graph leaves in float.
    return {"float_operations": ", ".join(without_kernel if left else ()), "float_ops": len(left)}


def float_parts(content: bytes) -> Gate:
    """What a file that should compute in integers computes in float, by the names of TFLite's operations."""
    left = TFLiteGraph(content).float_operations()
    return {"float_operations": ", ".join(dict.fromkeys(left)), "float_ops": len(left)}


def check_accuracy(
    name: str, score: Score, recorded: float | None, blame: Blame, most: float = MAX_ACCURACY_DROP
) -> Gate:
    """A file's accuracy against the one recorded with the weights (None: there is none).

    Raises CheckFailedError where it is more than ``most`` (a share of the images) below.
    """
    if recorded is None:
        return {"recorded_accuracy": None}
    if score.accuracy < recorded - most:
        points = "point" if most == 0.01 else "points"
        raise CheckFailedError(
            f"{name}: accuracy {100 * score.accuracy:.2f} % on {score.images} images is more than "
            f"{100 * most:g} {points} below the recorded {100 * recorded:.2f} %; {blame()}"
        )
    return {"recorded_accuracy": recorded}


def check_loss(name: str, change: Comparison, blame: Blame, most: float = MAX_ACCURACY_DROP) -> Gate:
    """A quantized file's accuracy against the PyTorch model's on the same images, where none was recorded.

    Raises CheckFailedError where the paired 95 % interval of the change lies below ``most`` (a share of the images).
    """
    if change.interval[1] < -100 * most:
        raise CheckFailedError(
            f"{name}: accuracy {100 * change.second.accuracy:.2f} % on {change.images} images is {-change.change:.2f} "
            f"points below float32's, and surely more than {100 * most:g}; {blame()}. 'edgecnn debug' names the layers "
            "that lose most; see --equalize, --max-drop and --qat"
        )
    return {"float_accuracy": change.first.accuracy}
