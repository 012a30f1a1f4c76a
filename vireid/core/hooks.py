"""What a plugin may implement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from vireid.core.results import Results
    from vireid.core.run import Run
    from vireid.core.types import Progress

# Raised when a hook changes what it means or takes; a plugin may say VIREID_API = 1 and is refused by any other.
API = 1
hookspec = pluggy.HookspecMarker('vireid')
hookimpl = pluggy.HookimplMarker('vireid')


class Hooks:
    """What a plugin may implement; every method is optional and takes any subset of the arguments."""

    @hookspec
    def register_components(self, add: Callable[[str, str, Any], None]) -> None:
        """Registers components: `add(kind, name, target)`; a target `'module:attr'` is imported on first use."""

    @hookspec
    def register_commands(self, add: Callable[[str, str, str], None]) -> None:
        """Registers verbs of the command line: `add(verb, module, help)`.

        The module is imported when the verb is used; it has `add_arguments(parser)` and `run(args) -> int`, the exit
        status.
        """

    @hookspec
    def register_configs(self, add: Callable[[str | Path], None]) -> None:
        """Registers a folder of configs: `add(folder)`. Its files are then called `package::file.py` anywhere."""

    @hookspec
    def run_started(self, run: Run) -> None:
        """Training begins or resumes; `run.progress` says where."""

    @hookspec
    def step_ended(self, run: Run, progress: Progress, record: dict[str, Any]) -> None:
        """One step is done. `record` holds the total `loss`, `tasks`, `weights` and `lr`, all plain floats."""

    @hookspec
    def epoch_ended(self, run: Run, progress: Progress) -> None:
        """One epoch is done."""

    @hookspec
    def preparing(self, what: str, done: int, total: int) -> None:
        """Before a run: `what` is being made, such as a cache of pictures."""

    @hookspec
    def evaluating(self, run: Run, what: str, done: int, total: int) -> None:
        """`done` of `total` pictures are embedded, or trials scored; `what` says which."""

    @hookspec
    def evaluated(self, run: Run, progress: Progress, results: Results) -> None:
        """The model was scored."""

    @hookspec
    def run_ended(self, run: Run, finished: bool) -> None:
        """Training is over; `finished` is False if it was interrupted."""
