"""Turns a lack of memory into an error that says what did not fit, and what to reduce."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vireid.errors import OutOfMemory


@contextmanager
def within_memory(what: str, todo: str) -> Iterator[None]:
    """Runs a block that may need more memory than the device has.

    Args:
        what: what the block computes, for the message, such as 'a training step on 64 images'.
        todo: what to reduce.

    Raises:
        OutOfMemory: if memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        lines = str(error).splitlines()
        if not isinstance(error, MemoryError) and not _is_out_of_memory(error):
            raise
        # torch continues with advice on its own settings, and on CPUs begins with a place in its source code
        message = lines[0].rpartition('DefaultCPUAllocator: ')[2].partition('. GPU ')[0] if lines else 'out of memory'
        raise OutOfMemory(f'{what} needs more memory: {message}', todo=todo) from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)
