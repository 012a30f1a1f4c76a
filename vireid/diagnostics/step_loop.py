"""A training step on random images that are on the device already, for benchmarks: no loader, no checkpoints."""

from __future__ import annotations

import time
from typing import Any

import torch

from vireid.core.config.experiment import Experiment
from vireid.core.registry.contracts import located
from vireid.core.training.nonfinite import is_finite
from vireid.core.types import Progress
from vireid.launch.fabric import make_fabric
from vireid.launch.generated_people import IDENTITIES, GeneratedDataset, part_of_a_batch

STEPS = 1000  # in an epoch, so that a benchmark does not leave the first


class StepLoop:
    """Repeats the training step of an experiment on one batch of random images on the device.

    Args:
        experiment: the experiment; its dataset is not read.

    Attributes:
        device: the device.
        images: images in the batch.

    Raises:
        VireidError: if the experiment cannot be built.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._fabric = make_fabric(experiment.training)
        self.device = self._fabric.device
        self._model: Any = experiment.build_model(IDENTITIES, pretrained=False).to(self.device)
        self._step = experiment.build_step(self._model, self._fabric)
        batch, self.images = part_of_a_batch(experiment, GeneratedDataset.of(experiment), whole=True)
        self._batch = self._fabric.to_device(batch)
        self._progress = Progress(0, 0, STEPS, STEPS)

    def __call__(self, count: int = 1) -> float:
        """Returns the seconds of `count` steps."""
        synchronize(self.device)
        start = time.perf_counter()
        for _ in range(count):
            self._model.train()
            with located(self._model):
                record = self._step(self._batch, self._progress)
            is_finite(record)
        synchronize(self.device)
        return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Waits until the device has finished all its work; a clock read earlier would show only that it was started."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    elif device.type == 'mps':
        torch.mps.synchronize()
