"""Processes that read images: how they start, what they are sent, and that they end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import cloudpickle

from vireid.boundary.console import surviving
from vireid.boundary.plugin_files import Sources, run_again, sources
from vireid.core.errors import VireidError

START_METHOD = 'VIREID_START_METHOD'
ELSE = f'set images.workers=0, or, on Linux, the environment variable {START_METHOD}=fork'

_server_of: int | None = None  # the process that started the fork server
_kept: list[Any] = []


def start_method() -> str:
    """Returns how processes start: as VIREID_START_METHOD says, else by `forkserver` on Linux and `spawn` elsewhere.

    These are Python's own defaults from 3.14 on. A process with threads, such as torch's, may hang in a fork of it; the
    fork server has none, and imports torch once for all processes that it starts.
    """
    method, allowed = os.environ.get(START_METHOD, ''), multiprocessing.get_all_start_methods()
    if method and method not in allowed:
        raise VireidError(f'{START_METHOD} is {method!r}', allowed=', '.join(allowed), todo=f'unset {START_METHOD}')
    method = method or ('forkserver' if sys.platform == 'linux' else 'spawn')
    # a process that was forked from one with a server cannot use that
    return 'spawn' if method == 'forkserver' and _server_of not in (None, os.getpid()) else method


def start_server(imports: Collection[str], signals: Collection[int]) -> None:
    """Starts the fork server unless it runs; it imports modules while this process goes on.

    Args:
        imports: names of the modules.
        signals: those that do not reach it.
    """
    from multiprocessing import forkserver, resource_tracker  # of POSIX

    global _server_of
    _server_of = os.getpid()
    forkserver.set_forkserver_preload(list(imports))
    for start in (resource_tracker.ensure_running, forkserver.ensure_running):
        with _blocked(signals):  # of each: the first one unblocks some
            start()


@contextmanager
def starting(signals: Collection[int]) -> Iterator[None]:
    """Starts processes in the block: no signal reaches them before `started`, and none runs the user's script again.

    The handler of children's deaths that torch sets, which would raise at any line of this process, is undone.
    """
    child: Any
    child, main = getattr(signal, 'SIGCHLD', None), sys.modules['__main__']
    if threading.current_thread() is not threading.main_thread():
        child = None  # torch sets none then
    before = signal.getsignal(child) if child is not None else None
    if start_method() != 'fork':
        sys.modules['__main__'] = ModuleType('__main__')  # a script without a guard would train in each process
    try:
        with _blocked(signals):
            yield
    finally:
        sys.modules['__main__'] = main
        if before is not None:  # None: set by something that is not Python
            signal.signal(child, before)


def started(signals: Collection[int]) -> None:
    """Is called in a process that was started: it ignores signals but SIGTERM, and ends with its parent."""
    for number in signals:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    console = surviving()
    console.__enter__()
    _kept.append(console)  # it is left when it is collected
    # torch asks for the process above, which is the fork server
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _blocked(signals: Collection[int]) -> Iterator[None]:
    if not hasattr(signal, 'pthread_sigmask'):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Sent:
    """A data set that is sent to processes, with the plugin files that its classes are from.

    What a script or a notebook defines is sent too, as cloudpickle does.

    Args:
        data: has `__getitems__`.
    """

    def __init__(self, data: Any) -> None:
        self._data, self._pickled = data, b''

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._pickled:
            try:
                self._pickled = cloudpickle.dumps(self._data)
            except (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError) as error:
                raise VireidError(
                    f'the transforms or the reader of images cannot be sent to the processes that read images: {error}',
                    todo=f'let them hold no open files, locks or generators; or {ELSE}',
                ) from error
        return Received, (sources(self._pickled), self._pickled)


class Received:
    """The data set in a process that it was sent to.

    Args:
        files: plugin files to run first.
        pickled: the data set.
    """

    def __init__(self, files: Sources, pickled: bytes) -> None:
        self._files, self._pickled = files, pickled
        self._data: Any = None

    def __getitems__(self, keys: Any) -> Any:
        if self._data is None:
            try:
                run_again(self._files)
                self._data = pickle.loads(self._pickled)  # noqa: S301, from this user's own process
            except Exception as error:  # whatever a plugin file raises
                return VireidError(
                    'a process that reads images cannot take over the transforms or the reader of images: '
                    f'{type(error).__name__}: {error}',
                    todo=f'put what they need into a module that can be imported; or {ELSE}',
                )
        return self._data.__getitems__(keys)
