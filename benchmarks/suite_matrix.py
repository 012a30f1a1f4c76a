"""The whole suite under the instruction sets, threads and random examples that other machines would bring.

Prints a line for each setting: what was set, pytest's closing line, the minutes. The first setting is the ordinary one.
`default` and `avx2` limit ATen's kernels, `ONEDNN_MAX_CPU_ISA` oneDNN's; together with AVX2 they imitate a laptop.

    python benchmarks/suite_matrix.py               # every setting by itself, and the laptop: nine runs
    python benchmarks/suite_matrix.py --only 1,3    # these of them
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Setting(NamedTuple):
    """What one run of the suite is started with; None leaves a variable unset."""

    aten: str | None = None
    onednn: str | None = None
    threads: int = 1
    seed: int | None = None  # of hypothesis; None draws the suite's own examples

    def name(self) -> str:
        return (
            f'ATEN_CPU_CAPABILITY={self.aten or "-":<8} ONEDNN_MAX_CPU_ISA={self.onednn or "-":<5} '
            f'threads={self.threads} seed={"-" if self.seed is None else self.seed}'
        )


SETTINGS = (
    Setting(),
    Setting(aten='default', seed=1),
    Setting(aten='avx2', onednn='AVX2', threads=2, seed=2),
    Setting(onednn='AVX2', seed=3),
    Setting(threads=2),
    Setting(aten='default', onednn='AVX2', threads=2),
    Setting(aten='avx2'),
    Setting(aten='avx2', onednn='AVX2'),
    Setting(aten='default', threads=2),
)


def run(setting: Setting, words: list[str]) -> tuple[str, float, int]:
    """Returns pytest's closing line, the seconds it took and its exit status; failures are printed."""
    environment = {k: v for k, v in os.environ.items() if k not in ('ATEN_CPU_CAPABILITY', 'ONEDNN_MAX_CPU_ISA')}
    environment['OMP_NUM_THREADS'] = str(setting.threads)
    if setting.aten:
        environment['ATEN_CPU_CAPABILITY'] = setting.aten
    if setting.onednn:
        environment['ONEDNN_MAX_CPU_ISA'] = setting.onednn
    # two processes of one thread, or one process of two: more would wait for each other
    flags = ['-n', '2', '--dist', 'loadfile', '--no-loadscope-reorder'] if setting.threads == 1 else []
    if setting.seed is not None:
        flags += ['--hypothesis-profile=random', f'--hypothesis-seed={setting.seed}']
    start = time.perf_counter()
    found = subprocess.run(
        [sys.executable, '-m', 'pytest', *flags, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    lines = found.stdout.strip().splitlines()
    for line in lines:
        if line.startswith(('FAILED', 'ERROR')):
            print(f'  {line}', flush=True)
    closing = re.sub(r' in .*', '', lines[-1].strip('= ')) if lines else found.stderr[-200:]
    return closing, time.perf_counter() - start, found.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', metavar='N,N', help=f'settings, 0 to {len(SETTINGS) - 1}')
    parser.add_argument('pytest', nargs='*', help='what pytest is given, such as tests/core')
    arguments = parser.parse_args()
    chosen = range(len(SETTINGS)) if arguments.only is None else map(int, arguments.only.split(','))
    failed = False
    for number in chosen:
        setting = SETTINGS[number]
        closing, seconds, status = run(setting, arguments.pytest)
        failed |= status != 0
        print(f'{number} {setting.name()}: {closing}, {seconds / 60:.1f} minutes', flush=True)
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
