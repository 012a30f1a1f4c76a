"""The id under which a tracker knows a run, kept in the folder of the run."""

from __future__ import annotations

import re
from pathlib import Path

from vireid.boundary.reading import read_text, reads
from vireid.core.errors import VireidError


@reads('the id of a run', '*_run_id.txt', todo='delete it, and the run is logged as a new one')
def read_run_id(path: Path) -> str:
    """Reads the id.

    Raises:
        VireidError: if it is none.
    """
    found = read_text(path, 1000).strip()
    if not re.fullmatch(r'[0-9a-f]{32}', found):
        raise VireidError(f'{path} holds no id of a run', allowed='32 hexadecimal digits', todo='delete the file')
    return found
