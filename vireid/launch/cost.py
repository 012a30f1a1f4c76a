"""The price of a run before it starts: an estimate of its hours and memory on named devices.

The operations of a step are counted (`work.py`), not measured. How many of them a processor core performs per second
was fitted to measured steps (`benchmarks/cost_model.py`). For GPUs, nothing was measured: their speed is the published
peak times an assumed utilization.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.console.wording import aligned, counted
from vireid.core.config.experiment import Experiment
from vireid.core.registry.components import component_type
from vireid.core.types import INFRARED, VISIBLE, Modality, Sample
from vireid.errors import MissingKey, UnknownName, did_you_mean
from vireid.interfaces import Dataset
from vireid.launch.precision import AUTO, FLOAT32
from vireid.launch.work import Work, count_work

# assumed shares of a GPU's published peak; training ResNet-50 as published by NVIDIA (DeepLearningExamples) reaches 15
# to 23% of the peak of tensor cores on an A100 and a V100, and 56% of that of the V100's float32 units
TENSOR_CORES, FLOAT32_UNITS = 0.2, 0.5
ASSUMED = 'assumed'
LAUNCH = 10e-6  # assumed seconds to launch one kernel: a GPU waits for the processor if its kernels are shorter


@dataclass(frozen=True)
class Device:
    """A device to estimate for.

    Attributes:
        memory: bytes; None is not compared.
        convolutions: operations of convolutions per second, in float32.
        products: the same for matrix products.
        half: the same for both in 16 bits; None if the device has no units for them.
        bf16: whether these units compute bfloat16.
        launch: seconds to launch one kernel.
        step: additional seconds per step.
        basis: whether the speed was `fitted` to measured steps or `assumed`.
    """

    memory: float | None
    convolutions: float
    products: float
    half: float | None
    bf16: bool
    launch: float
    step: float
    basis: str

    def seconds(self, convolutions: float, products: float, kernels: float, precision: str) -> float:
        """Returns the seconds of some operations.

        Args:
            convolutions: number of operations of convolutions.
            products: number of operations of matrix products.
            kernels: number of kernels that are launched.
            precision: `32-true`, or another for 16 bits.
        """
        if precision == FLOAT32 or self.half is None:
            seconds = convolutions / self.convolutions + products / self.products
        else:
            seconds = (convolutions + products) / self.half
        return max(seconds, kernels * self.launch)

    def precision(self, chosen: str) -> str:
        """Returns what `training.precision` means on this device."""
        if chosen == AUTO:
            return 'bf16-mixed' if self.half and self.bf16 else FLOAT32
        return chosen


def _core(speed: float, step: float) -> Device:
    """A processor core, fitted to measured steps: its operations in a second, and the seconds that a step adds."""
    return Device(None, speed, speed, None, False, 0.0, step, 'fitted')


def _gpu(gigabytes: float, float32: float, half: float, tf32: float = 0.0, bf16: bool = True) -> Device:
    """A GPU with published peaks in TFLOPS, without sparsity.

    torch uses TF32 for convolutions and, unlike them, full float32 for matrix products by default.
    """
    convolutions = TENSOR_CORES * tf32 if tf32 else FLOAT32_UNITS * float32
    products = min(FLOAT32_UNITS * float32, convolutions)
    speeds = (1e12 * convolutions, 1e12 * products, 1e12 * TENSOR_CORES * half)
    return Device(1e9 * gigabytes, *speeds, bf16, LAUNCH, 0.0, ASSUMED)


# the core by benchmarks/cost_model.py; the peaks from NVIDIA's data sheets and white papers
DEVICES: Mapping[str, Device] = {
    'one core of AMD EPYC (Zen 3)': _core(54.4e9, 0.016),
    'T4': _gpu(16, float32=8.1, half=65, bf16=False),
    'V100': _gpu(32, float32=15.7, half=125, bf16=False),
    'RTX 3090': _gpu(24, float32=35.6, half=71, tf32=35.6),
    'RTX 4090': _gpu(24, float32=82.6, half=165, tf32=82.6),
    'A100': _gpu(80, float32=19.5, half=312, tf32=156),
    'H100': _gpu(80, float32=67, half=989, tf32=495),
}


@dataclass(frozen=True)
class Size:
    """The size of a run.

    Attributes:
        identities: training identities.
        images: training images.
        steps: training steps.
        embedded: images to embed, in all evaluations.
        source: the data that the numbers of images refer to.
    """

    identities: int
    images: int
    steps: int
    embedded: int
    source: str


@dataclass(frozen=True)
class Estimate:
    """The estimated price of a run on a device. Reading images is not included.

    Attributes:
        device: the name of the device.
        precision: the precision it was estimated in.
        hours: hours of training and embedding.
        seconds: seconds of a training step.
        rate: training images per second, which the loader must keep up with; 0 without training.
        memory: minimum number of bytes that a step needs.
        fits: whether the device has that much memory.
        basis: whether the speed was `fitted` to measured steps or `assumed`.
    """

    device: str
    precision: str
    hours: float
    seconds: float
    rate: float
    memory: float
    fits: bool
    basis: str


class CostEstimate:
    """Prices one experiment on any number of devices; counts its operations once.

    Args:
        experiment: the experiment; its `stages` are not included.
        work: what a step takes; None counts it.

    Raises:
        VireidError: if the size of the dataset is unknown, or the experiment cannot be built.
    """

    def __init__(self, experiment: Experiment, work: Work | None = None) -> None:
        self.experiment, self.size = experiment, run_size(experiment)
        self.work = work or count_work(experiment, self.size.identities)

    def on(self, device: str) -> Estimate:
        """Returns the estimate for a device, by its name in `DEVICES`.

        Raises:
            UnknownName: for an unknown device.
        """
        if device not in DEVICES:
            raise UnknownName(
                f'no prices are known for {device!r}{did_you_mean(device, DEVICES)}', allowed=', '.join(DEVICES)
            )
        target, work = DEVICES[device], self.work
        precision = target.precision(self.experiment.training.precision)
        of_step = (work.images * work.convolutions, work.images * work.products)
        step = target.step + target.seconds(*of_step, work.kernels, precision) if work.images else 0.0
        embedding = self.size.embedded * target.seconds(work.embedding, 0.0, 0.0, FLOAT32)
        steps = self.size.steps if work.images else 0
        fits = target.memory is None or work.memory <= target.memory
        rate = work.images / step if step else 0.0
        hours = (steps * step + embedding) / 3600
        return Estimate(device, precision, hours, step, rate, work.memory, fits, target.basis)


def cost_lines(cost: CostEstimate, devices: Sequence[str] = tuple(DEVICES)) -> list[str]:
    """Returns a table of estimates, with what they are for and what they are based on, as lines."""
    size, estimates = cost.size, [cost.on(name) for name in devices]
    rows = [('device', 'time', 'images/s', 'precision', 'speed')]
    for one in estimates:
        short = '' if one.fits else ', too little memory'
        rows.append((one.device, duration(one.hours), f'{one.rate:,.0f}', one.precision, f'{one.basis}{short}'))
    lines = [
        f'estimated for {size.source}: {counted(size.steps, "step")}, {counted(size.embedded, "image")} to embed',
        *aligned(rows),
    ]
    if any(one.basis == ASSUMED for one in estimates):
        lines.append(
            f'assumed: not measured; {TENSOR_CORES:.0%} of the published peak of tensor cores, {FLOAT32_UNITS:.0%} '
            f'of that of float32 units; at least {LAUNCH * 1e3:.2f} ms per tensor operation, which slows small models'
        )
    return lines


def hours(value: float) -> str:
    """Formats hours to two digits: 0.35, 2.4, 24, 180."""
    if value >= 9.95:
        return f'{float(f"{value:.2g}"):,.0f}'
    return f'{value:.{1 if value >= 0.995 else 2}f}'


def duration(value: float) -> str:
    """Formats hours with their unit: less than 1 min, 21 min, 2.4 h, 180 h."""
    if value >= 0.995:
        return f'{hours(value)} h'
    return f'{60 * value:.0f} min' if value >= 1 / 60 else 'less than 1 min'


def run_size(experiment: Experiment) -> Size:
    """Returns the size of a run: of the data at `dataset.root` if they are there, else of a complete copy.

    Raises:
        MissingKey: if there are no data, and the size of a complete copy is unknown.
    """
    counts, source = _counts(experiment)
    samples = counts['train']
    steps = experiment.training.total_steps(len(experiment.build_sampler(samples)))
    settings, between = experiment.evaluation, 0
    if experiment.training.evaluate_every and experiment.training.epochs:
        between = (experiment.training.epochs - 1) // experiment.training.evaluate_every
    between += settings.before_training + (settings.select != 'last')
    scored = len(counts['val' if settings.select == 'validation' and 'val' in counts else 'test'])
    embedded = between * scored + len(counts['test']) * (2 if settings.flip else 1)
    return Size(len({s.identity for s in samples}), len(samples), steps, embedded, source)


def _counts(experiment: Experiment) -> tuple[dict[str, Sequence[Sample]], str]:
    """Returns the samples of each split, and where they come from."""
    splits = ['train', 'test', *(['val'] if experiment.evaluation.select == 'validation' else [])]
    root: Any = experiment.dataset.get('root')
    if isinstance(root, str) and Path(root).expanduser().exists():
        dataset = experiment.build_dataset()
        return {name: dataset.split(name) for name in splits}, f'the data in {root}'
    name = component_type(experiment.dataset, 'dataset')
    target: Any = experiment.manager.components.get('datasets', name, where='dataset')
    expected = Dataset.expected(target)
    if not expected:
        raise MissingKey(
            'the cost of a run depends on the number of images', todo='give the folder of the data: --data-root DIR'
        )
    cameras = Dataset.cameras(target) or {VISIBLE: (1,), INFRARED: (2,)}
    samples: dict[str, Sequence[Sample]] = {
        split: _samples(expected[split], cameras) for split in splits if split in expected
    }
    identities, visible, infrared = expected['train']
    return samples, (f'a complete {name} ({identities:,} training identities with {visible + infrared:,} images)')


def _samples(counts: Sequence[int], cameras: Mapping[Modality, Sequence[int]]) -> list[Sample]:
    identities, *images = counts
    sample = functools.cache(functools.partial(Sample, ''))  # tens of thousands, of which few differ
    return [
        sample(number % identities + 1, cameras[modality][number // identities % len(cameras[modality])], modality)
        for modality, count in zip((VISIBLE, INFRARED), images, strict=True)
        for number in range(count)
    ]
