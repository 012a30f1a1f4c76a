"""An exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """An exponential moving average of a model's parameters; buffers are not averaged.

    Args:
        model: the model; its current weights initialize the average.
        decay: EMA decay.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self._weights = {name: p.detach().clone() for name, p in model.named_parameters()}
        self._raw: dict[str, Tensor] | None = None  # set while the model holds the average

    @torch.no_grad()
    def update(self) -> None:
        """Updates the average with the model's current weights."""
        for name, parameter in self.model.named_parameters():
            self._weights[name].lerp_(parameter, 1 - self.decay)

    def raw(self) -> dict[str, Tensor]:
        """Returns the model's weights without averaging."""
        return self._raw or {name: p.detach() for name, p in self.model.named_parameters()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Loads the average into the model for the duration of the block."""
        self._raw = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._fill(self._weights)
        try:
            yield
        finally:
            self._fill(self._raw)
            self._raw = None

    def restore(self, raw: Mapping[str, Tensor]) -> None:
        """Sets the average to the model's current weights and the model's weights to `raw`."""
        self._weights = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._fill(raw)

    @torch.no_grad()
    def _fill(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])
