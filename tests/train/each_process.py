"""What torchrun starts in ``test_processes``: the command line, then a note of what this process ended with."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from edgecnn import models
from edgecnn.cli.main import main
from edgecnn.models import ModelArguments

built: list[nn.Module] = []
written: list[str] = []


class Watched(nn.Module):
    """LeNet, and beside it BatchNorm statistics of the images that the process saw, which change no logit."""

    def __init__(self, arguments: ModelArguments) -> None:
        super().__init__()
        self.net = models.create("lenet", arguments)
        self.watch = nn.BatchNorm2d(arguments.in_channels, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        self.watch(images)
        logits: Tensor = self.net(images)
        return logits


def watched(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """A new ``Watched``, which ``digest`` can find."""
    built.append(Watched(ModelArguments(num_classes, in_channels, image_size)))
    return built[-1]


def remember_files(event: str, values: tuple[Any, ...]) -> None:
    """Audit hook: note the names that files of edgecnn are given when they are complete."""
    if event == "os.rename" and str(values[1]).endswith((".safetensors", ".csv")):
        written.append(Path(values[1]).name)


def digest() -> str:
    """Of all weights and statistics that this process trained, as it has them now."""
    content = hashlib.sha256()
    for name, tensor in sorted(built[0].state_dict().items()):
        content.update(name.encode() + tensor.numpy().tobytes())
    return content.hexdigest()


if __name__ == "__main__":
    sys.addaudithook(remember_files)
    models.register("watched")(watched)
    folder, *words = sys.argv[1:]
    code = main(words)
    note = {
        "code": code, "written": written, "weights": digest() if built else None, "in_a_group": dist.is_initialized()
    }  # fmt: skip
    (Path(folder) / f"{os.environ['RANK']}.json").write_text(json.dumps(note))
