"""Killed at moments chosen by seed, in every phase, a resumed run ends as one that was left alone, bit for bit.

The long version: `python benchmarks/faults.py --kills 200`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_dozen_kills_change_nothing() -> None:
    words = [sys.executable, str(ROOT / 'benchmarks' / 'faults.py'), '--kills', '12', '--seed', '0']
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    last = found.stdout.splitlines()[-1]
    assert last.startswith('12 of 12 killed runs ended as the uninterrupted one, bit for bit'), last
    assert re.findall(r'3 (\w+) \(of', last) == ['step', 'between', 'saving', 'scoring']
