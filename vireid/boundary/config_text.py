"""Reads and writes configs as YAML and JSON text: plain values, without bases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from vireid.boundary.malformed import kind_of
from vireid.boundary.reading import parse_json, read_text, reads, require_small
from vireid.boundary.received import DATA
from vireid.boundary.yaml_text import NODES, Dumper, Loader
from vireid.errors import UnsupportedFile, VireidError, WrongContent, WrongValue

BYTES = 2**20  # size limit of a YAML or JSON config; vireid's own take 20 KiB


def dump(config: Mapping[str, Any]) -> str:
    """Returns a config as YAML that can be read again; tuples become lists."""
    content = plain(config, 'config', tuples=list)
    return yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None)


def dump_value(value: Any) -> str:
    """Returns one value as YAML on one line."""
    content = plain(value, '', tuples=list)
    text = yaml.dump(content, Dumper=Dumper, default_flow_style=True, width=10**6, sort_keys=False)
    return text.removesuffix('\n').removesuffix('\n...')


def read_record(path: Path) -> dict[str, Any]:
    """Reads a YAML or JSON config literally, for display: the files it refers to are not opened.

    Raises:
        VireidError: if it cannot be read.
    """
    if path.suffix not in DATA:
        raise UnsupportedFile(f'{path} is not a YAML or JSON config', allowed=', '.join(DATA))
    return plain(read_data(path), f'config {path}')


@reads('a config', '*.yaml', '*.yml', '*.json')
def read_data(path: Path) -> dict[str, Any]:
    """Reads a YAML or JSON config as plain values, without its bases.

    Raises:
        VireidError: if it cannot be read, or is not a dict.
    """
    try:
        text = read_text(path, BYTES)
        if path.suffix == '.json':
            config = parse_json(text)
            require_small(config, NODES)
        else:
            config = yaml.load(text, Loader=Loader)  # noqa: S506, a SafeLoader with limits
    except RecursionError:
        raise
    except VireidError as error:
        raise error.reworded(f'config {path}, {error.given}', todo=error.todo) from error
    except Exception as error:  # a damaged file may fail in any way
        why = error if str(error) else type(error).__name__
        raise kind_of(error)(f'config {path} cannot be read: {why}') from error
    if not isinstance(config, dict):
        raise WrongContent(
            f'config {path} contains a {type(config).__name__}', allowed='keys and values at the top level'
        )
    return config


def plain(value: Any, where: str, tuples: type = tuple) -> Any:
    """Copies a config into plain containers.

    Args:
        value: the config, or a part of it.
        where: its place, for messages.
        tuples: the type of the copies of tuples.

    Raises:
        WrongValue: if it contains a value that is not plain.
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v, f'{where}: {k}', tuples) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuples(plain(item, where, tuples) for item in value)
    if isinstance(value, list):
        return [plain(item, where, tuples) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise WrongValue(
        f'{where} is {value!r} ({type(value).__name__})',
        allowed='dicts, lists, tuples, strings, numbers, True, False, None',
    )
