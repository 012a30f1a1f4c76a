"""How long a reproduction takes, in words, and why one may not start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from vireid.console.progress_bar import progress_bar
from vireid.console.wording import counted
from vireid.errors import Mismatch, Unavailable
from vireid.launch.cost import DEVICES, hours
from vireid.studies import reproduction
from vireid.studies.ablation import Row, unique_runs
from vireid.studies.reproduction import Plan


@dataclass(frozen=True)
class Estimate:
    """The estimated time of runs, one after the other.

    Attributes:
        hours: by device, GPUs first; only the GPU of this machine if its speed is known.
        has_gpu: whether this machine has a GPU.
    """

    hours: dict[str, float]
    has_gpu: bool

    def text(self) -> str:
        """Returns a line for each device."""
        lines = [f'  {name}: {_time(value)} ({DEVICES[name].basis})' for name, value in self.hours.items()]
        return '\n'.join(['estimated time, one run after the other:', *lines])

    def without_gpu(self) -> Unavailable:
        """Returns the error that the processor takes too long to start without asking."""
        processor, value = list(self.hours.items())[-1]
        return Unavailable(
            f'there is no GPU here, and training takes about {_time(value)} on {processor}',
            todo='use a machine with a GPU, or a cluster (--launcher slurm); or add --yes to train here anyway',
        )


def estimate(jobs: Sequence[Row], on_progress: Callable[[int, int], None]) -> Estimate:
    """Estimates the time of runs.

    Args:
        jobs: the runs.
        on_progress: called with (done, total) configs.

    Raises:
        VireidError: if an experiment cannot be priced.
    """
    processor, *gpus = DEVICES
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ''
    known = [name for name in gpus if name in gpu] or gpus
    costs = reproduction.estimate_hours(jobs, [processor, *known], on_progress)
    return Estimate({name: costs[name] for name in (*known, processor)}, bool(gpu))


def confirm(
    whole: Plan,
    ask: Callable[[str, bool], bool] | None,
    dry_run: bool = False,
    elsewhere: bool = False,
    log: Callable[[str], None] = print,
) -> bool:
    """Reports what is to be trained and how long it takes.

    Args:
        whole: the runs.
        ask: asks a question with a default answer; None without a terminal to ask on.
        dry_run: only report it.
        elsewhere: train without asking, although this machine may have no GPU.
        log: called with each line.

    Returns:
        Whether to start; without a GPU, this is the user's answer.

    Raises:
        Unavailable: if there is no GPU, and no terminal to ask on.
    """
    jobs, total = reproduction.missing(whole), len(unique_runs(whole.tables))
    log(f'{whole.data}: {counted(total, "run")}, {total - len(jobs)} finished')
    if not jobs:
        return not dry_run
    with progress_bar('estimating') as show:
        estimated = estimate(jobs, show)
    log(estimated.text())
    if dry_run:
        return False
    if estimated.has_gpu or elsewhere:
        return True
    if ask is None:
        raise estimated.without_gpu()
    return ask('There is no GPU here. Train on the processor anyway?', False)


def require_comparable(whole: Plan) -> None:
    """Requires the data and the settings of the paper.

    Raises:
        Mismatch: if they differ.
    """
    reasons = list(dict.fromkeys(whole.reasons.values()))
    if reasons:
        raise Mismatch(
            f'nothing could be compared with the paper: {"; ".join(reasons)}',
            todo='use the data and settings of the paper (vireid data check counts the images), or add '
            '--allow-differences to run anyway; then the figures are marked "not comparable"',
        )


def _time(value: float) -> str:
    """Formats hours; from two days on as days, below one hour as minutes."""
    if value < 1 / 60:
        return 'less than a minute'
    if value < 1:
        return counted(round(60 * value), 'minute')
    return f'{hours(value / 24)} days' if value >= 48 else f'{hours(value)} hours'
