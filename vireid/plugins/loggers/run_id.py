"""Reads a tracker's run ID from the run folder."""

from __future__ import annotations

import re
from pathlib import Path

from vireid.boundary.reading import read_text, reads


@reads('a run ID', '*_run_id.txt', allowed='32 hexadecimal digits', todo='delete it to log the run as a new one')
def read_run_id(path: Path) -> str:
    """Returns the run ID in a file.

    Raises:
        DamagedFile: if the file has no run ID.
    """
    run_id = read_text(path, 1000).strip()
    if not re.fullmatch(r'[0-9a-f]{32}', run_id):
        raise ValueError(f'it contains {run_id[:40]!r}')
    return run_id
