"""Ranks, barriers and object exchange of the processes of a run, no-ops in a single process; and lost processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from vireid.errors import Unavailable

SILENCE = 60  # seconds without a sign of life after which a machine counts as lost
# phrases of gloo and torch, by what has happened
EXITED = ('closed by peer', 'reset by peer', 'connection refused', 'broken pipe', 'remote process exited')
UNREACHABLE = ('connection timed out', 'no route to host', 'network is unreachable', 'network is down')
SILENT = ('timed out waiting', 'collective operation timeout')


def world() -> tuple[int, int]:
    """Returns (rank, number of processes)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


@contextmanager
def lost_process_errors() -> Iterator[None]:
    """Replaces torch errors in the block that are caused by the loss of another process of the run.

    Raises:
        Unavailable: in place of such an error.
    """
    try:
        yield
    except RuntimeError as error:
        if (explained := explain_loss(error)) is None:
            raise
        raise explained from error


def explain_loss(error: RuntimeError) -> Unavailable | None:
    """Explains a torch error that is caused by the loss of another process; returns None for other errors."""
    if world()[1] == 1 or (reason := _reason(str(error))) is None:
        return None
    todo = 'see the message of that process or machine, if any; then repeat the command (vireid train: with --resume)'
    return Unavailable(reason, todo=todo)


def _reason(text: str) -> str | None:
    """Returns what a torch error says about another process; None if it says nothing."""
    line = text.partition('\n')[0].partition('. This is typically')[0]  # gloo appends advice
    place = line.rpartition('.cc:')[2].partition('] ')[2] or line  # and begins with a line of its source
    low = text.lower()
    if any(phrase in low for phrase in UNREACHABLE):
        return f'the machine of another process of this run has not answered for {SILENCE} seconds ({place})'
    if any(phrase in low for phrase in EXITED):
        return f'another process of this run has exited ({place})'
    if any(phrase in low for phrase in SILENT):
        return f'another process of this run is stuck or suspended ({place})'
    return None


@lost_process_errors()
def gather_objects(own: Any) -> list[Any]:
    """Returns the object of every process, by rank."""
    size = world()[1]
    if size == 1:
        return [own]
    objects: list[Any] = [None] * size
    dist.all_gather_object(objects, own)
    return objects


@lost_process_errors()
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


@lost_process_errors()
def wait_for_all() -> None:
    """Waits until every process has called this."""
    if world()[1] > 1:
        dist.barrier()


def leave() -> None:
    """Destroys the process group, if there is one; otherwise its network threads would abort this process on exit."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
