"""The commands that a launcher receives, and the states that it returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class JobCommand:
    """The command of one run of a study, for a launcher.

    Attributes:
        label: name of the run.
        words: the program and its arguments.
        output: file to append stdout and stderr to; its folder exists.
        devices: number of GPUs, if the run uses GPUs.
    """

    label: str
    words: tuple[str, ...]
    output: Path
    devices: int = 1


@dataclass(frozen=True)
class JobState:
    """What a launcher knows about a command.

    Attributes:
        status: whether it is waiting to start, running, or has ended.
        place: where it runs, such as `GPU 1` or `job 4711`.
        exit: exit status once it has ended; negative for the number of a signal.
    """

    status: Literal['waiting', 'running', 'ended']
    place: str = ''
    exit: int | None = None
