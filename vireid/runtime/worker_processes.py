"""Data-loading workers: how they start, what they receive, and that they end with the process that started them."""

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

from vireid.boundary.plugin_files import Sources, run_again, sources
from vireid.console.streams import surviving
from vireid.errors import Mismatch, Unavailable, WrongValue

START_METHOD = 'VIREID_START_METHOD'
ELSE = f'set images.workers=0, or, on Linux, the environment variable {START_METHOD}=fork'

_server_of: int | None = None  # the process that started the fork server
_kept: list[Any] = []


def start_method() -> str:
    """Returns how worker processes start: VIREID_START_METHOD, else `forkserver` on Linux and `spawn` elsewhere.

    These defaults are Python's own from 3.14 on. Forking a process that has threads, such as torch's, can hang; the
    fork server has none, and imports torch once for all its processes.

    Raises:
        WrongValue: if VIREID_START_METHOD is not a start method.
    """
    method, allowed = os.environ.get(START_METHOD, ''), multiprocessing.get_all_start_methods()
    if method and method not in allowed:
        raise WrongValue(f'{START_METHOD} is {method!r}', allowed=', '.join(allowed), todo=f'unset {START_METHOD}')
    method = method or ('forkserver' if sys.platform == 'linux' else 'spawn')
    # a process forked from one with a fork server cannot use that server
    return 'spawn' if method == 'forkserver' and _server_of not in (None, os.getpid()) else method


def hide_lost_workers() -> None:
    """Keeps torch's thread that page-locks batches from printing a traceback when a worker dies.

    The death is reported where its batch is awaited.
    """
    before = threading.excepthook

    def report(given: threading.ExceptHookArgs) -> None:
        locks = given.thread is not None and '_pin_memory_loop' in given.thread.name
        if not (locks and issubclass(given.exc_type, (ConnectionError, EOFError))):
            before(given)

    if getattr(before, '__qualname__', '') != report.__qualname__:
        threading.excepthook = report


def start_server(imports: Collection[str], signals: Collection[int]) -> None:
    """Starts the fork server unless it is running; it imports modules in the background.

    Args:
        imports: names of the modules.
        signals: signals that do not reach the server.
    """
    from multiprocessing import forkserver, resource_tracker  # POSIX only

    global _server_of
    _server_of = os.getpid()
    forkserver.set_forkserver_preload(list(imports))
    for start in (resource_tracker.ensure_running, forkserver.ensure_running):
        with _blocked(signals):  # for each call: the first one unblocks some signals
            start()


@contextmanager
def starting(signals: Collection[int]) -> Iterator[None]:
    """Prepares for starting workers in the block: blocks signals until `started` runs, and hides the user's script.

    Also restores the SIGCHLD handler that torch replaces, since torch's would raise at any line of this process.
    """
    main, before = sys.modules['__main__'], None
    # torch sets no handler in another thread, or on Windows
    if sys.platform != 'win32' and threading.current_thread() is threading.main_thread():
        before = signal.getsignal(signal.SIGCHLD)
    if start_method() != 'fork':
        sys.modules['__main__'] = ModuleType('__main__')  # an unguarded script would train again in each worker
    try:
        with _blocked(signals):
            yield
    finally:
        sys.modules['__main__'] = main
        if sys.platform != 'win32' and before is not None:  # None: set by something that is not Python
            signal.signal(signal.SIGCHLD, before)


def started(signals: Collection[int]) -> None:
    """Sets up a new worker: it ignores all signals but SIGTERM, and ends with its parent."""
    for number in signals:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if sys.platform != 'win32':
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    console = surviving()
    console.__enter__()
    _kept.append(console)  # garbage collection would exit it
    # torch would watch the parent process, which is the fork server
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _blocked(signals: Collection[int]) -> Iterator[None]:
    if sys.platform == 'win32':
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Sent:
    """A dataset sent to workers, with the plugin files that define its classes.

    Classes and functions from a script or a notebook are sent as well, by cloudpickle.

    Args:
        data: a dataset with `__getitems__`.
    """

    def __init__(self, data: Any) -> None:
        self._data, self._pickled = data, b''

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._pickled:
            try:
                self._pickled = cloudpickle.dumps(self._data)
            except (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError) as error:
                raise Mismatch(
                    f'the transforms or the image reader cannot be sent to the worker processes: {error}',
                    todo=f'remove open files, locks and generators from them; or {ELSE}',
                ) from error
        return Received, (sources(self._pickled), self._pickled)


class Received:
    """A dataset as a worker receives it.

    Args:
        files: plugin files to run first.
        pickled: the pickled dataset.
    """

    def __init__(self, files: Sources, pickled: bytes) -> None:
        self._files, self._pickled = files, pickled
        self._data: Any = None

    def __getitems__(self, keys: Any) -> Any:
        if self._data is None:
            try:
                run_again(self._files)
                self._data = pickle.loads(self._pickled)  # noqa: S301, from the user's own process
            except Exception as error:  # whatever a plugin file raises
                return Unavailable(
                    f'a worker process cannot load the transforms or the image reader: {type(error).__name__}: {error}',
                    todo=f'put what they need into an importable module; or {ELSE}',
                )
        return self._data.__getitems__(keys)
