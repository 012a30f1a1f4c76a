"""Steps that are left out: what overflows, and what a step that is left out has to undo."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


def is_overflow(scaler: Any, loss: float, norm: Tensor | None) -> bool:
    """Says whether a gradient is not finite only since the loss was scaled up too far, as happens with 16-mixed.

    Once the scale has fallen to 1 it is no excuse any more.
    """
    if scaler is None or norm is None or not math.isfinite(loss) or math.isfinite(float(norm)):
        return False
    return float(scaler.get_scale()) > 1


class Buffers:
    """A model's buffers as they are now, such as BatchNorm's running statistics and what a weighter remembers.

    Args:
        model: whose; None keeps nothing.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self._model = model
        self._kept = {name: b.clone() for name, b in model.named_buffers()} if model is not None else {}

    @torch.no_grad()
    def restore(self) -> None:
        """Puts them back: what a step that is left out has done to them is forgotten."""
        if self._model is not None:
            for name, buffer in self._model.named_buffers():
                if name in self._kept:  # some modules make theirs in their first pass
                    buffer.copy_(self._kept[name])
