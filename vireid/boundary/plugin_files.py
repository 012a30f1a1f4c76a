"""Plugin files: Python files that a user names and that run in this process and in the data-loading workers."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

Sources = dict[str, tuple[str, bytes]]  # by module name: the file, and its content

_sources: Sources = {}


def run_file(name: str, path: Path) -> ModuleType:
    """Runs a Python file as a module of the given name; if it raises, the module does not exist afterwards."""
    return _run(name, str(path), path.read_bytes())


def code_digests(files: Iterable[str | Path]) -> dict[str, str]:
    """Returns a SHA-256 of the code in each Python file, by name; comments, docstrings and layout do not change it."""
    return {Path(file).name: _code_digest(Path(file).read_bytes()) for file in files}


def _code_digest(source: bytes) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def sources(pickled: bytes) -> Sources:
    """Returns the plugin files that a pickle needs, with the content that was run: the files may have changed since."""
    return {name: source for name, source in _sources.items() if name.encode() in pickled}


def run_again(files: Sources) -> None:
    """Runs another process's plugin files that have not been run in this one."""
    for name, (path, source) in files.items():
        if name not in _sources:
            _run(name, path, source)


def _run(name: str, path: str, source: bytes) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    _sources[name] = path, source
    if (folder := str(Path(path).resolve().parent)) not in sys.path:
        sys.path.append(folder)  # it may import its neighbors; last, so that they hide no installed module
    try:
        exec(compile(source, path, 'exec', dont_inherit=True), vars(module))  # noqa: S102, a plugin is a program
    except BaseException:
        del sys.modules[name], _sources[name]
        raise
    return module
