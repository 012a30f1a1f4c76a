"""Commands for launchers, and waiting for them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vireid.launcher_types import JobCommand


@pytest.fixture
def command(tmp_path: Path) -> Any:
    """Returns a function that makes the command of a Python program."""
    made: list[str] = []

    def make(program: str, devices: int = 1) -> JobCommand:
        made.append(program)
        words = (sys.executable, '-c', program)
        return JobCommand(f'run {len(made)}', words, tmp_path / f'{len(made)}.log', devices)

    return make


@pytest.fixture
def until() -> Any:
    """Returns a function that waits until something is true of a launcher's states, by default that all have ended."""

    def wait(launcher: Any, reached: Any = lambda states: all(s.status == 'ended' for s in states)) -> Any:
        for _ in range(6000):
            states = launcher.states()
            if reached(states):
                return states
            time.sleep(0.01)
        raise AssertionError(states)

    return wait
