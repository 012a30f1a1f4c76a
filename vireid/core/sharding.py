"""Tensors that are cut into shards, one for each process; checkpoints hold whole ones.

Nothing here does anything to what is not sharded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from vireid.core.distributed import world

OWN = ('foreach', 'fused')  # settings of an optimizer that say how, not what, it computes


def is_sharded(tensor: Any) -> bool:
    """Says whether a tensor is one process's shard of a larger one."""
    return hasattr(tensor, 'full_tensor')


def whole(found: Any, everywhere: bool = False) -> Any:
    """Returns tensors, or dicts and lists of them, with shards put together; all processes have to call it at once.

    Only the first process gets the values, on the CPU, unless they are wanted `everywhere`.
    """
    if isinstance(found, Mapping):
        return {key: whole(value, everywhere) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [whole(value, everywhere) for value in found]
    if not is_sharded(found):
        return found
    full = found.full_tensor()
    if everywhere:
        return full
    return full.cpu() if world()[0] == 0 else full.new_empty(0)


def cut(full: Tensor, like: Tensor) -> Tensor:
    """Returns the shards of a whole tensor that another one has, or the tensor itself if that is not sharded."""
    if not is_sharded(like):
        return full
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(full.to(like.device), like.device_mesh, like.placements)


def cut_optimizer(state: Mapping[str, Any], optimizer: Any) -> dict[str, Any]:
    """Returns an optimizer's state dict with whole tensors cut as the parameters they belong to.

    How the optimizer goes about its parameters stays its own, see `one_by_one`.
    """
    parameters = [p for group in optimizer.param_groups for p in group['params']]

    def cut_one(number: int, values: Mapping[str, Any]) -> dict[str, Any]:
        if number >= len(parameters):
            return dict(values)  # of another model, which the optimizer refuses
        like = parameters[number]
        return {
            key: cut(value, like) if isinstance(value, Tensor) and value.shape == like.shape else value
            for key, value in values.items()
        }

    groups = list(state['param_groups'])
    if len(groups) == len(optimizer.param_groups):  # or the optimizer refuses them
        groups = [
            {**g, **{k: own[k] for k in OWN if k in own}} for g, own in zip(groups, optimizer.param_groups, strict=True)
        ]
    cut_state = {number: cut_one(number, values) for number, values in state['state'].items()}
    return {**state, 'state': cut_state, 'param_groups': groups}


def one_by_one(optimizer: Any) -> None:
    """Lets an optimizer take its parameters one by one: torch's fast path wants all to be sharded, or none."""
    for settings in [optimizer.defaults, *optimizer.param_groups]:
        if 'foreach' in settings:
            settings['foreach'] = False


@contextmanager
def gathered(module: Any) -> Iterator[None]:
    """Inside the block every process has all weights, so that each may use them at its own pace."""
    if not hasattr(module, 'unshard'):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()
