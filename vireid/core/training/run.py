"""A run, as callbacks see it."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vireid.core.config.experiment import Experiment
from vireid.core.data.images import fingerprint
from vireid.core.scoring.results import Results
from vireid.core.types import Progress, Sample
from vireid.runtime.processes import gather_objects, world
from vireid.runtime.randomness import reseed

RECORD = 'run.json'  # provenance of a run, in its folder


@dataclass(repr=False)
class Run:
    """A run, as callbacks see it.

    Attributes:
        experiment: the validated config.
        work_dir: folder that the run writes to.
        model: the model being trained.
        device: device of the model.
        progress: position of the run.
        samples: the training samples.
        tested: number of query identities in the test; 0 if unknown.
        data: name of the data, for tables.
        identities: names of the training identities, in the order of their labels.
        split: the split in use if the dataset has several (`split 3`), else empty.
        precision_reason: short explanation of the precision in use.
        resumed: whether the run was resumed from a checkpoint.
        init: initial weights, if any: `file`, digest `weights`, and whether only matching ones were loaded (`partial`).
        seen: path and content hashes of the images that the initial weights were trained on.
        contents: content hashes of the training images.
        images_digest: a hash of these with the identities, cameras and modalities; 0 if unknown.
        unreadable: training images that could not be read so far, if the config allows skipping them.
        skipped: steps skipped so far because their loss or gradient was not finite.
        fitted_step: step after which the model was last fitted to the training images, if it has a `fit`.
        fitted: `config` and `state` of the similarity last fitted to the training images, if any.
        calibration: calibration of the similarities of the scored weights (`vireid.statistics.calibration`), or None.
        results: the evaluation of the final weights, once the run has finished.
    """

    experiment: Experiment
    work_dir: Path
    model: nn.Module
    device: torch.device
    progress: Progress
    samples: tuple[Sample, ...] = ()
    split: str = ''
    precision_reason: str = ''
    resumed: bool = False
    init: dict[str, Any] | None = None
    seen: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    contents: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    images_digest: int = 0
    unreadable: list[str] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    fitted_step: int | None = None
    fitted: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    results: Results | None = None
    tested: int = 0
    data: str = ''
    identities: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f'Run({self.experiment.name!r}, {str(self.work_dir)!r}, step {self.progress.step:,})'

    def note_unreadable(self, paths: list[str]) -> None:
        """Records training images that could not be read, with a warning for each new one."""
        for path in paths:
            if path not in self.unreadable:
                self.unreadable.append(path)
                print(f'warning: {path} cannot be read; another image replaces it', file=sys.stderr)

    def share_unreadable(self) -> None:
        """Merges the unreadable images of all processes."""
        if self.experiment.images.on_bad_image == 'skip':
            every = gather_objects(self.unreadable)
            self.unreadable = sorted({path for own in every for path in own}) if len(every) > 1 else every[0]

    def note_skipped(self, progress: Progress, record: dict[str, Any]) -> None:
        """Records the last step if it was skipped, with a warning."""
        if 'skipped' in record:
            self.skipped.append(progress.step)
            if world()[0] == 0:
                what = 'loss' if not math.isfinite(record['loss']) else 'gradient'
                print(f'warning: step {progress.step:,} was skipped: its {what} is not finite', file=sys.stderr)

    @cached_property
    def fingerprint(self) -> np.ndarray:
        """Path hashes of the training images, used to detect evaluation on them."""
        return fingerprint(self.samples)

    @property
    def checkpoint(self) -> Path:
        """Path of the latest checkpoint."""
        return self.work_dir / 'checkpoints' / 'last.pt'

    @property
    def best(self) -> Path:
        """Path of the checkpoint with the best weights, if the experiment selects them."""
        return self.work_dir / 'checkpoints' / 'best.pt'

    def about(self) -> dict[str, Any]:
        """Returns the metadata of the run for `result.json`."""
        return {
            'identities': len({s.identity for s in self.samples}),
            'steps': self.progress.total_steps,
            'split': self.split,
            'unreadable': self.unreadable,
            'skipped_steps': self.skipped,
            'dataset': self.experiment.dataset,
            'protocol_config': self.experiment.protocol,
            'precision': self.experiment.training.precision,
            'precision_reason': self.precision_reason,
        }


def seed_step(run: Run, progress: Progress, rank: int) -> None:
    """Seeds the random numbers of a step, such as dropout, from (seed, step, rank), so that resuming repeats them."""
    value = reseed(run.experiment.seed, 'step', progress.step, rank)
    if run.device.type != 'cpu':
        torch.manual_seed(value)  # seeds all devices
