"""How long the commands take that a user waits for, and whether they load torch.

Each is started several times in a process of its own, the commands in turn; medians, and the ratio to importing torch
and torchvision, which tells a slow machine from a slow command.

`--first-step` times `vireid train` until its first step instead, on a few generated people: as it is, and with the
imports first that it puts off. These are seconds of the processor, which other processes disturb less than the clock.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = {
    'import torch': ['-c', 'import torch, torchvision'],
    'vireid --help': ['-m', 'vireid', '--help'],
    'vireid plugins': ['-m', 'vireid', 'plugins'],
    'vireid components': ['-m', 'vireid', 'components'],
    'vireid config check': ['-m', 'vireid', 'config', 'check', 'configs/tffn_sysu.py'],
    'vireid config show': ['-m', 'vireid', 'config', 'show', 'configs/tffn_sysu.py'],
}
WITHOUT_TORCH = 'import sys; from vireid.cli import main; main(sys.argv[1:]); print("torch" in sys.modules)'
FIRST_STEP = """
import os, vireid

@vireid.hookimpl
def step_ended(run):
    os._exit(0)
"""
PUT_OFF = 'import torch._dynamo, scipy.optimize, scipy.special, matplotlib'
TRAIN = 'import sys; from vireid.cli import main; main(sys.argv[1:])'


def first_step(repeat: int) -> None:
    """Compares `vireid train` until its first step with the same after the imports that it puts off."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'stop.py').write_text(FIRST_STEP)
        run(['-m', 'vireid', 'data', 'synth', f'{folder}/data', '--ids', '10', '--images', '2', '--workers', '1'])
        options = ['images.size=[48,24]', 'training.precision=32-true', 'sampler.identities=2']
        words = ['train', 'configs/tffn_demo.py', '--data-root', f'{folder}/data', '--plugin', f'{folder}/stop.py']
        codes = {'as it is': TRAIN, 'with all imports': f'{PUT_OFF}; {TRAIN}'}
        times: dict[str, list[float]] = {kind: [] for kind in codes}
        for turn in range(repeat + 1):
            for kind, code in codes.items():
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                run(['-c', code, *words, '--work-dir', f'{folder}/{kind}{turn}', '--cfg-options', *options])
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                if turn:  # the first is not warm
                    times[kind].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    for kind, found in times.items():
        print(f'{kind:<17} {statistics.median(found):.2f} s of the processor ({min(found):.2f} to {max(found):.2f})')
    ratios = [a / b for a, b in zip(*times.values(), strict=True)]
    print(f'ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {repeat} in turns')
    print(f'load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores')


def run(words: list[str]) -> str:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeat', type=int, default=15)
    parser.add_argument('--first-step', action='store_true', help='time vireid train until its first step')
    args = parser.parse_args()
    if args.first_step:
        first_step(args.repeat)
        return
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(args.repeat + 1):
        for name, words in COMMANDS.items():
            start = time.perf_counter()
            run(words)
            if turn:  # the first is not warm
                times[name].append(time.perf_counter() - start)
    base = statistics.median(times['import torch'])
    for name, found in times.items():
        middle = statistics.median(found)
        print(f'{name:<22} {middle:.3f} s  (worst {max(found):.3f})  {middle / base:.2f} of import torch, torchvision')
    for name, words in COMMANDS.items():
        if words[:2] == ['-m', 'vireid'] and '--help' not in words:
            print(f'{name}: torch loaded: {run(["-c", WITHOUT_TORCH, *words[2:]]).splitlines()[-1]}')


if __name__ == '__main__':
    main()
