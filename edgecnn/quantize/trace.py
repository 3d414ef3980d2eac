"""From a PyTorch module to a graph: by torch.fx where it can, else by torch.export."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.models.normalization import detach
from edgecnn.quantize.graph import example

LOST = "edgecnn.lost"  # key in GraphModule.meta


def trace(model: nn.Module, arguments: ModelArguments | None) -> fx.GraphModule:
    """A graph of a copy of ``model`` in evaluation mode; the model's input normalization is left out of it.

    What torch.fx cannot trace, such as padding computed from the size of the image, goes through torch.export for
    images of the size in ``arguments``; ``lost`` then says what that means. Raises UsageError if neither can.
    """
    copied = copy.deepcopy(model).eval()
    detach(copied)
    _bake(copied)
    try:
        return fx.GraphModule(copied, _Tracer().trace(copied), type(copied).__name__)
    except Exception as error:  # a model's own code, handed proxies instead of tensors, raises almost anything
        reason = first_line(error)
    if arguments is None:
        raise UsageError(f"this model cannot be traced by torch.fx: {reason}")
    try:
        graph_module = _export(copied, arguments)
    except Exception as error:  # and so does torch.export
        raise UsageError(
            f"this model cannot be traced, neither by torch.fx ({reason}) nor by torch.export ({first_line(error)}); "
            "its forward must not branch on the values of a tensor"
        ) from error
    graph_module.meta[LOST] = (
        f"torch.fx cannot trace this model ({reason}): it went through torch.export, so its control flow is frozen as "
        "it ran for an image of this size, and functions that are not modules are named after the module they are in"
    )
    return graph_module


class _Tracer(fx.Tracer):
    """Calls forward with the image alone: torch.fx would hand proxies to what has a default, and take ``if mask``."""

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        kinds = [parameter.kind for parameter in inspect.signature(root_fn).parameters.values()]

        def with_the_image(module: nn.Module, image: Any) -> Any:
            return root_fn(module, image)

        # Where it takes nothing else than self and the image, this keeps the name that it has in the model.
        plain = kinds == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2
        return super().create_args_for_root(root_fn if plain else with_the_image, is_module, concrete_args)


def _bake(model: nn.Module) -> None:
    """Weights that are computed anew for each image, as by weight_norm and spectral_norm, become plain ones."""
    for module in model.modules():
        if parametrize.is_parametrized(module):
            # Not by remove_parametrizations, which takes them from the class, and so from what this is a copy of, too.
            assert isinstance(module.parametrizations, nn.ModuleDict)
            values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            for name, value in values.items():
                setattr(module, name, nn.Parameter(value))
        for hook in list(module._forward_pre_hooks.values()):  # the older way to say the same
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)


def lost(graph_module: fx.GraphModule) -> str:
    """What tracing had to give up, in words; empty where it gave up nothing."""
    return str(graph_module.meta.get(LOST, ""))


def tracer_of(graph_module: fx.GraphModule) -> str:
    """Which of the two traced it: 'torch.fx' or 'torch.export'."""
    return "torch.export" if LOST in graph_module.meta else "torch.fx"


def _export(model: nn.Module, arguments: ModelArguments) -> fx.GraphModule:
    batch = torch.export.Dim("batch", min=2, max=4096)
    with torch.no_grad():
        program = torch.export.export(model, (example(arguments, 2),), dynamic_shapes=({0: batch},))
    exported = program.module(check_guards=False)
    graph = exported.graph
    assert isinstance(graph, fx.Graph)
    graph.set_codegen(fx.graph.CodeGen())
    result = graph.output_node()
    values: Any = result.args[0]
    if isinstance(values, list | tuple):
        if len(values) != 1:
            raise UsageError(f"it gives {len(values)} results instead of logits")
        result.args = (values[0],)
    # Weights under names of their own, so that the layers made of them can have the model's.
    root = nn.Module()
    for number, node in enumerate(graph.find_nodes(op="get_attr")):
        value = attrgetter(str(node.target))(exported)
        node.target = f"constant_{number}"
        root.register_buffer(node.target, value.detach())
    return fx.GraphModule(root, graph)


def first_line(error: BaseException) -> str:
    """What an error of somebody else's code says, for a message of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".:")
