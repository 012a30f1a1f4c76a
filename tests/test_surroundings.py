"""Users without a name, a home or rights, as in containers and on clusters."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(os.name != 'posix', reason='Windows knows no HOME')
def test_a_user_without_a_home_has_one_that_nothing_is_written_into():
    """yapf, which mmengine imports, looks for a cache there when it is imported, and fails without an absolute path."""
    code = 'import os, vireid.core.config.files as f; f.lay_over({}, {}, ""); print(os.environ["HOME"])'
    environment = {**os.environ, 'HOME': ''}
    made = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)
    assert (made.stdout, made.returncode) == (f'{os.devnull}\n', 0), made.stderr
