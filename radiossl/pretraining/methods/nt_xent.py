"""The contrastive loss of SimCLR and NNCLR."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised, temperature-scaled cross entropy (Chen et al. 2020, equation 1), averaged over both directions.

    The numbers are those of lightly's `NTXentLoss`. That one takes the similarities of images to themselves out by
    indexing with a mask, for which the processor waits until the GPU has done all that it was given; here they are set
    to minus infinity, so that the next views are made meanwhile and the step can be recorded as a CUDA graph.

    Parameters
    ----------
    first, second
        Projections of the two views of each image, shape (n, d).
    temperature
        Similarities are divided by it.

    Examples
    --------
    >>> round(float(nt_xent(torch.eye(4), torch.eye(4), 0.1)), 4)
    0.0003
    """
    rows = normalize(torch.cat([first, second]), dim=1)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    similarities = (rows @ rows.T / temperature).masked_fill(itself, -torch.inf)
    return cross_entropy(similarities, torch.arange(len(rows), device=rows.device).roll(len(first)))
