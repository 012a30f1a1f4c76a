"""One run: what observers see of it, on what devices it is, and that its folder is written by one process."""

from __future__ import annotations

import logging
import math
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from vireid.core.config.experiment import Experiment
from vireid.core.data.images import fingerprint
from vireid.core.data.randomness import reseed
from vireid.core.distributed.processes import gather_objects, world
from vireid.core.errors import VireidError
from vireid.core.training import precision
from vireid.core.types import Batch, Progress, Sample


@dataclass
class Run:
    """What observers see of a run.

    Attributes:
        experiment: the config, checked.
        work_dir: where everything of the run is written.
        model: the model being trained.
        device: where it is.
        progress: where the run stands at its start.
        samples: the training samples.
        split: which part of the dataset this is, if it has several (`trial 3`), else empty.
        precision_reason: where the precision of its config comes from, in a few words.
        unreadable: training pictures that could not be read so far, where the config lets them be skipped.
        skipped: steps that were left out so far, since their loss or gradient was not finite.
    """

    experiment: Experiment
    work_dir: Path
    model: nn.Module
    device: torch.device
    progress: Progress
    samples: tuple[Sample, ...] = ()
    split: str = ''
    precision_reason: str = ''
    unreadable: list[str] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)

    def note_unreadable(self, paths: list[str]) -> None:
        """Notes training pictures that could not be read; says so once for each."""
        for path in paths:
            if path not in self.unreadable:
                self.unreadable.append(path)
                print(f'warning: {path} cannot be read; another picture stands for it', file=sys.stderr)

    def share_unreadable(self) -> None:
        """Gives every process the list of all."""
        if self.experiment.image_settings.on_bad_image == 'skip':
            every = gather_objects(self.unreadable)
            self.unreadable = sorted({path for own in every for path in own}) if len(every) > 1 else every[0]

    def note_skipped(self, progress: Progress, record: dict[str, Any]) -> None:
        """Notes the step that was taken last if it was left out; says so."""
        if 'skipped' in record:
            self.skipped.append(progress.step)
            if world()[0] == 0:
                what = 'loss' if not math.isfinite(record['loss']) else 'gradient'
                print(f'warning: step {progress.step:,} is left out: its {what} is not finite', file=sys.stderr)

    @cached_property
    def fingerprint(self) -> np.ndarray:
        """Numbers of the training pictures, by which a test on them is noticed."""
        return fingerprint(self.samples)

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.work_dir / 'checkpoints' / 'last.pt'

    @property
    def best(self) -> Path:
        """The checkpoint of the best weights, where the experiment chooses some."""
        return self.work_dir / 'checkpoints' / 'best.pt'


def make_fabric(experiment: Experiment) -> Fabric:
    """Starts lightning-fabric with the experiment's devices and precision, quietly."""
    settings = experiment.training_settings
    chosen = precision.resolve(experiment.training).name
    _require_as_launched(settings.devices, settings.nodes)
    logging.getLogger('lightning_fabric').setLevel(logging.ERROR)
    warnings.filterwarnings('ignore', module='lightning_fabric')
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy=settings.strategy,
            precision=chosen,  # type: ignore[arg-type]
        )
    except Exception as error:  # Fabric has several of its own
        raise VireidError(
            f'training: accelerator {settings.accelerator!r}, devices {settings.devices!r}, '
            f'precision {chosen!r} do not work here: {error}',
            allowed="precision 'auto', '32-true' or 'bf16-mixed' anywhere, '16-mixed' on a GPU; --devices 1 or more",
        ) from error
    fabric.launch()
    if len(set(found := gather_objects(chosen))) > 1:
        raise VireidError(
            f"training.precision is 'auto' and the machines choose {', '.join(sorted(set(found)))}",
            todo='name one of them: --precision 32-true',
        )
    return fabric


def _require_as_launched(devices: int | str, nodes: int) -> None:
    """Raises if torchrun started other processes than the config asks for; warns if srun did."""
    tasks = int(os.environ.get('SLURM_STEP_NUM_TASKS', '1'))
    if tasks > 1 and devices == nodes == 1:  # which may be meant: a trial each
        print(f'warning: srun started {tasks} tasks; each is a run of its own, since --devices is 1', file=sys.stderr)
    if nodes > 1 and not {'TORCHELASTIC_RUN_ID', 'SLURM_NTASKS', 'MASTER_ADDR'} & os.environ.keys():
        raise VireidError(
            f'training.nodes is {nodes} and nothing says where the other machines are',
            todo='start each with torchrun, or all with srun, or take training.nodes away',
        )
    if 'TORCHELASTIC_RUN_ID' not in os.environ:
        return
    started, total = int(os.environ['LOCAL_WORLD_SIZE']), int(os.environ['WORLD_SIZE'])
    machines = total // started
    if (devices, nodes) != (started, machines):
        raise VireidError(
            f'torchrun started {started} processes on each of {machines} machines; training.devices is {devices!r} '
            f'and training.nodes {nodes}',
            todo=f'--devices {started}' + (f' --cfg-options training.nodes={machines}' if machines != nodes else ''),
        )


def agreed(fabric: Fabric, *flags: bool) -> list[bool]:
    """Says of each flag whether any process raised it; all get the same answer, so that none waits for another."""
    if fabric.world_size == 1:
        return list(flags)
    raised: Any = fabric.all_reduce(
        torch.tensor([float(flag) for flag in flags], device=fabric.device), reduce_op='sum'
    )
    return [count > 0 for count in raised.tolist()]


def seed_step(run: Run, progress: Progress, rank: int) -> None:
    """Makes what a step draws, such as dropout, a function of (seed, step, process): nothing is lost on resuming."""
    value = reseed(run.experiment.seed, 'step', progress.step, rank)
    if run.device.type != 'cpu':
        torch.manual_seed(value)  # of all devices


def is_finite(record: dict[str, Any]) -> bool:
    """Says whether a step's loss is a number, and its gradient's norm, where that is known."""
    return math.isfinite(record['loss']) and math.isfinite(record.get('gradient', 0.0))


def not_finite(record: dict[str, Any], batch: Batch, run: Run) -> VireidError:
    """Says that a run cannot go on since its loss is NaN or infinite: of what task, on what pictures, and what then."""
    bad = [name for name, value in record.get('tasks', {}).items() if not math.isfinite(value)] or ['the weighted sum']
    what = f'the loss is {record["loss"]} (from {", ".join(bad)})'
    if math.isfinite(record['loss']):
        what = f"the gradient's norm is {record['gradient']} (the loss is {record['loss']:.4g})"
    paths = [path for found in batch.paths.values() for path in found]
    share = ' of which this process has the part' if world()[1] > 1 else ''
    last = f'; the last good checkpoint is {run.checkpoint}' if run.checkpoint.exists() else ''
    return VireidError(
        f'{what} on a batch{share} with {paths[0]} and {len(paths) - 1} others{last}',
        todo='go on with --resume and step.clip_norm, --precision 32-true, or step.skip_nonfinite, the number of such '
        'steps that may be left out; or begin anew with a lower learning rate',
    )


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing to a run's folder meanwhile.

    Raises:
        VireidError: if one does already.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    _HELD.add(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it goes with the process, however that ends
    except BlockingIOError as error:
        _HELD.discard(handle)
        os.close(handle)
        raise VireidError(
            f'another process is writing to {folder}', todo='wait for it, or choose another --work-dir'
        ) from error
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        _HELD.discard(handle)
        os.close(handle)


_HELD: set[int] = set()  # folders that this process holds


def _let_go() -> None:
    """In a child: a loader process that outlives a killed run must not keep its folder from the next one."""
    for handle in _HELD:
        os.close(handle)
    _HELD.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_let_go)
