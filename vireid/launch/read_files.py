"""Reads many files with a pool of threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar('T')
AT_ONCE = 256  # files that a thread reads in one task; progress is reported after each task


def read_files(read: Callable[[str], T], paths: Sequence[str], on_progress: Callable[[int], None]) -> list[T]:
    """Returns `read(path)` for each path, in order; `on_progress` is called with the number read so far."""
    chunks = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    results: list[T] = []
    with ThreadPoolExecutor() as pool:  # reading and decoding files releases the GIL
        for part in pool.map(lambda chunk: list(map(read, chunk)), chunks):
            results += part
            on_progress(len(results))
    return results
