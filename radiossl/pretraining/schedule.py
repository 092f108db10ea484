"""How a learning rate rises and falls."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, rising: int, floor: float = 0.0) -> float:
    """Return the part of the peak rate at a 0-based step: up along a line that ends on 1, then down along a cosine.

    Parameters
    ----------
    step, steps
        Which, of how many.
    rising
        Steps of the line.
    floor
        Where the cosine ends.
    """
    if step < rising:
        return (step + 1) / rising
    progress = (step - rising) / max(1, steps - rising)
    return floor + (1.0 - floor) * (1.0 + math.cos(math.pi * progress)) / 2.0
