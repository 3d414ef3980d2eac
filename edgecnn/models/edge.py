"""edgecnn's own family, as a table: dense convolutions where images are large, inverted bottlenecks where small."""

from __future__ import annotations

from edgecnn.models.design import Design
from edgecnn.models.registry import register

DESIGNS = {
    "edge_s": "design:c16-r24s2n2-c48s2-b48e3n2",
    "edge_m": "design:c24n2-r32s2n2-c64s2-b64n3",
    "edge_l": "design:c32-r40s2n3-c80s2-b80n3",
}

for _name, _design in DESIGNS.items():
    register(_name)(Design.parse(_design).build)
