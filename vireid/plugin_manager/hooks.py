"""What a plugin may implement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pluggy

from vireid.core.types import Progress, Sample

# Raised when a hook changes what it means or takes; a plugin may say VIREID_API = 1 and is refused by any other.
API = 1
hookspec = pluggy.HookspecMarker('vireid')
hookimpl = pluggy.HookimplMarker('vireid')


class ObservedRun(Protocol):
    """What observers see of a run; see `vireid.core.training.run.Run`."""

    experiment: Any
    work_dir: Path
    model: Any
    device: Any
    progress: Progress
    samples: tuple[Sample, ...]
    data: str
    split: str


class ObservedResults(Protocol):
    """What observers see of an evaluation; see `vireid.core.scoring.results.Results`."""

    protocol: str
    weights: str
    data: str

    def rows(self) -> list[dict[str, Any]]:
        """Returns a dict of metrics for each row of the table."""

    def to_dict(self) -> dict[str, Any]:
        """Returns protocol, weights, data and rows as plain values."""


class Hooks:
    """What a plugin may implement; every method is optional and takes any subset of the arguments."""

    @hookspec
    def register_components(self, add: Callable[[str, str, Any], None]) -> None:
        """Registers components: `add(kind, name, target)`; a target `'module:attr'` is imported on first use."""

    @hookspec
    def register_commands(self, add: Callable[[str, str, str], None]) -> None:
        """Registers subcommands of `vireid`: `add(command, module, help)`.

        The module is imported when the command is used; it has `add_arguments(parser)` and `run(args) -> int`, the exit
        status.
        """

    @hookspec
    def register_configs(self, add: Callable[[str | Path], None]) -> None:
        """Registers a folder of configs: `add(folder)`. Its files are then called `package::file.py` anywhere."""

    @hookspec
    def run_started(self, run: ObservedRun) -> None:
        """Training begins or resumes; `run.progress` says where."""

    @hookspec
    def step_ended(self, run: ObservedRun, progress: Progress, record: dict[str, Any]) -> None:
        """One step is done. `record` holds the total `loss`, `tasks`, `weights` and `lr`, all plain floats."""

    @hookspec
    def epoch_ended(self, run: ObservedRun, progress: Progress) -> None:
        """One epoch is done."""

    @hookspec
    def preparing(self, what: str, done: int, total: int) -> None:
        """Before a run: `what` is being made, such as a cache of images."""

    @hookspec
    def evaluating(self, run: ObservedRun, what: str, done: int, total: int) -> None:
        """`done` of `total` images are embedded, or trials scored; `what` says which."""

    @hookspec
    def evaluated(self, run: ObservedRun, progress: Progress, results: ObservedResults) -> None:
        """The model was scored."""

    @hookspec
    def run_ended(self, run: ObservedRun, finished: bool) -> None:
        """Training is over; `finished` is False if it was interrupted."""
