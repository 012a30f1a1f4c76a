"""Ranks, barriers and object exchange between the processes of a run; no-ops in a single process."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


def world() -> tuple[int, int]:
    """Returns (rank, number of processes)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def gather_objects(own: Any) -> list[Any]:
    """Returns the object of every process, by rank."""
    size = world()[1]
    if size == 1:
        return [own]
    objects: list[Any] = [None] * size
    dist.all_gather_object(objects, own)
    return objects


def agreed(device: torch.device, *flags: bool) -> list[bool]:
    """Returns, for each flag, whether it is set in any process: all processes get the same answer.

    Args:
        device: device on which the processes exchange tensors.
        *flags: the same number in every process.
    """
    if world()[1] == 1:
        return list(flags)
    raised = torch.tensor(flags, dtype=torch.float32, device=device)
    dist.all_reduce(raised)
    return [count > 0 for count in raised.tolist()]


def wait_for_all() -> None:
    """Waits until every process has called this."""
    if world()[1] > 1:
        dist.barrier()


def leave() -> None:
    """Destroys the process group, if there is one; otherwise its network threads would abort this process on exit."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
