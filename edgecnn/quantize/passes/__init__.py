"""Exact rewrites of the folded graph that runtimes run faster.

Each computes the same function up to float rounding. Which one pays depends on the target: merging a separable
convolution halves the time on x86 and costs time on a core without dot-product instructions. So each has a name
and can be left out; ``defaults`` gives the fastest set on x86 (``benchmarks/passes.py`` measures it), and
``edgecnn quantize --for`` chooses for another target (``benchmarks/targets.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import fx

from edgecnn.errors import CheckFailedError, UnknownNameError
from edgecnn.models import ModelArguments
from edgecnn.quantize.graph import computes_same, finish, on_noise, propagate_shapes
from edgecnn.quantize.passes.columns import pair_columns, quad_columns
from edgecnn.quantize.passes.equalize import equalize
from edgecnn.quantize.passes.flatten import flatten_order
from edgecnn.quantize.passes.pool import pool_as_conv
from edgecnn.quantize.passes.separable import merge_separable
from edgecnn.quantize.recipe import SIMULATED, Recipe

Pass = Callable[[fx.GraphModule], None]


PASSES: dict[str, Pass] = {
    "flatten_order": flatten_order,
    "pool_as_conv": pool_as_conv,
    "merge_separable": merge_separable,
    "quad_columns": quad_columns,
    "pair_columns": pair_columns,
}
# Makes nothing faster: it is for weights that quantize badly, see equalize.py. It comes before all others.
EQUALIZE = "equalize"
_KNOWN: dict[str, Pass] = {EQUALIZE: equalize, **PASSES}
# These only move numbers: weights and grids are the same before and after, so training can do without them.
MOVING = ("flatten_order", "quad_columns", "pair_columns")
# A float pool is inside the delegate as it is.
FLOAT_DEFAULT = ("flatten_order", "merge_separable", "pair_columns")
# 16-bit activations run in TFLite's own kernels, which the other rewrites only give more to do.
_FASTEST_ON_X86 = ("flatten_order", "pool_as_conv", "merge_separable", "pair_columns")
DEFAULTS = {recipe.name: _FASTEST_ON_X86 for recipe in SIMULATED} | {"static_w8a16": ("flatten_order",)}


def defaults(recipe: Recipe) -> tuple[str, ...]:
    """The passes that are fastest on x86 for a TFLite file of this recipe."""
    return DEFAULTS.get(recipe.name, FLOAT_DEFAULT)


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names as given. Raises UnknownNameError for one that is no pass."""
    chosen = tuple(names)
    for name in chosen:
        if name not in _KNOWN:
            raise UnknownNameError("pass", name, _KNOWN)
    return chosen


def apply(graph_module: fx.GraphModule, names: Iterable[str], arguments: ModelArguments) -> fx.GraphModule:
    """Run the passes called ``names`` over a folded graph, in place, in an order of their own.

    Raises UnknownNameError for a name that is no pass, CheckFailedError for one that changed what the graph computes:
    the files made of it are held against this graph, so that nothing later would see it.
    """
    chosen = check_names(names)
    before = on_noise(graph_module, arguments)
    for name, rewrite in _KNOWN.items():
        if name in chosen:
            propagate_shapes(graph_module, arguments)
            rewrite(graph_module)
            finish(graph_module)
            if not computes_same(before, on_noise(graph_module, arguments)):
                raise CheckFailedError(f"the rewrite '{name}' changes what the model computes; leave it out (--passes)")
    propagate_shapes(graph_module, arguments)
    return graph_module
