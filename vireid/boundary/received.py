"""What a data config (YAML or JSON) must not do without your consent: contact a server, or write outside the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vireid.boundary.paths import is_inside
from vireid.errors import UnsafeFile

DATA = ('.yaml', '.yml', '.json')
ADDRESS = re.compile(r'[a-z][a-z0-9+.-]+://|\\\\', re.IGNORECASE)  # a URL, or a Windows network share


def require_data(name: str, locate: Callable[[], Path], path: Path, what: str, trust: bool = False) -> None:
    """Requires that a file that a data config refers to is data too, in the config's folder or below.

    Args:
        name: the file's name in the config.
        locate: returns the path of the file.
        path: the data config.
        what: the role of the file in the config: `base` or `stage`.
        trust: allow files outside the folder.

    Raises:
        UnsafeFile: if the file is Python, of another type, or outside the folder.
    """
    python = Path(name).suffix == '.py'
    file = path if python else locate()
    real = Path(file.resolve())  # the file that is opened: a link may have another suffix
    if python or real.suffix == '.py':
        raise UnsafeFile(
            f'config {path}: its {what} {name} is Python, and loading {path.suffix} files never executes code',
            todo=f'write the {what} as YAML; if you trust {name}, convert it: vireid train {name} --print-config',
        )
    folder = path.parent
    outside = '::' not in name and (Path(name).is_absolute() or '..' in Path(name).parts or not is_inside(file, folder))
    if real.suffix not in DATA or (outside and not trust):
        raise UnsafeFile(
            f'config {path}: its {what} is {name}, and a YAML or JSON config cannot refer to files outside its folder',
            allowed=f'a {" or ".join(DATA)} file below {folder}, without ..',
            todo='copy the file into the folder; or, if you trust this config, add --trust-config (from Python: '
            'trust_config=True)',
        )


def require_no_address(config: Mapping[str, Any], path: Path) -> None:
    """Raises UnsafeFile if a data config has an address outside its loggers, whose addresses `leave_out` drops."""
    for place, text in texts({key: value for key, value in config.items() if key != 'loggers'}):
        if ADDRESS.match(text.strip()):
            raise UnsafeFile(
                f'config {path}: {place} is the address {text!r}, which a YAML or JSON config cannot set',
                allowed='a local path',
                todo=f"if you trust it, remove {place} from the file and set it yourself: --cfg-options {place}='...'",
            )


def texts(value: Any, place: str = '') -> Iterator[tuple[str, str]]:
    """Yields the strings in nested values, each with its dotted path."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts(item, f'{place}.{key}' if place else str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from texts(item, f'{place}.{number}')
