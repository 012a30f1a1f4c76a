"""The callbacks of a run. A callback that fails is disabled and does not stop the run."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pluggy

from vireid.errors import VireidError, WriteFailed

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)  # errors of the disk, not of a callback


class Observers:
    """The hooks of a run: `observers.step_ended(run=..., ...)` calls that hook on every callback, in order.

    pluggy finds the hooks and their order (`tryfirst`, `trylast`), and each hook gets only the arguments that it names.
    Unlike in pluggy's own calls, an exception disables the callback for the rest of the run and prints a line to
    stderr. Ctrl-C propagates, and a full disk stops the run so that no log has gaps.

    Args:
        hooks: the class whose methods are the hooks.
        named: pairs of a name for messages and a callback.

    Raises:
        VireidError: from a hook, if a callback cannot write because the disk is full or read-only.
    """

    def __init__(self, hooks: type, named: Sequence[tuple[str, object]]) -> None:
        self._names = dict(enumerate(name for name, _ in named))
        self._disabled: set[str] = set()
        self._manager = pluggy.PluginManager('vireid')
        self._manager.add_hookspecs(hooks)
        for number, (name, callback) in enumerate(named):
            try:
                self._manager.register(callback, str(number))
            except Exception as error:
                self._manager.unregister(name=str(number))
                self._warn(f'{name} is disabled: {type(error).__name__}: {error}')

    def __getattr__(self, hook: str) -> Callable[..., None]:
        if hook.startswith('_') or not hasattr(self._manager.hook, hook):
            raise AttributeError(hook)
        return partial(self._call, hook)

    def _call(self, hook: str, **arguments: Any) -> None:
        full: VireidError | None = None
        for implementation in sorted(getattr(self._manager.hook, hook).get_hookimpls(), key=_in_turn):
            number = implementation.plugin_name
            if number in self._disabled:
                continue
            name = self._names[int(number)]
            try:
                implementation.function(*(arguments[key] for key in implementation.argnames))
            except OSError as error:
                if error.errno in FULL:
                    todo = 'free some space, then repeat the command (vireid train: with --resume)'
                    full = WriteFailed(f'{name} cannot write: {error}', todo=todo)
                else:
                    self._disable(number, name, hook, error)
            except Exception as error:
                self._disable(number, name, hook, error)
        if full is not None:
            raise full

    def _disable(self, number: str, name: str, hook: str, error: Exception) -> None:
        self._disabled.add(number)
        self._warn(f'{name} failed in {hook}: {type(error).__name__}: {error}; it is disabled for the rest of this run')

    @staticmethod
    def _warn(line: str) -> None:
        with suppress(OSError):  # stderr may be closed
            print(line, file=sys.stderr)


def _in_turn(implementation: pluggy.HookImpl) -> tuple[bool, bool, int]:
    """Sorts implementations in the order of the callbacks; pluggy itself calls the last one first."""
    return implementation.trylast, not implementation.tryfirst, int(implementation.plugin_name)
