"""Compiles the training pass, with a fallback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vireid.core.distributed.processes import world


def compile_forward(model: nn.Module) -> None:
    """Compiles a model's forward pass in place; if that fails, warns once and uses the uncompiled one."""
    plain = model.forward
    compiled: Callable[..., Any] | None = torch.compile(plain)

    def forward(*given: Any, **named: Any) -> Any:
        nonlocal compiled
        if compiled is None:
            return plain(*given, **named)
        try:
            return compiled(*given, **named)
        except Exception as error:  # the compiler raises many types, and needs a C++ compiler on CPUs
            losses = plain(*given, **named)  # raises again if the model is at fault
            compiled = None
            first = f'{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ""}'
            if world()[0] == 0:
                print(f'warning: the model cannot be compiled ({first}); it runs uncompiled', file=sys.stderr)
            return losses

    model.forward = forward  # type: ignore[method-assign]
