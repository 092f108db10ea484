"""What training asks of the hardware: its fastest precision, and passes that a GPU repeats by itself."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from radiossl.pretraining.methods import PretrainingMethod
from radiossl.pretraining.recipe import Recipe


def fastest_precision(device: torch.device) -> str:
    """bfloat16 where the hardware computes in it; elsewhere it is emulated, at a third of float32's speed."""
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    return "bf16-mixed" if "amx_bf16" in flags or "avx512_bf16" in flags else "32-true"


def record_passes(method: PretrainingMethod, images: int, recipe: Recipe) -> None:
    """Record a method's forward and backward pass on its GPU; from now on it replays them while it is training.

    Launching their many small kernels then costs the processor nothing. `images` is how many every batch has.
    Call it under the autocast that the passes are to have, without its cache. The method's tensors stay as they are.
    Nothing is recorded where a recorded pass would be wrong: gradients of several parts of a batch would add up in the
    same memory, and compiled networks have graphs of their own.
    """
    if not method.recordable or recipe.accumulate > 1 or recipe.compile:
        return
    # torch warns once of the stream that it records on itself.
    warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")
    device = next(method.parameters()).device
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    sides = [recipe.preprocessing.size] * 2 + [recipe.crops.size] * recipe.crops.number
    views = [torch.rand(images, recipe.preprocessing.channels, side, side, device=device) for side in sides]
    method.train()
    torch.cuda.make_graphed_callables(
        method, tuple(view.contiguous(memory_format=torch.channels_last) for view in views)
    )
    method.load_state_dict(before)
