"""FSDP for lightning-fabric: each process keeps a share of weights, gradients and optimizer state."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn

from vireid.core.distributed import share_buffers
from vireid.core.errors import VireidError
from vireid.core.sharding import is_sharded, whole


class Sharded(DDPStrategy):
    """Fabric's strategy of several processes, with torch's FSDP2 in the place of DDP.

    The whole model is one unit: its weights are gathered for the forward and backward pass, and no process keeps more
    than its share of gradients and optimizer state. Parameters that DDP is told to ignore are not sharded.

    Raises:
        VireidError: if torch is too old.
    """

    def __init__(self) -> None:
        super().__init__()
        from torch.distributed.fsdp import fully_shard

        if 'ignored_params' not in inspect.signature(fully_shard).parameters:
            raise VireidError(
                f"training.strategy is 'fsdp' and torch is {torch.__version__}",
                allowed='a torch whose fully_shard takes ignored_params, as that of 2.15 does',
                todo="pip install -U torch torchvision, or training.strategy='ddp'",
            )
        self._backward_sync_control = _NoSync()  # type: ignore[assignment]

    def setup_module(self, module: nn.Module) -> Any:
        """Cuts a module's parameters, in place."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        ignored = set(getattr(module, '_ddp_params_and_buffers_to_ignore', ()))
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        kept = {p for name, p in module.named_parameters() if name in ignored}
        # as DDP does: all begin a pass with the first process's buffers, which are those that are saved
        module.register_forward_pre_hook(lambda own, _: share_buffers(own))
        return fully_shard(module, mesh=mesh, ignored_params=kept)

    def clip_gradients_norm(
        self,
        module: nn.Module,
        optimizer: Any,
        max_norm: float | int,
        norm_type: float | int = 2.0,
        error_if_nonfinite: bool = True,
    ) -> Tensor:
        """Scales sharded and other gradients by their common norm; torch's own wants them to be of one sort."""
        found = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        sorts = [[g for g in found if is_sharded(g) == sharded] for sharded in (True, False)]
        norms = [whole(torch.nn.utils.get_total_norm(sort, norm_type), everywhere=True) for sort in sorts if sort]
        norm = torch.stack(norms).norm(norm_type)  # ()
        if error_if_nonfinite and not torch.isfinite(norm):
            raise RuntimeError(f'the norm of the gradient is {norm}')
        factor = float((max_norm / (norm + 1e-6)).clamp(max=1.0))
        for gradient in found:
            gradient.mul_(factor)
        return norm


class _NoSync:
    """What Fabric asks to leave gradients of the first parts of a batch unsynchronized."""

    def no_backward_sync(self, module: Any, enabled: bool) -> AbstractContextManager[None]:
        @contextmanager
        def block() -> Iterator[None]:
            module.set_requires_gradient_sync(not enabled)
            try:
                yield
            finally:
                module.set_requires_gradient_sync(True)

        return block()
