"""Where an error was raised."""

from __future__ import annotations

import traceback
from itertools import pairwise
from pathlib import Path

INTERCEPTS = {'__torch_dispatch__', '__torch_function__'}  # which observe the calls of others
LIBRARIES = {'torch', 'torchvision', 'lightning_fabric', 'numpy', 'scipy', 'timm', 'PIL'}


def raised_at(error: BaseException) -> str:
    """Returns the file and line where an error was raised: of a library, where it was called from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.name not in INTERCEPTS and not LIBRARIES.intersection(_packages(f.filename))]
    frame = (own or frames)[-1]
    return f'{frame.filename}, line {frame.lineno}'


def _packages(file: str) -> list[str]:
    """Returns the installed package that a file belongs to, if any."""
    parts = Path(file).parts
    return [after for folder, after in pairwise(parts) if folder in ('site-packages', 'dist-packages')]
