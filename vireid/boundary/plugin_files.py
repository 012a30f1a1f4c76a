"""Plugin files: Python that a user names and that is run, here and in the processes that read images."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

Sources = dict[str, tuple[str, bytes]]  # by the module's name: its file, and what stood in it

_sources: Sources = {}


def run_file(name: str, path: Path) -> ModuleType:
    """Runs a Python file as a module of that name; if it raises, there is no such module afterwards."""
    return _run(name, str(path), path.read_bytes())


def sources(pickled: bytes) -> Sources:
    """Returns the files that a pickle is made with, as they were when they were run: they may be edited meanwhile."""
    return {name: source for name, source in _sources.items() if name.encode() in pickled}


def run_again(files: Sources) -> None:
    """Runs the plugin files of another process that were not run in this one."""
    for name, (path, source) in files.items():
        if name not in _sources:
            _run(name, path, source)


def _run(name: str, path: str, source: bytes) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    _sources[name] = path, source
    try:
        exec(compile(source, path, 'exec', dont_inherit=True), vars(module))  # noqa: S102, a plugin is a program
    except BaseException:
        del sys.modules[name], _sources[name]
        raise
    return module
