"""`vireid bench`: whether the step or the loader limits training on this machine, and what makes it faster."""

from __future__ import annotations

import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from vireid.console.wording import aligned, counted
from vireid.core.config.experiment import Experiment
from vireid.core.data.loader import usable_cores
from vireid.core.types import MODALITIES, VISIBLE, Sample
from vireid.diagnostics.step_loop import LoaderLoop, StepLoop
from vireid.errors import VireidError, WrongValue
from vireid.launch.generated_people import IDENTITIES
from vireid.launch.memory_format import AUTO, CHANNELS_LAST, CONTIGUOUS, auto_format
from vireid.launch.precision import BF16, FLOAT32, choose, native_bf16
from vireid.launch.preflight import preflight

Show = Callable[..., None]
MIN_ROUNDS, MAX_ROUNDS = 2, 7  # rounds of all variants
SLOW = 2.0  # seconds of a step; above, smaller batches are timed
WORTH = 1.1  # a change that makes less of a difference is not suggested
EQUAL = 1.2  # two rates closer than this are about equal
BUSY = 0.5  # load average from which a machine is busy
STEP, LOADER, BOTH = 'the step alone', 'the loader alone', 'both together'
PEOPLE, SHOTS, FILE = 24, 4, (384, 160)  # generated images, where there are no data; (height, width) of the files


@dataclass(frozen=True)
class Variant:
    """Something to time.

    Attributes:
        name: a row of the table.
        rate: returns images a second.
        against: the row that it is compared with.
        change: how to set it; empty for the setting in the config.
    """

    name: str
    rate: Callable[[], float]
    against: str = ''
    change: str = ''


@dataclass(frozen=True)
class Bench:
    """What was timed.

    Attributes:
        title: what was timed, and where.
        variants: the rows.
        rates: images a second in each round, by row.
        notes: notes for the reader.
        workers: loader processes; without them, reading and training take turns.
        load: load average before the timing began.
        cores: cores of this machine.
    """

    title: str
    variants: Sequence[Variant]
    rates: Mapping[str, Sequence[float]]
    notes: Sequence[str]
    workers: int = 0
    load: float = 0.0
    cores: int = 1

    def rate(self, name: str) -> float:
        """Returns the images a second of a row: the median over the rounds."""
        return statistics.median(self.rates[name])

    def ratios(self, variant: Variant) -> list[float]:
        """Returns how many times as fast a variant is as the row it is compared with, in each round."""
        return [a / b for a, b in zip(self.rates[variant.name], self.rates[variant.against], strict=True)]

    def advice(self) -> list[str]:
        """Returns what limits training and what to change, one sentence each."""
        lines = self._verdict() if BOTH in self.rates else []
        changes = [v for v in self.variants if v.change]
        if BOTH in self.rates and self.rate(STEP) < WORTH * self.rate(BOTH):
            changes = []  # all of them are about reading, which takes no time that could be saved
        # a change counts only if it was faster in every round
        better = [v for v in changes if statistics.median(self.ratios(v)) >= WORTH and min(self.ratios(v)) > 1]
        for variant in sorted(better, key=lambda v: -statistics.median(self.ratios(v))):
            times = statistics.median(self.ratios(variant))
            lines.append(f'set {variant.change}: {variant.against} is {times:.1f} times as fast')
        if changes and not better:
            lines.append(f'no change that was tried makes {changes[0].against} faster')
        if self.load >= BUSY:
            lines.append(
                f'the machine is busy: its load average was {self.load:.1f} on {counted(self.cores, "core")} before '
                'this began. The threads of a step wait for each other at every layer, so more threads than free '
                'cores slow it down; set OMP_NUM_THREADS to the number of free cores'
            )
        return lines

    def _verdict(self) -> list[str]:
        """Returns which of the two limits training, and whether they get in each other's way."""
        step, loader, both = (self.rate(name) for name in (STEP, LOADER, BOTH))
        if loader >= EQUAL * step:
            lines = [f'the step limits training: the loader alone is {loader / step:.1f} times as fast']
        elif step >= EQUAL * loader:
            lines = [f'the loader limits training: the step alone is {step / loader:.1f} times as fast']
        else:
            lines = ['the step and the loader are about equally fast']
        possible = min(step, loader) if self.workers else 1 / (1 / step + 1 / loader)
        if both < possible / EQUAL:
            lines.append(
                f'together they reach {both / possible:.0%} of the possible rate: they compete for the processor'
            )
        return lines

    def text(self) -> str:
        """Returns the table, the notes and the advice."""
        rows: list[Sequence[str]] = [('', 'images/s', 'least', 'most', 'ratio')]
        for variant in self.variants:
            rates = self.rates[variant.name]
            digits = 1 if max(rates) < 100 else 0
            cells = [f'{value:,.{digits}f}' for value in (self.rate(variant.name), min(rates), max(rates))]
            ratio = f'{statistics.median(self.ratios(variant)):.2f}' if variant.against else ''
            rows.append((variant.name, *cells, ratio))
        rounds = counted(len(self.rates[self.variants[0].name]), 'round')
        lines = [f'{self.title}; medians of {rounds}', '', *aligned(rows), '']
        return '\n'.join([*lines, *(f'- {line}' for line in [*self.advice(), *self.notes])])

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, for `--json`."""
        return {
            'title': self.title,
            'images_per_second': {name: list(rates) for name, rates in self.rates.items()},
            'compared_with': {v.name: v.against for v in self.variants if v.against},
            'advice': self.advice(),
            'notes': list(self.notes),
            'load': self.load,
            'cores': self.cores,
        }


def bench(what: Literal['data', 'step'], experiment: Experiment, seconds: float, show: Show) -> Bench:
    """Finds out what limits training on this machine.

    Args:
        what: `data` for the loader and the step, `step` for the step alone.
        experiment: the experiment.
        seconds: how long to repeat the measurements.
        show: called with (done, total, what).

    Raises:
        VireidError: if the experiment cannot be built, its data cannot be read, or the time is not positive.
    """
    if not 0 < seconds < 1e6:
        raise WrongValue(f'--seconds is {seconds}', allowed='a positive number')
    preflight(experiment)
    return (bench_data if what == 'data' else bench_step)(experiment, seconds, show)


def bench_step(experiment: Experiment, seconds: float, show: Show) -> Bench:
    """Times the training step on random images on the device, and what could make it faster.

    Args:
        experiment: the experiment; its data are not read.
        seconds: how long to repeat; at least two rounds are timed.
        show: called with (done, total, what).

    Raises:
        VireidError: if the experiment cannot be built.
    """
    load, cores = _load()
    experiment, step, notes = _affordable(experiment)
    variants, device = [Variant(STEP, step)], step.device
    if device.type == 'cpu':
        threads = torch.get_num_threads()
        for fewer in sorted({max(1, threads // 2), 1} - {threads}, reverse=True):
            name = f'OMP_NUM_THREADS={fewer}'
            variants.append(Variant(name, functools.partial(_with_threads, step, fewer), STEP, name))
        notes.append(
            f'{counted(threads, "thread")} unless a row says otherwise; training.compile is tried on GPUs only'
        )
    changes = _changes(experiment, device)
    for place, (name, values) in enumerate(changes.items()):
        show(place, len(changes), f'preparing {name}')
        try:
            other = StepLoop(experiment.with_overrides(values))
            other()
        except (VireidError, torch.OutOfMemoryError) as error:
            why = error.given if isinstance(error, VireidError) else 'not enough memory'
            notes.append(f'{name} was not timed: {why}')
        else:
            variants.append(Variant(name, other, STEP, name))
    return Bench(_title(experiment, step), variants, interleave(variants, seconds, show), notes, 0, load, cores)


def bench_data(experiment: Experiment, seconds: float, show: Show) -> Bench:
    """Times the loader alone, the step alone and both together, and what could make reading faster.

    Args:
        experiment: the experiment; without its data, images are generated in a temporary folder.
        seconds: how long to repeat; at least two rounds are timed.
        show: called with (done, total, what).

    Raises:
        VireidError: if the experiment cannot be built, or its data cannot be read.
    """
    load, cores = _load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples, notes = _samples(experiment, folder, show)
        identities = len({s.identity for s in samples})
        experiment, step, more = _affordable(experiment, identities)
        loader = LoaderLoop(experiment, samples, step.fabric)
        variants = [
            Variant(LOADER, loader), Variant(STEP, step), Variant(BOTH, functools.partial(loader.train, step)),
        ]  # fmt: skip
        changes: dict[str, dict[str, Any]] = {
            f'images.workers={n}': {'images.workers': n} for n in sorted({0, 1, cores - 1}) if n != loader.workers
        }
        if experiment.images.reader is None:
            changes['--cache DIR'] = {'images.reader': {'type': 'ImageCache', 'folder': str(folder / 'cache')}}
        if step.device.type != 'cpu' and not experiment.images.on_device:
            changes['images.on_device=True'] = {'images.on_device': True}
        for place, (change, values) in enumerate(changes.items()):
            show(place, len(changes), f'preparing {change}')
            try:
                other = LoaderLoop(experiment.with_overrides(values), samples, step.fabric)
            except VireidError as error:
                more.append(f'{change} was not timed: {error.given}')
            else:
                variants.append(Variant(change, functools.partial(other.train, step), BOTH, change))
        notes += [*more, f'{counted(loader.workers, "loader process", "loader processes")} unless a row says otherwise']
        rates = interleave(variants, seconds, show)
    return Bench(_title(experiment, step), variants, rates, notes, loader.workers, load, cores)


def interleave(variants: Sequence[Variant], seconds: float, show: Show) -> dict[str, list[float]]:
    """Times each variant once in every round, so that drifts of the machine's speed affect all of them equally.

    Args:
        variants: the variants to time.
        seconds: how long to repeat; at least two rounds are timed.
        show: called with (done, total, what).

    Returns:
        The images per second in each round, by variant.
    """
    rates: dict[str, list[float]] = {variant.name: [] for variant in variants}
    start = time.perf_counter()
    for number in range(MAX_ROUNDS):
        if number >= MIN_ROUNDS and time.perf_counter() - start > seconds * number / (number + 1):
            break  # the next round would end too late
        for place, variant in enumerate(variants):
            show(number * len(variants) + place, MAX_ROUNDS * len(variants), f'timing {variant.name}')
            rates[variant.name].append(variant.rate())
    return rates


def _affordable(experiment: Experiment, identities: int = IDENTITIES) -> tuple[Experiment, StepLoop, list[str]]:
    """Returns the experiment with smaller batches if its step is slow here, its step, and a note about it."""
    part, notes = StepLoop(experiment, identities, whole=False), list[str]()
    if part.device.type != 'cpu':
        part()  # the first step on a GPU loads its libraries, which takes seconds
    if part.full / part() > SLOW and (experiment.sampler.get('identities') or 0) > 2:
        used = [own.get('identities') or 0 for own in experiment.step.get('optimizers', {}).values()]
        smaller = experiment.with_overrides({'sampler.identities': max(2, *used, 0)})
        step = StepLoop(smaller, identities)
        if step.full < part.full:
            notes.append(f'batches of {part.full} images are slow here, so batches of {step.full} were timed')
            experiment = smaller
    else:
        step = StepLoop(experiment, identities)
    step()
    return experiment, step, notes


def _changes(experiment: Experiment, device: torch.device) -> dict[str, dict[str, Any]]:
    """Returns settings of a step to try: what to write, and the overrides."""
    settings, name = experiment.training, choose(experiment.training).name
    reduced = BF16 if native_bf16(settings.accelerator)[0] else '16-mixed' if device.type == 'cuda' else None
    other = FLOAT32 if name != FLOAT32 else reduced
    tried: dict[str, dict[str, Any]] = {} if other is None else {f'--precision {other}': {'training.precision': other}}
    used = auto_format(device, name) if settings.memory_format == AUTO else settings.memory_format
    form = CONTIGUOUS if used == CHANNELS_LAST else CHANNELS_LAST
    tried[f'training.memory_format={form}'] = {'training.memory_format': form}
    if device.type != 'cpu':
        if not settings.compile:
            tried['training.compile=True'] = {'training.compile': True}
        if identities := experiment.sampler.get('identities'):
            tried[f'sampler.identities={2 * identities}'] = {'sampler.identities': 2 * identities}
    return tried


def _with_threads(step: StepLoop, threads: int) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return step()
    finally:
        torch.set_num_threads(before)


def _samples(experiment: Experiment, folder: Path, show: Show) -> tuple[Sequence[Sample], list[str]]:
    """Returns the training samples, or generated ones if the data are not there, and a note about these."""
    root = experiment.dataset.get('root')
    if root is not None and Path(root).expanduser().exists():
        return experiment.build_dataset().split('train'), []
    rng, samples = np.random.default_rng(0), list[Sample]()
    people = max(PEOPLE, experiment.sampler.get('identities') or 0)
    total, (height, width) = 2 * SHOTS * people, FILE
    for modality in MODALITIES:
        for number in range(total // 2):
            # photographs have about as many bytes: coarse shapes with a little noise
            coarse = rng.integers(256, size=(height // 12, width // 12, 3), dtype=np.uint8)
            smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
            noisy = (smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
            path = folder / f'{modality}{number}.jpg'
            Image.fromarray(noisy).save(path, quality=90)
            samples.append(Sample(str(path), number // SHOTS + 1, 1 + (modality != VISIBLE), modality))
            show(len(samples), total, 'generating images')
    where = f'{root} does not exist' if root is not None else 'no data were given'
    return samples, [f'{where}, so {total} JPEG images of {height} x {width} were generated and read']


def _load() -> tuple[float, int]:
    """Returns the load average of the last minute without this process, and the number of cores."""
    load = 0.0
    if sys.platform != 'win32':
        load = os.getloadavg()[0]
    return max(0.0, load - min(1.0, time.process_time() / 60)), usable_cores()


def _title(experiment: Experiment, step: StepLoop) -> str:
    device = torch.cuda.get_device_name(step.device) if step.device.type == 'cuda' else step.device.type
    return f'{experiment.name} on {device}, {choose(experiment.training).name}, {counted(step.images, "image")} a batch'
