"""The parts of training as loops to time: the step alone, the loader alone, and both together."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from vireid.core.config.experiment import Experiment
from vireid.core.data.images import decoder
from vireid.core.data.loader import BatchStream, default_workers
from vireid.core.registry.contracts import located
from vireid.core.training.nonfinite import is_finite
from vireid.core.types import Batch, Progress, Sample
from vireid.launch.compilation import compile_forward
from vireid.launch.fabric import make_fabric
from vireid.launch.generated_people import IDENTITIES, GeneratedDataset, part_of_a_batch
from vireid.launch.launch import build_batches
from vireid.launch.memory_format import AUTO, FORMATS, auto_format
from vireid.launch.precision import choose
from vireid.runtime.allocator import keep_freed_memory

STEPS = 1_000_000  # in an epoch: no benchmark leaves the first


class StepLoop:
    """Repeats the training step of an experiment.

    Args:
        experiment: the experiment; its data are not read.
        identities: number of training identities; the random images are of `IDENTITIES`.
        whole: keep a whole batch of random images on the device; otherwise the smallest part that can be trained on.

    Attributes:
        device: the device.
        images: images in the batch on the device.
        full: images in a whole batch.

    Raises:
        VireidError: if the experiment cannot be built.
    """

    def __init__(self, experiment: Experiment, identities: int = IDENTITIES, whole: bool = True) -> None:
        settings = experiment.training
        self.fabric = make_fabric(settings)
        self.device = self.fabric.device
        if self.device.type == 'cpu':
            keep_freed_memory()  # as training does
        self._model: Any = experiment.build_model(max(identities, IDENTITIES), pretrained=False).to(self.device)
        form: str = settings.memory_format
        if form == AUTO:
            form = auto_format(self.device, choose(settings).name)
        self._model.to(memory_format=FORMATS[form])
        if settings.compile:
            compile_forward(self._model)
        self._step = experiment.build_step(self._model, self.fabric)
        batch, self.full = part_of_a_batch(experiment, GeneratedDataset.of(experiment), whole)
        self._batch = self.fabric.to_device(batch)
        self.images = sum(map(len, batch.images.values()))
        self._progress = Progress(0, 0, STEPS, STEPS)

    def __call__(self, count: int = 1) -> float:
        """Returns the images a second of `count` steps on the batch on the device."""
        start = self.now()
        for _ in range(count):
            self.train_on(self._batch)
        return count * self.images / (self.now() - start)

    def train_on(self, batch: Batch) -> None:
        """Updates the model on a batch, as the trainer does."""
        self._model.train()
        with located(self._model):
            record = self._step(self.fabric.to_device(batch), self._progress)
        is_finite(record)
        self._progress = self._progress.next()

    def now(self) -> float:
        """Returns the time once the device has finished its work."""
        wait_for(self.device)
        return time.perf_counter()


class LoaderLoop:
    """Reads the training batches of an experiment, in order, in an endless loop.

    Args:
        experiment: the experiment, with its reader and its number of workers.
        samples: the training samples.
        fabric: the device, which sets the default number of workers.
        on_progress: called with (done, total) images while a reader prepares them.

    Attributes:
        workers: number of loader processes.
    """

    def __init__(
        self,
        experiment: Experiment,
        samples: Sequence[Sample],
        fabric: Any,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._sampler = experiment.build_sampler(samples)
        read = experiment.build_reader('train', samples, decoder(experiment.images), on_progress)
        self._stream = build_batches(experiment, samples, self._sampler, fabric, read)
        given = experiment.images.workers
        self.workers = default_workers(fabric.device) if given is None else given
        self._batches = _endless(self._stream, len(self._sampler))

    def __call__(self, count: int = 2) -> float:
        """Returns the images a second of `count` batches a worker; those that wait are not counted."""
        for _ in range(2 * self.workers):  # each worker reads two ahead
            next(self._batches)
        start, read = time.perf_counter(), 0
        for _ in range(count * max(1, self.workers)):
            read += sum(map(len, next(self._batches).images.values()))
        return read / (time.perf_counter() - start)

    def train(self, step: StepLoop, count: int = 2) -> float:
        """Returns the images a second of reading and training, `count` steps a worker."""
        for _ in range(2 * self.workers):
            next(self._batches)
        start, read = step.now(), 0
        for batch in itertools.islice(self._batches, count * max(1, self.workers)):
            step.train_on(batch)
            read += sum(map(len, batch.images.values()))
        return read / (step.now() - start)


def _endless(stream: BatchStream, steps: int) -> Iterator[Batch]:
    progress = Progress(0, 0, steps, STEPS)
    while True:
        yield stream.next(progress)
        progress = progress.next()


def wait_for(device: torch.device) -> None:
    """Waits until a device has finished its work, since calls return before the work is done."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    elif device.type == 'mps':
        torch.mps.synchronize()
