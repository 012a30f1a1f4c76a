"""Compiles the training pass, with a fallback."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vireid.runtime.processes import world

WARM_UP = 3  # calls after which nothing should be compiled any more


def compile_forward(model: nn.Module) -> None:
    """Compiles a model's forward pass in place.

    Warns once if it cannot be compiled, and then runs uncompiled; if there are graph breaks, which make it slower; and
    if it is still recompiled after the first calls.
    """
    from torch._dynamo.utils import counters

    plain = model.forward
    compiled: Callable[..., Any] | None = torch.compile(plain)
    before = Counter(counters['graph_break'])
    calls, graphs = 0, 0

    def forward(*given: Any, **named: Any) -> Any:
        nonlocal compiled, calls, graphs
        if compiled is None:
            return plain(*given, **named)
        try:
            losses = compiled(*given, **named)
        except Exception as error:  # the compiler raises many types, and needs a C++ compiler on CPUs
            losses = plain(*given, **named)  # raises again if the model is at fault
            compiled = None
            first = f'{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ""}'
            _warn(f'the model cannot be compiled ({first}); it runs uncompiled')
            return losses
        calls += 1
        if calls == 1 and (breaks := Counter(counters['graph_break']) - before):
            reasons = '; '.join(reason.strip().splitlines()[0] for reason in breaks)
            _warn(f'the compiled model has graph breaks, which make it slower: {reasons}')
        if calls == WARM_UP:
            graphs = counters['stats']['unique_graphs']
        elif calls > WARM_UP and counters['stats']['unique_graphs'] > graphs >= 0:
            graphs = -1  # warn once
            _warn(
                f'the model was compiled again in call {calls}; if that goes on, it is slower than uncompiled: look at '
                'what changes from step to step, or set training.compile=False'
            )
        return losses

    model.forward = forward  # type: ignore[method-assign]


def _warn(text: str) -> None:
    if world()[0] == 0:
        print(f'warning: {text}', file=sys.stderr)
