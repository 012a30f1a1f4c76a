"""Gathers features and averages losses over processes, with gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from vireid.runtime.processes import world


class _Gather(torch.autograd.Function):
    """Gathers (N, ...) of each process as (R * N, ...), by rank; the gradient is summed over processes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        rank, size = world()
        ctx.rank, ctx.count = rank, len(own)
        own = own.contiguous()  # before its copies: a channels-last map and its parts must have the same layout
        parts = [torch.empty_like(own) for _ in range(size)]
        dist.all_gather(parts, own)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.rank * ctx.count : (ctx.rank + 1) * ctx.count]


class _Sum(torch.autograd.Function):
    """Sums values, and gradients in the backward pass, over processes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def gather(own: Tensor) -> Tensor:
    """Concatenates the rows of all processes by rank; gradients flow back to the process of each row.

    When gradients are averaged over processes, as in DDP, a loss on the gathered rows has the same gradient as in a
    single process.
    """
    return own if world()[1] == 1 else _Gather.apply(own)


def gather_feature(feature: Any, counts: Mapping[str, int]) -> Any:
    """Gathers a feature: a dict of one tensor per modality, or a joint tensor with `counts` images of each.

    An image may have several rows, next to each other.

    Rows have the order of a single process: all visible images by rank, then all infrared ones.
    """
    if isinstance(feature, Mapping):
        return {modality: gather(own) for modality, own in feature.items()}
    copies = len(feature) // max(1, sum(counts.values()))
    return torch.cat([gather(own) for own in feature.split([copies * count for count in counts.values()])])


def mean_of(tasks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Averages each loss over processes, so that weighters see the same values everywhere."""
    size = world()[1]
    if size == 1:
        return dict(tasks)
    stacked = _Sum.apply(torch.stack(list(tasks.values()))) / size
    return dict(zip(tasks, stacked.unbind(), strict=True))
