"""The processes of a run: who they are, waiting for each other, sharing objects; nothing of it matters to one alone."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist


def world() -> tuple[int, int]:
    """Returns (rank, number of processes)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def gather_objects(own: Any) -> list[Any]:
    """Returns what every process has, by rank."""
    size = world()[1]
    if size == 1:
        return [own]
    found: list[Any] = [None] * size
    dist.all_gather_object(found, own)
    return found


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if world()[1] > 1:
        dist.barrier()


def leave() -> None:
    """Takes leave of the other processes, if there are any; threads of the network would abort this one at its end."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
