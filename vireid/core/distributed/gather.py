"""Tensors of all processes with gradients: gathered features, averaged losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from vireid.core.distributed.processes import world


class _Gather(torch.autograd.Function):
    """(N, ...) of each process -> (R * N, ...), by rank; its gradient is the sum of what all processes want."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        rank, size = world()
        ctx.rank, ctx.count = rank, len(own)
        parts = [torch.empty_like(own) for _ in range(size)]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.rank * ctx.count : (ctx.rank + 1) * ctx.count]


class _Sum(torch.autograd.Function):
    """The sum over processes, of values and of gradients."""

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
    """Joins the rows of all processes, in the order of their ranks; gradients flow back to where they belong.

    With gradients averaged over processes, as DDP does, a loss of the joined rows has the gradient it would have in one
    process.
    """
    return own if world()[1] == 1 else _Gather.apply(own)


def gather_feature(feature: Any, counts: Mapping[str, int]) -> Any:
    """Joins a feature of the graph: one tensor per modality, or one tensor with `counts` rows of each.

    Rows are ordered as in one process: all visible images by rank, then all infrared ones.
    """
    if isinstance(feature, Mapping):
        return {modality: gather(own) for modality, own in feature.items()}
    return torch.cat([gather(own) for own in feature.split(list(counts.values()))])


def mean_of(tasks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns each loss averaged over processes, so that all of them weigh the same numbers."""
    size = world()[1]
    if size == 1:
        return dict(tasks)
    stacked = _Sum.apply(torch.stack(list(tasks.values()))) / size
    return dict(zip(tasks, stacked.unbind(), strict=True))
