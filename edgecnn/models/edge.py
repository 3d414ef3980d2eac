"""edgecnn's own family, as a table: residual blocks of dense 3x3 convolutions, the fastest an int8 engine has at 16x16.

Inverted bottlenecks at that size took 2.4 times as long at the same multiply-accumulates (LiteRT, x86): they stand
where images are 8x8, in the smallest network, which has to spare parameters more than the others.

The larger two spend time to save bytes: their last stage is dilated (``d2``), where a stride would have it compute a
quarter as much with the same weights, and one block, of few weights, stands where images are whole.
"""

from __future__ import annotations

from edgecnn.models.design import Design
from edgecnn.models.registry import register

DESIGNS = {
    "edge_s": "design:c16-r24s2n2-r48s2-b48e2n2",
    "edge_m": "design:c24-r24-r32s2n2-r64d2n2",
    "edge_l": "design:c32-r32-r48s2n2-r72d2n2",
}

for _name, _design in DESIGNS.items():
    register(_name)(Design.parse(_design).build)
