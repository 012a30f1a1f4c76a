"""Reading configs: Python text, YAML or JSON with `_base_`, overrides from the command line, and writing them back.

A Python config is code and is run; YAML and JSON are data and execute nothing.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vireid.core.errors import VireidError, nearest

SUFFIXES = ('.py', '.yaml', '.yml', '.json')


def load(path: str | Path, options: Sequence[str] = ()) -> dict[str, Any]:
    """Reads a config with its bases.

    Top-level names that begin with `_` are the file's own scratch variables and are dropped.

    Args:
        path: a `.py`, `.yaml`, `.yml` or `.json` file.
        options: overrides such as `dataset.root=/data` or `images.size=[144,72]`, applied in order.

    Returns:
        Plain dicts, lists, tuples and scalars.

    Raises:
        VireidError: if the file or a base is missing, does not parse, or an option has no `=` or no place to go.
    """
    path = Path(path)
    if not path.is_file():
        beside = sorted(p.name for p in path.parent.glob('*') if p.suffix in SUFFIXES) if path.parent.is_dir() else []
        near = nearest(path.name, beside)
        hint = f', did you mean {path.parent / near}?' if near else ''
        raise VireidError(f'no config file {path}{hint}', allowed=', '.join(beside[:20]) or f'a {SUFFIXES} file')
    if path.suffix not in SUFFIXES:
        raise VireidError(f'{path} is no config', allowed=', '.join(SUFFIXES))
    config = _load_python(path) if path.suffix == '.py' else _load_data(path, ())
    config = {key: value for key, value in config.items() if not key.startswith('_')}
    for option in options:
        override(config, option)
    return config


def override(config: dict[str, Any], option: str) -> None:
    """Applies one `dotted.key=value` to `config` in place.

    The value is read as a Python literal or as true, false, null; anything else is a string. List items are
    addressed by position. The last key may be new (the component's signature decides whether it is accepted); what
    leads to it must exist.

    Raises:
        VireidError: without `=`, or if a part of the key does not exist.
    """
    key, equals, text = option.partition('=')
    parts = key.strip().split('.')
    if not equals or not all(parts):
        raise VireidError(
            f'option {option!r} is not key=value', todo='write for example --cfg-options training.epochs=2'
        )
    node: Any = config
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                raise VireidError(f'option {option!r}: {".".join(parts[:position])} has no item {part!r}',
                                  allowed=f'0 to {len(node) - 1}')  # fmt: skip
            index: Any = int(part)
        elif isinstance(node, dict):
            index = part
            if not last and part not in node:
                near = nearest(part, node)
                raise VireidError(
                    f'option {option!r}: no {part!r} in {".".join(parts[:position]) or "the config"}'
                    + (f', did you mean {near!r}?' if near else ''),
                    allowed=', '.join(map(str, node)),
                )
        else:
            raise VireidError(f'option {option!r}: {".".join(parts[:position])} is {node!r} and holds no keys')
        if last:
            node[index] = parse_value(text)
        elif isinstance(node[index], tuple):
            node[index] = list(node[index])
            node = node[index]
        else:
            node = node[index]


def parse_value(text: str) -> Any:
    """Reads the value of an option: a Python literal, true / false / null, or else the text itself."""
    text = text.strip()
    words = {'true': True, 'false': False, 'null': None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def dump(config: Mapping[str, Any]) -> str:
    """Writes a config as YAML that `load` reads back (tuples become lists)."""
    return yaml.safe_dump(_plain(config, tuples=list), sort_keys=False, allow_unicode=True, default_flow_style=None)


def _load_python(path: Path) -> dict[str, Any]:
    _refuse_imports(path)
    from mmengine.config import Config

    try:
        config = Config.fromfile(str(path), lazy_import=False, import_custom_modules=False)
    except VireidError:
        raise
    except Exception as error:  # the config is the user's code: whatever it raises is theirs to see
        raise VireidError(f'config {path} cannot be read: {type(error).__name__}: {error}') from error
    return _plain(config.to_dict())


def _refuse_imports(path: Path) -> None:
    """mmengine's text configs break on imports in ways that are hard to understand; say it plainly instead."""
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise VireidError(f'config {path} is not valid Python: {error}') from error
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            raise VireidError(
                f'config {path}, line {node.lineno}: configs hold no import statements',
                todo="name components by their registered name, for example type='MLFM'",
            )


def _load_data(path: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    """Reads YAML or JSON with `_base_`; merging is mmengine's, so `_delete_` works the same in every form."""
    if path.resolve() in chain:
        raise VireidError(f'config {path} is its own base: ' + ' -> '.join(str(p) for p in (*chain, path)))
    try:
        text = path.read_text(encoding='utf-8')
        config = json.loads(text) if path.suffix == '.json' else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise VireidError(f'config {path} cannot be read: {error}') from error
    if not isinstance(config, dict):
        raise VireidError(f'config {path} holds {type(config).__name__}', allowed='keys and values at the top level')
    from mmengine.config import Config

    bases = config.pop('_base_', [])
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        base_path = path.parent / base
        below = _load_data(base_path, (*chain, path.resolve())) if base_path.suffix != '.py' else load(base_path)
        merged = Config._merge_a_into_b(below, merged)
    return _plain(Config._merge_a_into_b(config, merged))


def _plain(value: Any, tuples: type = tuple) -> Any:
    """Copies a config into plain containers."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v, tuples) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuples(_plain(item, tuples) for item in value)
    if isinstance(value, list):
        return [_plain(item, tuples) for item in value]
    return value
