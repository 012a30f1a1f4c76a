"""Re-estimation of BatchNorm statistics from unlabeled images."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from vireid.core.data.image_set import Key
from vireid.core.registry.contracts import located
from vireid.core.types import MODALITIES, Modality, Progress, Sample
from vireid.errors import NotFinite
from vireid.exchange.unlabeled_images import MIN_IMAGES
from vireid.interfaces import Model


def balanced_batches(samples: Sequence[Sample], batch_size: int, seed: int) -> list[list[int]]:
    """Divides all samples into batches with equal numbers of visible and infrared ones, at least 2 of each.

    Args:
        samples: at least 2 of each modality; those of the smaller modality are repeated in the same order.
        batch_size: approximate number of images per batch.
        seed: random seed of the order.

    Returns:
        Indices of samples, visible ones first in each batch.
    """
    rng = np.random.default_rng(seed)
    orders = [rng.permutation([i for i, s in enumerate(samples) if s.modality == m]) for m in MODALITIES]
    longest = max(map(len, orders))
    number = max(1, min(-(-longest // max(1, batch_size // 2)), longest // MIN_IMAGES))
    dealt = [np.array_split(np.resize(order, longest), number) for order in orders]  # resize repeats
    return [[int(i) for part in parts for i in part] for parts in zip(*dealt, strict=True)]


def augmented(batches: Sequence[Sequence[int]]) -> list[list[Key]]:
    """Returns the batches as keys of augmented samples; a repeated sample is augmented differently each time."""
    positions = itertools.count()
    first = Progress(0, 0, len(batches), len(batches))
    return [[(first, next(positions), index) for index in batch] for batch in batches]


@torch.no_grad()
def find_norms(model: Any, images: Mapping[Modality, Tensor]) -> tuple[list[str], list[str]]:
    """Finds the BatchNorm layers with running statistics that the embedding of these images uses.

    Returns:
        The names of those that training mode updates, and of those that are frozen.
    """
    norms = {n: m for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is not None}
    used: set[str] = set()
    hooks = [m.register_forward_pre_hook(lambda _, __, name=name: used.add(name)) for name, m in norms.items()]
    try:
        _embed(model.eval(), images)
        model.train()
        free = {name for name, norm in norms.items() if norm.training}
    finally:
        model.eval()
        for hook in hooks:
            hook.remove()
    return [n for n in norms if n in used & free], [n for n in norms if n in used - free]


@torch.no_grad()
def estimate_norms(model: Any, names: Sequence[str], batches: Any) -> None:
    """Sets the running mean and variance of BatchNorm layers to those of all their inputs over the batches.

    These layers normalize each batch by its own statistics; all others are in evaluation mode. No other buffer changes.

    Args:
        model: the model, whose embedding is computed; both modalities together if it has `embed_joint`.
        names: names of the layers.
        batches: iterated once.

    Raises:
        NotFinite: if the input of a layer has NaN or infinite values.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    norms = {name: model.get_submodule(name) for name in names}
    moments = {name: _Moments() for name in names}
    hooks = [
        norm.register_forward_pre_hook(lambda _, given, name=name: moments[name].add(given[0]))
        for name, norm in norms.items()
    ]
    model.eval()
    try:
        for norm in norms.values():
            norm.training = True  # only this module, not its children
        for batch in batches:
            _embed(model, batch.images)
    finally:
        model.eval()
        for hook in hooks:
            hook.remove()
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])  # a pass in training mode changes them and counts batches
    for name, norm in norms.items():
        mean, variance = moments[name].mean, moments[name].variance
        if not (mean.isfinite().all() and variance.isfinite().all()):
            raise NotFinite(
                f'the input of BatchNorm {name} has NaN or infinite values; nothing was written',
                todo='check the checkpoint: vireid test CONFIG CHECKPOINT',
            )
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


class _Moments:
    """Count, mean and sum of squared deviations of each channel, pooled over batches in float64.

    For two sets of n_a and n_b values whose means differ by d (Chan et al., 1983, doi:10.1080/00031305.1983.10483115):

        mean = mean_a + d n_b / n,   M2 = M2_a + M2_b + d^2 n_a n_b / n,   n = n_a + n_b.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0  # (C,) float64 after the first batch
        self.squares: Any = 0.0

    def add(self, x: Tensor) -> None:
        """Adds (B, C, ...) values."""
        count = x.numel() // x.shape[1]
        axes = [axis for axis in range(x.dim()) if axis != 1]
        exact = x.detach().double()
        mean = exact.mean(axes, keepdim=True)
        squares = (exact - mean).square_().sum(axes)
        apart, total = mean.flatten() - self.mean, self.count + count
        self.mean = self.mean + apart * (count / total)
        self.squares = self.squares + squares + apart**2 * (self.count * count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """(C,) unbiased variance, as in the running statistics of BatchNorm."""
        return self.squares / (self.count - 1)


def _embed(model: Any, images: Mapping[Modality, Tensor]) -> None:
    with located(model):
        if Model.embed_joint(model):
            model.embed_joint(images)
            return
        for modality, own in images.items():
            model.embed(own, modality)
