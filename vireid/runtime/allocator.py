"""Lets glibc keep the memory that is freed, since each step on a CPU allocates the same amounts again."""

from __future__ import annotations

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of mallopt
BYTES = {TRIM_THRESHOLD: 2**31 - 1, MMAP_THRESHOLD: 2**30}


def keep_freed_memory() -> bool:
    """Keeps freed memory in this process instead of returning it to the system, which costs page faults at each step.

    Returns:
        Whether glibc did as asked; other C libraries are left alone, and so is one that the environment configures.
    """
    chosen = ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_', 'GLIBC_TUNABLES')
    if sys.platform != 'linux' or any(name in os.environ for name in chosen):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return all(mallopt(parameter, size) == 1 for parameter, size in BYTES.items())
