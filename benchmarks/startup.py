"""How long the commands take that a user waits for, and whether they load torch.

Each is started several times in a process of its own, the commands in turn; medians, and the ratio to importing torch
and torchvision, which tells a slow machine from a slow command.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
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


def run(words: list[str]) -> str:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeat', type=int, default=15)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(parser.parse_args().repeat + 1):
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
