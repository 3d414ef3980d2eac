"""The weights that come with edgecnn, and what their names mean."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from edgecnn.checkpoint.files import SUFFIX, load
from edgecnn.checkpoint.header import Header
from edgecnn.errors import UnknownNameError


def shipped_folder() -> Path:
    """Where the weights that come with edgecnn lie: DATASET/MODEL.safetensors, and DATASET/MODEL.KIND.safetensors."""
    return Path(str(resources.files("edgecnn"))) / "weights"


def shipped_path(model: str, dataset: str, kind: str = "") -> Path:
    """Where such weights lie if they ship; see ``shipped``."""
    mark = kind and "." + kind.replace(":", "")
    return shipped_folder() / dataset / f"{model}{mark}{SUFFIX}"


def shipped(model: str, dataset: str, kind: str = "") -> Path | None:
    """Path of the weights that come with edgecnn for this model and data set, or None. A folder's name is none.

    ``kind`` is the name of a recipe, for those that were trained to be quantized by it; or what a network was pruned
    to, such as 'macs:0.5', for those.
    """
    path = shipped_path(model, dataset, kind)
    named = Path(dataset).name == dataset != ".."
    return path if named and path.is_file() else None


def all_shipped(model: str) -> list[tuple[Path, Header]]:
    """Path and header of all shipped float weights of ``model``: whole ones by data set, then pruned ones.

    Raises BadFileError.
    """
    paths = (path for pattern in ("", ".*") for path in shipped_folder().glob(f"*/{model}{pattern}{SUFFIX}"))
    found = [(path, load(path)[0]) for path in paths]
    floats = [(path, header) for path, header in found if not header.quantization]
    return sorted(floats, key=lambda each: (each[1].pruned_to, each[0].parent.name))


def check_known(kind: str, given: Path, names: Iterable[str]) -> None:
    """Raise UnknownNameError if ``given`` is a plain word, but neither one of ``names`` nor a file that is there."""
    names = list(names)
    if given.name == str(given) not in names and not given.suffix and not given.exists():
        raise UnknownNameError(kind, str(given), [*names, f"FILE{SUFFIX}"])
