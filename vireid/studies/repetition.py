"""Repeats a finished run, and compares its weights, logged lines and result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vireid.boundary import checkpoint
from vireid.boundary.paths import inside
from vireid.core.config.experiment import Experiment
from vireid.core.training.run import RECORD
from vireid.errors import AlreadyExists, Changed, NotReady, UnsupportedFile
from vireid.launch.launch import train
from vireid.reporting import result_file
from vireid.reporting.record import read_provenance, scan_metrics


@dataclass(frozen=True)
class Repetition:
    """Two runs compared.

    Attributes:
        equal: whether they agree, by `weights`, `metrics.jsonl` and `result`.
        first_difference: step of the first line of `metrics.jsonl` that differs; None if there is none.
        changed: entries of `run.json` that differ, such as `versions`, with the values of both runs.
    """

    equal: dict[str, bool]
    first_difference: int | None
    changed: dict[str, tuple[Any, Any]]

    def text(self) -> str:
        """Returns one line per comparison, and what differs."""
        lines = [f'{name:<14} {"identical" if same else "DIFFERENT"}' for name, same in self.equal.items()]
        if self.first_difference is not None:
            lines.append(f'the first line of metrics.jsonl that differs is at step {self.first_difference}')
        for key, (then, now) in self.changed.items():
            what = 'config, or a plugin file,' if key == 'config' else key
            lines.append(f'{what} differs\n  then: {then}\n  now:  {now}')
        return '\n'.join(lines)


def read_finished(folder: Path) -> dict[str, Any]:
    """Reads what is recorded about a run that can be repeated.

    Raises:
        VireidError: if the run is not finished or does not record its number of threads.
    """
    record = read_provenance(inside(folder, RECORD))
    if record.get('machine', {}).get('threads') is None:
        raise UnsupportedFile(f'{folder / RECORD} does not record the number of threads', todo='train the run again')
    if result_file.read(folder) is None:
        raise NotReady(f'{folder} is not finished', todo='resume it first: vireid train ... --resume')
    return record


def repeat(experiment: Experiment, folder: Path, work_dir: Path, record: Mapping[str, Any]) -> Repetition:
    """Trains a run again and compares both.

    Args:
        experiment: the config of the finished run.
        folder: the finished run.
        work_dir: the folder of the repetition, a new one.
        record: what `read_finished` returned.

    Returns:
        The comparison.

    Raises:
        VireidError: if the folder exists, or the initial weights of the run are missing or have changed.
    """
    if work_dir.exists():
        raise AlreadyExists(f'{work_dir} exists', todo='choose another --work-dir')
    torch.set_num_threads(record['machine']['threads'])  # the number of threads decides the order of sums
    init = record.get('init') or {}
    if init and (not Path(init['file']).is_file() or _digest(init['file']) != init['weights']):
        raise Changed(
            f'{folder} was initialized from the weights in {init["file"]}, which are missing or have changed',
            todo='restore them; run.json has their digest',
        )
    if init:
        initial = {'training.init': init['file'], 'training.init_partial': init.get('partial', False)}
        experiment = experiment.with_overrides(initial)
    train(experiment, work_dir)
    repeated = read_provenance(work_dir / RECORD)
    folders = (folder, work_dir)
    weights = [_digest(inside(each, 'checkpoints/last.pt')) for each in folders]
    lines = [_logged(each) for each in folders]
    rows = [(result_file.read(each) or {}).get('rows') for each in folders]
    keys = [key for key in ('config', 'data', 'git', 'versions', 'machine') if record.get(key) != repeated.get(key)]
    return Repetition(
        {
            'weights': weights[0] == weights[1],
            'metrics.jsonl': lines[0] == lines[1],
            'result': rows[0] == rows[1],
        },
        next((a.get('step') for a, b in zip(*lines, strict=False) if a != b), None),
        {key: (record.get(key), repeated.get(key)) for key in keys},
    )


def _logged(folder: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    scan_metrics(inside(folder, 'metrics.jsonl'), lambda line, _: lines.append(line))
    return lines


def _digest(path: str | Path) -> str:
    return checkpoint.digest(checkpoint.load(path)['model'])
