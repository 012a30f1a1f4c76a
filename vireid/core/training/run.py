"""One run: what observers see of it."""

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
from vireid.core.data.randomness import reseed
from vireid.core.distributed.processes import gather_objects, world
from vireid.core.scoring.results import Results
from vireid.core.types import Progress, Sample

RECORD = 'run.json'  # what a run was made of, in its folder


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
        tested: how many identities are searched for in the test; 0 where it is not known.
        data: what tables call the images.
        identities: names of the training identities, in the order of their labels.
        split: which part of the dataset this is, if it has several (`trial 3`), else empty.
        precision_reason: where the precision of its config comes from, in a few words.
        resumed: whether it goes on from a checkpoint.
        init: of which weights it begins, if of any: `file`, their digest, and whether only what fits was taken.
        seen: numbers of the images that those weights were trained on: of their places and of their contents.
        contents: numbers of the contents of the training images.
        unreadable: training images that could not be read so far, where the config lets them be skipped.
        skipped: steps that were left out so far, since their loss or gradient was not finite.
        fitted_step: after which step the model was fitted to the training images last, if it has a `fit`.
        fitted: `config` and `state` of the similarity that was fitted to the training images last, if one is.
        results: the evaluation of the final weights, once the run has ended.
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
    unreadable: list[str] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    fitted_step: int | None = None
    fitted: dict[str, Any] | None = None
    results: Results | None = None
    tested: int = 0
    data: str = ''
    identities: tuple[str, ...] = ()

    def note_unreadable(self, paths: list[str]) -> None:
        """Notes training images that could not be read; says so once for each."""
        for path in paths:
            if path not in self.unreadable:
                self.unreadable.append(path)
                print(f'warning: {path} cannot be read; another image replaces it', file=sys.stderr)

    def share_unreadable(self) -> None:
        """Gives every process the list of all."""
        if self.experiment.images.on_bad_image == 'skip':
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
        """Numbers of the training images, by which a test on them is noticed."""
        return fingerprint(self.samples)

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.work_dir / 'checkpoints' / 'last.pt'

    @property
    def best(self) -> Path:
        """The checkpoint of the best weights, where the experiment chooses some."""
        return self.work_dir / 'checkpoints' / 'best.pt'

    def about(self) -> dict[str, Any]:
        """Returns what `result.json` says of the run, besides its scores."""
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
    """Makes what a step draws, such as dropout, a function of (seed, step, process): nothing is lost on resuming."""
    value = reseed(run.experiment.seed, 'step', progress.step, rank)
    if run.device.type != 'cpu':
        torch.manual_seed(value)  # of all devices
