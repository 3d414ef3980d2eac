"""A flatbuffer in which equal vectors are stored once."""

from __future__ import annotations

import flatbuffers
import numpy as np


class SharingBuilder(flatbuffers.Builder):
    """Stores a vector of numbers that it has stored before as a reference to the first.

    A per-channel TFLite tensor has a scale and a 64-bit zero point for each channel, and the zero points are all 0: in
    a network of thin layers that is up to a fifth of the file. The format allows it: a reference says where a vector
    is, not whose it is (FlatBuffers internals, "offsets").
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._places: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        """Where the vector is. One of another type is another one, since it may have to lie on other addresses."""
        key = (x.dtype.str, x.tobytes())
        if key not in self._places:
            self._places[key] = super().CreateNumpyVector(x)
        return self._places[key]
