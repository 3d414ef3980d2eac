"""Weights on disk: safetensors with a JSON header, never pickle.

The header says what the tensors are: model and arguments, data set, recipe, metrics, versions, and the command that
made them. A checkpoint of an unfinished training holds the optimizer's and the averaged weights' tensors as well.
"""

from edgecnn.checkpoint.files import SUFFIX, annotate, digest, has_header, load, save
from edgecnn.checkpoint.foreign import STATE_DICT_SUFFIXES, load_foreign
from edgecnn.checkpoint.header import Header, tool_versions
from edgecnn.checkpoint.included import all_shipped, check_known, shipped, shipped_folder, shipped_path
from edgecnn.checkpoint.network import check_fits, fit, load_model, model_of

__all__ = [
    "STATE_DICT_SUFFIXES",
    "SUFFIX",
    "Header",
    "all_shipped",
    "annotate",
    "check_fits",
    "check_known",
    "digest",
    "fit",
    "has_header",
    "load",
    "load_foreign",
    "load_model",
    "model_of",
    "save",
    "shipped",
    "shipped_folder",
    "shipped_path",
    "tool_versions",
]
