"""Output of several processes: only the first one prints."""

from __future__ import annotations

import os
import sys

from vireid.runtime.processes import world


def quiet_others() -> None:
    """Silences stdout on every process but rank 0; all processes still print their errors."""
    if world()[0] > 0 and sys.stdout.name != os.devnull:
        sys.stdout = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115, until the process ends
