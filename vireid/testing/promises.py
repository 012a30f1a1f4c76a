"""Building blocks of the contract checks, and the contract that all networks share."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vireid.core.types import HeadOutput
from vireid.plugin_manager.manager import PluginManager


class Broken(Exception):
    """A contract that a component breaks."""


class Builder:
    """Builds a component with the arguments of its kind.

    Args:
        manager: the plugins.
        kind: the kind of the component.
        config: its config, with its name as `type`.
        target: its class or function.
        inputs: specs of its inputs, if its kind has any.
    """

    def __init__(
        self, manager: PluginManager, kind: str, config: dict[str, Any], target: Callable[..., Any], inputs: Any = None
    ) -> None:
        self.manager, self.kind, self.config, self.target, self.inputs = manager, kind, config, target, inputs

    def __call__(self, **context: Any) -> Any:
        torch.manual_seed(0)
        return self.manager.components.build(self.kind, self.config, where=self.config['type'], **context)


def require(kept: Any, promise: str) -> None:
    if not kept:
        raise Broken(promise)


def _states() -> tuple[Any, ...]:
    numpy = np.random.get_state()
    return torch.get_rng_state().tolist(), [str(part) for part in numpy], random.getstate()


@contextmanager
def no_random_numbers(what: str) -> Iterator[None]:
    before = _states()
    yield
    require(_states() == before, f'{what} reads or changes global random state in evaluation')


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, HeadOutput):
        return [t for t in (value.feature, value.logits) if t is not None]
    return [t for part in (value.values() if isinstance(value, Mapping) else value) for t in tensors(part)]


def _same(first: Tensor, second: Tensor) -> bool:
    """Returns whether two outputs are equal, up to rounding: some sums depend on where a tensor is in memory."""
    if first.shape != second.shape or not first.is_floating_point():
        return torch.equal(first, second)
    return torch.allclose(first, second, rtol=1e-4, atol=1e-6)


def check_network(module: Any, run: Callable[[Any], Any], build: Callable[[], Any]) -> Any:
    """Checks the contract of every network, and returns its output; see `check_repeatable` for the arguments."""
    require(isinstance(module, nn.Module), f'it is a {type(module).__name__}, not a torch.nn.Module')
    module.train()
    output = run(module)
    for tensor in tensors(output):
        require(tensor.dtype == torch.float32, f'its output is {tensor.dtype}, not float32')
        require(torch.isfinite(tensor).all(), 'its output is not finite')
    parameters = [p for p in module.parameters() if p.requires_grad]
    total = torch.stack([t.square().sum() for t in tensors(output)]).sum()
    require(total.requires_grad, 'no gradient flows through it')
    torch.autograd.backward(total)
    require(not parameters or any(p.grad is not None for p in parameters), 'none of its parameters gets a gradient')
    check_repeatable(module, run, build)
    return output


def check_repeatable(module: Any, run: Callable[[Any], Any], build: Callable[[], Any]) -> None:
    """Checks that a module in evaluation repeats its output, also from a pickle and from a state dict.

    Args:
        module: the module.
        run: calls a module, always on the same input, and returns its output.
        build: returns another instance.
    """
    module.eval()
    with torch.no_grad():
        expected = [t.clone() for t in tensors(run(module))]
        with no_random_numbers('it'):
            repeated = tensors(run(module))
        require(all(map(_same, expected, repeated)), 'the same input gives another output in evaluation')
        twin = pickle.loads(pickle.dumps(module))  # noqa: S301, pickled right here
        require(all(map(_same, expected, tensors(run(twin)))), 'its unpickled copy gives another output')
        other = build().eval()
        other.load_state_dict(copy.deepcopy(module.state_dict()))
        loaded = tensors(run(other))
        require(all(map(_same, expected, loaded)), 'another instance with its state dict gives another output')
