"""Errors of the commands of plugins: each names the command and its plugin."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from vireid.errors import Unavailable, VireidError
from vireid.plugin_manager.info import Command


@contextmanager
def loading(name: str, command: Command) -> Iterator[None]:
    """Names a command that cannot be imported, or whose flags cannot be added.

    Raises:
        Unavailable: in place of anything that the plugin raises.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        raise Unavailable(
            f'{name!r} of plugin {command.plugin!r} ({command.module}) cannot be used: {type(error).__name__}: {error}',
            todo='fix or uninstall the plugin',
        ) from error


@contextmanager
def running(name: str, command: Command) -> Iterator[None]:
    """Names a command that fails, and prints the traceback; an error that the user can fix stays as it is.

    Raises:
        VireidError: in place of any other exception.
    """
    try:
        yield
    except (VireidError, OSError, KeyboardInterrupt):
        raise
    except Exception as error:
        traceback.print_exc()
        raise VireidError(
            f'{name!r} of plugin {command.plugin!r} raised {type(error).__name__}: {error}',
            todo='report the traceback above to the authors of the plugin',
        ) from error
