"""A folded graph that looks at each image and at its mirror image, with one set of weights.

Its layers see a batch twice as large and keep their names: there is a layer more in front of them and one behind.
"""

from __future__ import annotations

from torch import fx

from edgecnn.quantize.graph import finish, insert_after
from edgecnn.quantize.layers import MeanOfBoth, WithMirrorImage

FIRST, LAST = "mirror", "mirror_mean"


def look_twice(graph_module: fx.GraphModule) -> fx.GraphModule:
    """Let a folded graph of [n, channels, height, width] to [n, classes] give the mean for both images, in place."""
    graph = graph_module.graph
    image = next(node for node in graph.nodes if node.op == "placeholder")
    insert_after(graph_module, image, FIRST, WithMirrorImage())
    (logits,) = graph.output_node().all_input_nodes
    insert_after(graph_module, logits, LAST, MeanOfBoth())
    return finish(graph_module)
