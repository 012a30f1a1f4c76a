"""Freed memory stays in the process on glibc, unless the environment says otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# allocates and frees 64 MB a hundred times; page faults show whether the system provided them anew
FAULTS = """
import resource, sys
from vireid.runtime.allocator import keep_freed_memory
done = keep_freed_memory() if sys.argv[1] == 'keep' else None
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(2**26)
before = faults()
for _ in range(20):
    bytearray(2**26)
print(done, faults() - before)
"""


def run(mode: str, **environment: str) -> list[str]:
    """Returns what `keep_freed_memory` returned, and the page faults of 20 allocations of 64 MB."""
    words = [sys.executable, '-c', FAULTS, mode]
    keep = {'PATH': '/usr/bin:/bin', 'PYTHONPATH': ':'.join(sys.path)}
    return subprocess.run(words, capture_output=True, text=True, check=True, env=keep | environment).stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='glibc alone has these settings')
def test_freed_memory_is_used_again():
    _, before = run('leave')
    done, after = run('keep')
    assert done == 'True'
    assert int(before) > 20 * 2**26 // 2**21  # at least one fault for each huge page of each allocation
    assert int(after) < int(before) / 10


def test_settings_of_the_environment_are_left_alone():
    assert run('keep', MALLOC_TRIM_THRESHOLD_='1000000')[0] == 'False'
    assert run('keep', GLIBC_TUNABLES='glibc.malloc.arena_max=2')[0] == 'False'
