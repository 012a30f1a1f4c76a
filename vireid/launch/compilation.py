"""Compiled training passes, with a way back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vireid.core.distributed.processes import world


def compile_forward(model: nn.Module) -> None:
    """Compiles a model's forward pass in place; falls back to the plain one, with one warning, if that fails."""
    plain = model.forward
    compiled: Callable[..., Any] | None = torch.compile(plain)

    def forward(*given: Any) -> Any:
        nonlocal compiled
        if compiled is None:
            return plain(*given)
        try:
            return compiled(*given)
        except Exception as error:  # the compiler has many of its own, and needs one for C++ on CPUs
            made = plain(*given)  # which raises what is the model's own fault
            compiled = None
            first = f'{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ""}'
            if world()[0] == 0:
                print(f'warning: the model cannot be compiled ({first}); it runs uncompiled', file=sys.stderr)
            return made

    model.forward = forward  # type: ignore[method-assign]
