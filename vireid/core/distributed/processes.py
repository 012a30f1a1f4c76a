"""The processes of a run: who they are, waiting for each other, sharing objects; nothing of it matters to one alone."""

from __future__ import annotations

from typing import Any

import torch
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


def agreed(device: torch.device, *flags: bool) -> list[bool]:
    """Says of each flag whether any process raised it; all get the same answer, so that none waits for another.

    Args:
        device: one that the processes exchange tensors on.
        *flags: as many in every process.
    """
    if world()[1] == 1:
        return list(flags)
    raised = torch.tensor(flags, dtype=torch.float32, device=device)
    dist.all_reduce(raised)
    return [count > 0 for count in raised.tolist()]


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if world()[1] > 1:
        dist.barrier()


def leave() -> None:
    """Takes leave of the other processes, if there are any; threads of the network would abort this one at its end."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
