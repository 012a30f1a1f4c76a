"""Train TFFN on synthetic people, draw its ranking lists after a minute or two, and write a report.

Nothing is downloaded. The people are written to data/demo and the run to runs/tffn_demo, below the current folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from shlex import quote

from vireid.cli.output import run_step

DATA, IDS = 'data/demo', 120
CONFIG, RUN = 'vireid::tffn_demo.py', 'tffn_demo'
FUSION = 'model.necks.mlfm={"type": "GatedFusion", "inputs": ["s2", "s3", "s4"]}'  # quoted in a shell without escapes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`vireid demo` has no flags: its steps are commands that have them."""


def run(args: argparse.Namespace) -> int:
    """Generates the people, trains, and prints what to do next."""
    from vireid.launch.run_folder import free_folder

    work_dir = free_folder(Path('runs'), RUN)
    if status := (
        run_step('data', 'synth', '--layout', 'sysu', '--ids', str(IDS), '--seed', '0', DATA)
        or run_step('train', CONFIG, '--data-root', DATA, '--work-dir', str(work_dir))
    ):
        return status
    vireid, folder = _command(), quote(str(work_dir))
    print(
        '\nnext:\n'
        f'  {vireid} train {CONFIG} --data-root {DATA} --cfg-options {quote(FUSION)}\n'
        '      trains the same network with another fusion module; add --dry-run to only try it\n'
        f'  {vireid} index {DATA} -o data/index --checkpoint {folder}/checkpoints/last.pt\n'
        '      makes the images searchable: then vireid search data/index IMAGE --html found.html\n'
        f'  {vireid} train vireid::tffn_sysu.py --data-root SYSU-MM01\n'
        '      trains the network of the paper, if you have that dataset and a GPU'
    )
    return 0


def _command() -> str:
    """Returns how to call vireid here; `make demo` runs it without activating its environment."""
    return 'vireid' if shutil.which('vireid') else f'{quote(os.path.relpath(sys.executable))} -m vireid'
