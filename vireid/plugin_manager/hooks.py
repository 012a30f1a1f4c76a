"""The hooks that a plugin can implement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pluggy

from vireid.core.types import Progress, Sample

# Incremented when the meaning or the arguments of a hook change. A plugin that sets VIREID_API = 1 is rejected by other
# versions.
API = 1
hookspec = pluggy.HookspecMarker('vireid')
hookimpl = pluggy.HookimplMarker('vireid')


class ObservedRun(Protocol):
    """What callbacks can read of a run; see `vireid.core.training.run.Run`."""

    experiment: Any
    work_dir: Path
    model: Any
    device: Any
    progress: Progress
    samples: tuple[Sample, ...]
    data: str
    split: str


class ObservedResults(Protocol):
    """What callbacks can read of an evaluation; see `vireid.core.scoring.results.Results`."""

    protocol: str
    weights: str
    data: str

    def rows(self) -> list[dict[str, Any]]:
        """Returns one dict of metrics per row of the table."""

    def to_dict(self) -> dict[str, Any]:
        """Returns protocol, weights, data and rows as plain Python values."""


class Hooks:
    """The hooks that a plugin can implement; each is optional and may take any subset of the arguments."""

    @hookspec
    def register_components(self, add: Callable[[str, str, Any], None]) -> None:
        """Registers components: `add(kind, name, target)`; a target `'module:attr'` is imported on first use."""

    @hookspec
    def register_commands(self, add: Callable[[str, str, str], None]) -> None:
        """Registers subcommands of `vireid`: `add(command, module, help)`.

        The module is imported when the command is used. It defines `add_arguments(parser)` and `run(args) -> int`,
        which returns the exit status.
        """

    @hookspec
    def register_configs(self, add: Callable[[str | Path], None]) -> None:
        """Registers a folder of configs, `add(folder)`, whose files can be named `package::file.py` anywhere."""

    @hookspec
    def run_started(self, run: ObservedRun) -> None:
        """Training starts or resumes at `run.progress`."""

    @hookspec
    def step_ended(self, run: ObservedRun, progress: Progress, record: dict[str, Any]) -> None:
        """A step has ended. `record` holds the total `loss`, `tasks`, `weights` and `lr` as plain floats."""

    @hookspec
    def epoch_ended(self, run: ObservedRun, progress: Progress) -> None:
        """An epoch has ended."""

    @hookspec
    def preparing(self, what: str, done: int, total: int) -> None:
        """Before a run, `done` of `total` items of `what` are ready, such as images of a cache."""

    @hookspec
    def evaluating(self, run: ObservedRun, what: str, done: int, total: int) -> None:
        """`done` of `total` images are embedded or trials scored, as `what` says."""

    @hookspec
    def evaluated(self, run: ObservedRun, progress: Progress, results: ObservedResults) -> None:
        """The model has been scored."""

    @hookspec
    def run_ended(self, run: ObservedRun, finished: bool) -> None:
        """Training has ended; `finished` is False if it was interrupted."""
