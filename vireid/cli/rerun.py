"""Repeat a finished run from its folder and check that the results are identical.

The same machine and versions give the same numbers, bit for bit.

Exit status: 0 if all is equal, 1 if something differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vireid.boundary.paths import inside
from vireid.cli.arguments import add_plugin_arguments, make_manager, overrides_of
from vireid.cli.output import quiet_others
from vireid.core.errors import VireidError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid rerun`."""
    parser.add_argument('folder', type=Path, metavar='RUN', help='the folder of a finished run')
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='output folder (default: RUN-again)')
    parser.add_argument('--data-root', metavar='DIR', help="the dataset's folder, if it has moved")
    add_plugin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains again and prints what is equal and what is not."""
    import torch

    from vireid.core.distributed.processes import wait_for_all
    from vireid.core.training import checkpoint
    from vireid.core.training.run import RECORD
    from vireid.launch.launch import train
    from vireid.launch.resolve import resolve
    from vireid.reporting.record import read_made, scan_metrics
    from vireid.reporting.result_file import read

    first = read_made(inside(args.folder, RECORD))
    threads = first.get('machine', {}).get('threads')
    if threads is None:
        raise VireidError(f'{args.folder / RECORD} does not say how many threads the run had', todo='train it again')
    if read(args.folder) is None:
        raise VireidError(f'{args.folder} is not finished', todo='resume it first: vireid train ... --resume')
    work_dir = args.work_dir or args.folder.with_name(f'{args.folder.name}-again')
    if work_dir.exists():
        raise VireidError(f'{work_dir} exists', todo='give another --work-dir')
    config = str(inside(args.folder, 'config.yaml'))
    experiment = resolve(config, overrides_of(args), manager=make_manager(args))
    torch.set_num_threads(threads)  # sums are taken in another order by another number
    begun = first.get('init') or {}
    if begun and (not Path(begun['file']).is_file() or _weights(begun['file']) != begun['weights']):
        raise VireidError(
            f'{args.folder} began with the weights in {begun["file"]}, which are not there any more',
            todo='put them back; run.json has their digest',
        )
    train(experiment, work_dir, init=begun.get('file'), partial=begun.get('partial', False))
    quiet_others()
    second = read_made(work_dir / RECORD)
    last = [checkpoint.load(inside(folder, 'checkpoints/last.pt'))['model'] for folder in (args.folder, work_dir)]
    lines: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for folder, own in zip((args.folder, work_dir), lines, strict=True):

        def keep(line: dict[str, Any], _: bytes, own: list[dict[str, Any]] = own) -> None:
            own.append(line)

        scan_metrics(inside(folder, 'metrics.jsonl'), keep)
    rows = [(read(folder) or {}).get('rows') for folder in (args.folder, work_dir)]
    equal = {
        'weights': checkpoint.digest(last[0]) == checkpoint.digest(last[1]),
        'metrics.jsonl': lines[0] == lines[1],
        'result': rows[0] == rows[1],
    }
    print()
    for name, same in equal.items():
        print(f'{name:<14} {"identical" if same else "DIFFERENT"}')
    step = next((a.get('step') for a, b in zip(*lines, strict=False) if a != b), None)
    if step is not None:
        print(f'the first line of metrics.jsonl that differs is of step {step}')
    for key in ('config', 'data', 'git', 'versions', 'machine'):
        if first.get(key) != second.get(key):
            print(f'not the same: {key}\n  then: {first.get(key)}\n  now:  {second.get(key)}')
    wait_for_all()  # a launcher ends the others as soon as one has left
    return 0 if all(equal.values()) else 1


def _weights(path: str) -> str:
    from vireid.core.training import checkpoint

    return checkpoint.digest(checkpoint.load(path)['model'])
