"""The modality of each row, as numbers on the device of the rows."""

from __future__ import annotations

import torch
from torch import Tensor

from vireid.core.types import Context, joint_order


def modality_numbers(context: Context, device: torch.device) -> Tensor:
    """Returns the place of each row's modality in the joint order, (B,) int64.

    Each part is filled on the device: copying numbers to a GPU, or repeating by counts that are there, waits for it.
    """
    counts = [context.counts[m] for m in joint_order(context.counts)]
    return torch.cat([torch.full((count,), number, device=device) for number, count in enumerate(counts)])
