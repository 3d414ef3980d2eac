"""What schemathesis is told: the bodies that are valid are pictures, which a JSON Schema cannot say."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies

from edgecnn.serve.form import BYTES
from edgecnn.serve.openapi import IMAGES
from tests.serve.serving import png

for _kind in (BYTES, *(f"image/{each}" for each in IMAGES)):
    schemathesis.openapi.media_type(_kind, strategies.integers(0, 9).map(png))
