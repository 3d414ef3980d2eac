"""Wheels of what is installed here, so that an installation on a test's board needs no network."""

from __future__ import annotations

import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

# What the light install brings, the requirements of its requirements included.
LIGHT = (
    "ai-edge-litert", "backports.strenum", "click", "flatbuffers", "ml_dtypes", "numpy", "pillow", "protobuf", "tqdm",
    "typing_extensions",
)  # fmt: skip


def repack_light(folder: Path) -> None:
    """Write a wheel of every distribution of the light install into a folder."""
    for name in LIGHT:
        repack(distribution(name), folder)


def repack(installed: Distribution, folder: Path) -> Path:
    """The wheel that a distribution was installed from, but for its scripts; stored, since packing takes time."""
    tags = [line[5:].split("-") for line in str(installed.read_text("WHEEL")).splitlines() if line.startswith("Tag: ")]
    tag = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))
    name = installed.name.replace("-", "_").replace(".", "_")
    path = folder / f"{name}-{installed.version}-{tag}.whl"
    files = [file for file in installed.files or [] if ".." not in file.parts and "__pycache__" not in file.parts]
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            if file.name not in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
                archive.write(str(file.locate()), str(file))
        record = next(str(file) for file in files if file.name == "RECORD")
        archive.writestr(record, "".join(f"{each},,\n" for each in [*archive.namelist(), record]))
    return path
