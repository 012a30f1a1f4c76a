"""Skipped steps: detects overflows of the loss scale and undoes the side effects of a skipped step."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import nn


def is_overflow(scaler: Any, loss: float, norm: float | None) -> bool:
    """Returns whether a gradient is not finite only because the loss scale was too large, as happens with 16-mixed.

    Once the scale has dropped to 1, a non-finite gradient has another cause.

    Args:
        scaler: the loss scaler, or None.
        loss: the loss.
        norm: the gradient norm, or None if it was not computed.
    """
    if scaler is None or norm is None or not math.isfinite(loss) or math.isfinite(norm):
        return False
    return float(scaler.get_scale()) > 1


class Buffers:
    """A copy of a model's buffers, such as BatchNorm statistics and the state of a weighter.

    Args:
        model: the model; None copies nothing.
        names: the buffers to copy; None means all.
    """

    def __init__(self, model: nn.Module | None, names: Collection[str] | None = None) -> None:
        self._model = model
        buffers = dict(model.named_buffers()) if model is not None else {}
        self._kept = {name: b.clone() for name, b in buffers.items() if names is None or name in names}

    @torch.no_grad()
    def restore(self) -> None:
        """Restores the buffers, undoing the changes since the copy."""
        if self._model is not None:
            for name, buffer in self._model.named_buffers():
                if name in self._kept:  # some modules register buffers in their first forward pass
                    buffer.copy_(self._kept[name])
