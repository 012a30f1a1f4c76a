"""An exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """An exponential moving average of a model's weights; buffers are the newest ones.

    Args:
        model: what is averaged; its weights at this moment are the first average.
        keep: share of the old average that each step keeps.
    """

    def __init__(self, model: nn.Module, keep: float) -> None:
        self.model, self.keep = model, keep
        self._weights = {name: p.detach().clone() for name, p in model.named_parameters()}
        self._raw: dict[str, Tensor] | None = None  # while the average is in the model

    @torch.no_grad()
    def update(self) -> None:
        """Takes the model's weights in."""
        for name, parameter in self.model.named_parameters():
            self._weights[name].lerp_(parameter, 1 - self.keep)

    def raw(self) -> dict[str, Tensor]:
        """Returns the model's own weights."""
        return self._raw or {name: p.detach() for name, p in self.model.named_parameters()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the average into the model for a while."""
        self._raw = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._fill(self._weights)
        try:
            yield
        finally:
            self._fill(self._raw)
            self._raw = None

    def restore(self, raw: Mapping[str, Tensor]) -> None:
        """Takes the weights in the model for the average, and `raw` for the model's own."""
        self._weights = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._fill(raw)

    @torch.no_grad()
    def _fill(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])
