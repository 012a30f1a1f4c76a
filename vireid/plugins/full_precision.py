"""Float32 where half precision loses accuracy, and float64 where float32 does."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Returns a context that disables autocast on the device of `like`; `meta` has no autocast to disable."""
    device = like.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def in_float64(values: Tensor) -> Tensor:
    """Returns values in float64, on their device; on the CPU if they are on an Apple GPU, which has no float64."""
    return (values.cpu() if values.device.type == 'mps' else values).double()
