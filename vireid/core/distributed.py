"""Several processes as one: gathered features with gradients, averaged losses, BatchNorm over all, shared evaluation.

Everything here does nothing in a single process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world() -> tuple[int, int]:
    """Returns (rank, number of processes)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


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

    Rows are ordered as in one process: all visible pictures by rank, then all infrared ones.
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


class SyncedBatchNorm(nn.Module):
    """BatchNorm over the batches of all processes, on any device; torch's own works on GPUs only.

    Args:
        norm: the BatchNorm it stands for; weights and running figures are shared with it.
    """

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.eps, self.momentum, self.affine = norm.eps, norm.momentum, norm.affine
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor
        for name in ('running_mean', 'running_var', 'num_batches_tracked'):
            self.register_buffer(name, getattr(norm, name))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world()[1] == 1:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
            )
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        size = world()[1]
        exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        mean = _Sum.apply(exact.mean(axes)) / size  # (C,); each process has as many rows
        centred = exact - mean.view(shape)
        variance = _Sum.apply((centred**2).mean(axes)) / size
        made = centred * torch.rsqrt(variance + self.eps).view(shape)
        with torch.no_grad():
            count = x.numel() / x.shape[1] * size
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        if self.affine:
            made = made * self.weight.view(shape) + self.bias.view(shape)
        return made.to(x.dtype)


def synchronize_norms(module: nn.Module) -> nn.Module:
    """Replaces every BatchNorm of a module by one over all processes; names in its state dict stay."""
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, SyncedBatchNorm(child))
        else:
            synchronize_norms(child)
    return module


def share_buffers(module: nn.Module) -> None:
    """Gives all processes the first one's buffers: their BatchNorms may have seen other pictures."""
    if world()[1] > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def leave() -> None:
    """Takes leave of the other processes, if there are any; threads of the network would abort this one at its end."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if world()[1] > 1:
        dist.barrier()


def is_lost_process(error: BaseException) -> bool:
    """Says whether an error is that of a process whose partners are gone."""
    phrases = ('closed by peer', 'reset by peer', 'connection refused', 'broken pipe', 'remote process exited')
    return world()[1] > 1 and any(phrase in str(error).lower() for phrase in phrases)


def gather_objects(own: Any) -> list[Any]:
    """Returns what every process has, by rank."""
    size = world()[1]
    if size == 1:
        return [own]
    found: list[Any] = [None] * size
    dist.all_gather_object(found, own)
    return found
