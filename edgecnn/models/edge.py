"""edgecnn's own family, as a table: dense convolutions where images are large, inverted bottlenecks where small."""

from __future__ import annotations

from edgecnn.models.design import Design
from edgecnn.models.registry import register

DESIGNS = {
    "edge_s": "design:c16-c32s2-b32e3n3-b56s2-b56e3n2",
    "edge_m": "design:c16-c32s2-b40e4n4-b72s2-b72e4n3",
    "edge_l": "design:c24-c40s2-b48e4n4-b88s2-b88e4n3",
}

for _name, _design in DESIGNS.items():
    register(_name)(Design.parse(_design).build)
