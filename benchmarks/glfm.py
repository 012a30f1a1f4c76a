"""Time and memory of GLFM's attention against the formula written out: a tensor of all concatenated pairs."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vireid.core.types import VISIBLE, Context, FeatureSpec
from vireid.plugins.necks.glfm import GLFM


def literal(glfm: GLFM, nodes: Tensor, context: Context) -> Tensor:
    """Eq. 4 and 5 of TFFN as they stand: [h(f_i) || h(f_j)] . w for every pair and head, with the weights of `glfm`."""
    count = len(nodes)
    heads, _, length = glfm.w.shape  # (M, 2, F)
    same = context.identities[:, None] == context.identities[None, :]
    outputs = []
    for weight, w in zip(glfm.h.weight.unflatten(0, (heads, length)), glfm.w, strict=True):
        h = nodes @ weight.T  # (N, F)
        own = h[:, None].expand(count, count, length)
        other = h[None, :].expand(count, count, length)
        pairs = torch.cat([own, other], dim=2)  # (N, N, 2F)
        score = nn.functional.leaky_relu(pairs @ w.flatten(), glfm.negative_slope)  # (N, N)
        outputs.append(score.masked_fill(~same, float('-inf')).softmax(dim=1) @ nodes)
    return torch.stack(outputs).mean(dim=0)


class Allocations(TorchDispatchMode):
    """Notes the storage of every tensor that an operation makes, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, Tensor] = {}
        self.total = 0
        self.largest: tuple[int, str, tuple[int, ...]] = (0, '', ())

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        inputs = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in inputs:
                size = tensor.untyped_storage().nbytes()
                self.total += size
                self.largest = max(self.largest, (size, func.overloadpacket.__name__, tuple(tensor.shape)))
        return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--nodes', type=int, default=64, help='images N in the batch, 8 of each identity')
    parser.add_argument('--channels', type=int, default=1024, help='length C of a node; F = C / 2')
    parser.add_argument('--heads', type=int, default=4)
    parser.add_argument('--repetitions', type=int, default=30)
    args = parser.parse_args()

    torch.manual_seed(0)
    glfm = GLFM([FeatureSpec(args.channels)], num_heads=args.heads)
    nodes = torch.randn(args.nodes, args.channels, requires_grad=True)
    context = Context({VISIBLE: args.nodes}, torch.arange(args.nodes) // 8)
    upstream = torch.randn(args.nodes, args.channels)
    forms = {'vireid': glfm, 'literal': lambda nodes, context: literal(glfm, nodes, context)}
    parameters = [nodes, *glfm.parameters()]

    def step(name: str) -> list[Tensor]:
        """Forward and backward; returns the output and all gradients."""
        output = forms[name](nodes, context)
        return [output, *torch.autograd.grad(output, parameters, upstream)]

    for a, b in zip(step('vireid'), step('literal'), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    print('output and gradients: equal')

    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(args.repetitions):
        for name in forms:
            start = time.perf_counter()
            step(name)
            times[name].append(time.perf_counter() - start)
    print(f'{"form":<9}{"ms":>8}{"made MB":>9}{"largest MB":>12}   largest tensor')
    for name in forms:
        with Allocations() as made:
            step(name)
        size, operation, shape = made.largest
        milliseconds = 1e3 * statistics.median(times[name])
        print(f'{name:<9}{milliseconds:>8.2f}{made.total / 1e6:>9.1f}{size / 1e6:>12.2f}   {operation} {shape}')
    speed = statistics.median(b / a for a, b in zip(times['vireid'], times['literal'], strict=True))
    pairs = 4 * args.nodes**2 * args.channels / 1e6
    print(f'{speed:.1f} times as fast (goal: at least 3); an N x N x 2F tensor has {pairs:.2f} MB')


if __name__ == '__main__':
    main()
