"""Who watches a run: each hook calls everyone, and one that fails is left out and never stops the run."""

from __future__ import annotations

import errno
import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from vireid.core.errors import VireidError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)  # nobody's fault among those who watch


class Observers:
    """The hooks of one run: `observers.step_ended(run=..., ...)` calls that hook of everyone who has it, in order.

    Each is given those arguments that it names. One that raises is named on stderr with what it raised, and is not
    called again in this run. Ctrl-C passes through; a full disk stops the run, so that no log has a gap.

    Args:
        hooks: the class whose methods are the hooks there are.
        named: (what it is called in messages, object) of each watcher; those marked `trylast` are called last.
    """

    def __init__(self, hooks: type, named: Sequence[tuple[str, object]]) -> None:
        self._hooks = {name for name in vars(hooks) if not name.startswith('_')}
        self._named = list(named)
        self._left_out: set[int] = set()
        self._calls: dict[str, list[tuple[int, str, Callable[..., Any], list[str]]]] = {}

    def __getattr__(self, hook: str) -> Callable[..., None]:
        if hook.startswith('_') or hook not in self._hooks:
            raise AttributeError(hook)
        return partial(self._call, hook)

    def _call(self, hook: str, **arguments: Any) -> None:
        if hook not in self._calls:
            self._calls[hook] = self._find(hook)
        full: VireidError | None = None
        for number, name, function, wanted in self._calls[hook]:
            if number in self._left_out:
                continue
            try:
                function(**{key: arguments[key] for key in wanted})
            except OSError as error:
                if error.errno in FULL:
                    full = VireidError(
                        f'{name} cannot write: {error}', todo='free some space, then go on with --resume'
                    )
                else:
                    self._leave_out(number, name, hook, error)
            except Exception as error:  # a watcher's fault is not the run's
                self._leave_out(number, name, hook, error)
        if full is not None:
            raise full

    def _leave_out(self, number: int, name: str, hook: str, error: Exception) -> None:
        self._left_out.add(number)
        given = f'{name} failed in {hook}: {type(error).__name__}: {error}; it is left out of the rest of this run'
        with suppress(OSError):  # stderr may be gone too
            print(given, file=sys.stderr)

    def _find(self, hook: str) -> list[tuple[int, str, Callable[..., Any], list[str]]]:
        found = []
        for number, (name, watcher) in enumerate(self._named):
            function = getattr(watcher, hook, None)
            mark = getattr(function, 'vireid_impl', None)
            if function is not None and mark is not None:
                order = 2 if mark.get('trylast') else 0 if mark.get('tryfirst') else 1
                found.append((order, number, name, function, [*inspect.signature(function).parameters]))
        return [entry[1:] for entry in sorted(found, key=lambda entry: entry[:2])]
