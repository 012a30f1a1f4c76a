"""Turns a lack of memory into an error that says what did not fit, and what to reduce."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vireid.errors import OutOfMemory

# of CPUs; of Apple GPUs and of CUDA itself, outside torch's allocator; of cuBLAS and cuDNN, for their own buffers
PHRASES = ("can't allocate memory", 'out of memory', 'STATUS_ALLOC_FAILED')


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
        if not is_out_of_memory(error):
            raise
        # torch continues with advice on its own settings, and on CPUs begins with a place in its source code
        message = lines[0].rpartition('DefaultCPUAllocator: ')[2] if lines else 'out of memory'
        message = message.partition('. GPU ')[0].partition('. Use PYTORCH')[0]
        raise OutOfMemory(f'{what} needs more memory: {message}', todo=todo) from error


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether an error says that memory ran out."""
    if isinstance(error, MemoryError):
        return True
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in PHRASES)
