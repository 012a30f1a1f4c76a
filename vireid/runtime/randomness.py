"""Seeds random numbers from a key, such as (seed, epoch, position in the epoch)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(*key: object) -> Iterator[None]:
    """Seeds torch on the CPU, numpy and random from `key` inside the block, and restores their state after it."""
    with preserved():
        reseed(*key)
        yield


def reseed(*key: object) -> int:
    """Seeds torch on the CPU, numpy and random from `key`; returns the seed."""
    digest = hashlib.blake2b('/'.join(map(str, key)).encode(), digest_size=8).digest()
    value = int.from_bytes(digest, 'little')
    torch.default_generator.manual_seed(value)
    np.random.seed(value % 2**32)
    random.seed(value)
    return value


@contextmanager
def preserved() -> Iterator[None]:
    """Restores the state of torch on the CPU, numpy and random after the block."""
    states = torch.default_generator.get_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.default_generator.set_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
