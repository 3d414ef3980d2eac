"""This process among those that ``torchrun`` started: they share each batch, and one of them writes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edgecnn.errors import UnknownNameError, UsageError

DEVICES = ("cpu", "cuda")
# Features with which a processor multiplies bfloat16, of those that torch.cpu knows; "bf16" is ARM's.
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")


def choose_device(name: str) -> torch.device:
    """'auto' takes CUDA where there is one, otherwise the CPU; under torchrun each process takes its own GPU.

    Raises UnknownNameError for one of another kind, UsageError for a device that cannot be used here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in DEVICES:
        raise UnknownNameError("device", name, ("auto", *DEVICES))
    try:
        device = torch.device(name)
        if device.type == "cuda" and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device '{name}' cannot be used ({reason}); use auto, cpu or cuda") from error
    return device


def slow_precision(precision: str, device: torch.device) -> str:
    """What to say before a training in ``precision`` on a processor that must imitate it; otherwise empty."""
    features = torch.cpu.get_capabilities()
    if precision != "bfloat16" or device.type != "cpu" or any(features.get(name) for name in BFLOAT16):
        return ""
    return f"this processor has no instructions for bfloat16 ({', '.join(BFLOAT16)}): float32 is faster on it"


@dataclass(frozen=True)
class Processes:
    """This process's number among ``count`` that train together; alone by default."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """True in the one process that reports and writes files."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all processes have come this far."""
        if self.count > 1:
            dist.barrier()

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch; the parts of all processes make up the batch and are of one size."""
        return batch[self.rank :: self.count]

    def together(self, part: Tensor, count: int) -> Tensor:
        """What ``share`` took apart: values for a batch of ``count``, in each process, from its ``part`` of them."""
        batch = part.new_zeros(count, *part.shape[1:])
        batch[self.rank :: self.count] = part
        return self.total(batch)

    def agreed(self, found: bool, device: torch.device) -> bool:
        """What the first process found, in all of them, which train on ``device``."""
        return bool(self.total(torch.tensor(int(found and self.first), device=device)))

    def parallel(self, model: nn.Module, device: torch.device) -> nn.Module:
        """``model``, its gradients averaged over the processes; itself when there is only one."""
        if self.count == 1:
            return model
        return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)

    def total(self, values: Tensor) -> Tensor:
        """``values`` summed over all processes, in each of them."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite ``tensors`` with those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the group that torchrun's environment describes, and leave it when the block ends.

    It talks over NCCL on CUDA and over gloo elsewhere. A group that the caller has made is used and left alone.
    """
    if dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size())
    elif int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
    else:
        on_gpu = device.type == "cuda"
        dist.init_process_group("nccl" if on_gpu else "gloo", device_id=device if on_gpu else None)
        try:
            processes = Processes(dist.get_rank(), dist.get_world_size())
            processes.wait()  # one that fails at once must not leave while another is still joining
            yield processes
        finally:
            dist.destroy_process_group()
