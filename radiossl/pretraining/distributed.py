"""One training by several processes, on one machine or many, as torchrun starts them.

Each process takes an equal part of every batch, and all of them together do what one process would do with the whole:
the same batches, the same random views, BatchNorm over the whole batch, SimCLR's negatives from the whole batch, the
mean of the gradients. So the number of processes changes how long a training takes, not what comes out of it.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from radiossl.io.errors import RadiosslError
from radiossl.weights.device import parse_device

#: How long processes wait for each other, such as the others for the first while it measures the online kNN.
_PATIENCE = timedelta(hours=1)
_HEAD_START_S = 1.0


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together; by default this one alone, for which nothing here does anything."""

    #: Number of this process, from 0.
    rank: int = 0
    #: How many processes there are.
    size: int = 1
    #: Number of this process on its machine.
    local_rank: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.size and self.local_rank >= 0):
            raise RadiosslError(
                f"RANK {self.rank}, WORLD_SIZE {self.size} and LOCAL_RANK {self.local_rank} in the environment do not"
                " fit together; start the processes with torchrun"
            )

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and speaks to the user."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Return the device named ``auto``, ``cpu`` or ``cuda``; of several, the one for this process.

        Raises `RadiosslError` if there is no such device, or this machine has fewer of them than processes.
        """
        device = parse_device(name)
        if self.size == 1 or device.type != "cuda":
            return device
        if device.index is not None:
            raise RadiosslError(f"--device {name}: {self.size} processes cannot share one; use --device cuda")
        if self.local_rank >= torch.cuda.device_count():
            raise RadiosslError(
                f"process {self.local_rank + 1} on this machine has no CUDA device, there are"
                f" {torch.cuda.device_count()}; give torchrun --nproc-per-node {torch.cuda.device_count()}"
            )
        return torch.device("cuda", self.local_rank)

    def share(self, rows: NDArray[np.int64], parts: int = 1) -> NDArray[np.int64]:
        """Return this process's rows of a batch, an equal piece of each of its parts; raise if that is impossible."""
        if len(rows) % (parts * self.size):
            split = f"{parts} parts times {self.size}" if parts > 1 else f"{self.size}"
            raise RadiosslError(
                f"a batch of {len(rows)} cutouts cannot be divided among {split} processes; give a --batch-size that is"
                f" a multiple of {parts * self.size}, not larger than the number of cutouts"
            )
        return rows.reshape(parts, self.size, -1)[:, self.rank].ravel()

    def any(self, *questions: bool) -> list[bool]:
        """Answer each question with yes if any process does."""
        if self.size == 1:
            return list(questions)
        answers = torch.tensor(questions, dtype=torch.uint8)  # on the CPU: no waiting for an accelerator
        dist.all_reduce(answers, dist.ReduceOp.MAX)
        return answers.bool().tolist()

    def mean(self, value: Tensor) -> Tensor:
        """Mean of a tensor over the processes, without gradient."""
        if self.size > 1:
            value = value.detach() / self.size
            dist.all_reduce(value)
        return value

    def wait(self) -> None:
        """Go on only when all processes have come this far."""
        self.any(False)

    def parallel(self, method: nn.Module, device: torch.device) -> nn.Module:
        """Make a method train in step with its twins: BatchNorm over whole batches, the mean of all gradients.

        The layers of `method` are replaced in place; the names of its tensors stay. Call what is returned.
        """
        if self.size == 1:
            return method
        if device.type == "cuda":
            from timm.layers import convert_sync_batchnorm

            convert_sync_batchnorm(method)
        else:
            _convert_batchnorm(method)
        with warnings.catch_warnings():
            # The newest torch wants another name for it, which older ones do not know.
            warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
            # Running statistics agree by themselves, as every process computes them from the whole batch.
            return nn.parallel.DistributedDataParallel(
                method, device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False
            )


# Joining -------------------------------------------------------------------------------------------------------------


@contextmanager
def join_processes(device: str) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started together with this one; without torchrun, nothing happens.

    While inside, only the first process writes to standard error. `device` (``auto``, ``cpu`` or ``cuda``) says whether
    tensors on accelerators are exchanged too. Raises `RadiosslError` if torchrun's environment variables are incomplete
    or wrong, or the device does not exist.
    """
    processes = process_group_from_environment()
    if processes.size == 1:
        yield processes
        return
    own = processes.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    dist.init_process_group("cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo", timeout=_PATIENCE)
    farewell = True
    try:
        with Path(os.devnull).open("w") as nowhere, nullcontext() if processes.first else redirect_stderr(nowhere):
            yield processes
    except Exception:
        farewell = False  # the others may be in the middle of an exchange, and it could wait for them for ever
        raise
    finally:
        if farewell:
            dist.destroy_process_group()


def process_group_from_environment() -> ProcessGroup:
    """Read RANK, WORLD_SIZE and LOCAL_RANK, which torchrun sets; without them, this process is alone."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return ProcessGroup()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    for name in (*names, "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise RadiosslError(f"WORLD_SIZE is set in the environment but {name} is not; start with torchrun")
    try:
        numbers = [int(os.environ[name]) for name in names]
    except ValueError:
        values = ", ".join(f"{name}={os.environ[name]}" for name in names)
        raise RadiosslError(f"{values} in the environment: expected integers; start with torchrun") from None
    return ProcessGroup(*numbers)


@contextmanager
def first_process_reports() -> Iterator[None]:
    """Give the first process time to report an error before any other process raises it.

    A mistake of the user's is found by all processes alike. As soon as one of them ends, torchrun ends the others: so
    it is said once, and still said by another process if only that one has found it.
    """
    try:
        yield
    except RadiosslError:
        if not process_group_from_environment().first:
            time.sleep(_HEAD_START_S)
        raise


# Exchanges with gradient ---------------------------------------------------------------------------------------------


def gather_rows(rows: Tensor) -> Tensor:
    """Join the rows (n, d) of all processes, in their order: (n times processes, d), the same for everyone.

    The gradient of a row is the sum over what all processes compute from it.
    """
    if not dist.is_initialized():
        return rows
    from lightly.utils.dist import gather

    return torch.cat(gather(rows.contiguous()))


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over the parts of a batch that several processes hold, all of one size, on any device.

    torch.nn.SyncBatchNorm does the same on accelerators only. timm's layers that have an activation in them keep it.
    """

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean, self.running_var = layer.running_mean, layer.running_var
        self.num_batches_tracked = layer.num_batches_tracked
        self.drop: Callable[[Tensor], Tensor] = getattr(layer, "drop", nn.Identity())
        self.act: Callable[[Tensor], Tensor] = getattr(layer, "act", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, ...) by the mean and variance of all processes' rows."""
        if not self.training:
            return self.act(self.drop(super().forward(x)))
        axes, column = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(exact, axes, correction=0)
        precise = mean.double()  # as the variance of the whole is a difference of squares
        moments = gather_rows(torch.stack([precise, variance + precise.square()])[None]).mean(dim=0)
        mean, variance = moments[0].to(exact.dtype), (moments[1] - moments[0].square()).clamp(min=0).to(exact.dtype)
        out = (exact - mean.view(column)) * (variance + self.eps).rsqrt().view(column)
        if self.affine:
            out = out * self.weight.view(column) + self.bias.view(column)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            count = x.numel() // x.shape[1] * dist.get_world_size()
            factor = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), factor)
            self.running_var.lerp_(variance.detach() * count / (count - 1), factor)
        return self.act(self.drop(out.to(x.dtype)))

    def _check_input_dim(self, x: Tensor) -> None:
        """Any number of axes will do."""


def _convert_batchnorm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, GlobalBatchNorm(child))
        else:
            _convert_batchnorm(child)


def gradients_later(module: nn.Module) -> AbstractContextManager[None]:
    """While inside, gradients of what `ProcessGroup.parallel` returned add up in each process and are not exchanged."""
    return module.no_sync() if isinstance(module, nn.parallel.DistributedDataParallel) else nullcontext()
