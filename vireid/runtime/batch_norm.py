"""BatchNorm over the images of all processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vireid.runtime.gather import _Sum
from vireid.runtime.processes import lost_process_errors, world


class SyncedBatchNorm(nn.Module):
    """BatchNorm over the batches of all processes, on any device; torch's `SyncBatchNorm` requires GPUs.

    Args:
        norm: the BatchNorm to replace; weights and running statistics are shared with it.
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
        mean = _Sum.apply(exact.mean(axes)) / size  # (C,); all processes have the same number of rows
        centered = exact - mean.view(shape)
        variance = _Sum.apply((centered**2).mean(axes)) / size
        normalized = centered * torch.rsqrt(variance + self.eps).view(shape)
        with torch.no_grad():
            count = x.numel() / x.shape[1] * size
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        if self.affine:
            normalized = normalized * self.weight.view(shape) + self.bias.view(shape)
        return normalized.to(x.dtype)


def synchronize_norms(module: nn.Module) -> nn.Module:
    """Replaces every BatchNorm in a module with one over all processes; state dict keys are unchanged."""
    for name, child in module.named_children():
        if 'train' in vars(child):
            continue  # frozen: it uses its running statistics, which are equal in all processes
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, SyncedBatchNorm(child))
        else:
            synchronize_norms(child)
    return module


@lost_process_errors()
def share_buffers(module: nn.Module) -> None:
    """Broadcasts the buffers of rank 0: the BatchNorm statistics of other ranks may come from other images."""
    if world()[1] > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)
