"""Python configs: programs without imports."""

from __future__ import annotations

import ast
import traceback
from pathlib import Path
from typing import Any

from vireid.boundary.yaml_text import require_once
from vireid.errors import DamagedFile, UnsafeFile


def run_python(path: Path) -> dict[str, Any]:
    """Executes a Python config, which must not import anything, and returns its top-level names."""
    try:
        tree = ast.parse(path.read_text(encoding='utf-8-sig'), filename=str(path))
    except (SyntaxError, ValueError) as error:
        raise DamagedFile(f'config {path} is not valid Python: {error}') from error
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            raise UnsafeFile(
                f'config {path}, line {node.lineno}: configs cannot contain import statements',
                todo="refer to components by their registered name, for example type='MLFM'",
            )
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            require_once(keys, f'config {path}, line {node.lineno}')
    names: dict[str, Any] = {}
    try:
        exec(compile(tree, str(path), 'exec'), names)  # noqa: S102, a Python config is a program
    except (Exception, SystemExit) as error:  # the config is the user's code and may raise anything
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        place = f'{path}, line {lines[-1]}' if lines else str(path)
        todo = "if it is the name of a component, quote it: type='MLFM'" if isinstance(error, NameError) else None
        raise DamagedFile(f'config {place}: {type(error).__name__}: {error}', todo=todo) from error
    return {key: value for key, value in names.items() if key == '_base_' or not key.startswith('_')}
