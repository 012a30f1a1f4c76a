"""Training and scoring on a GPU, against a plain float32 loop as the field writes it. Never run on a GPU so far.

    python benchmarks/gpu.py --peak 989
    python benchmarks/gpu.py --size 96 48 --identities 2 --steps 2 --rounds 1 --test-images 200 --no-compile

The second line tries the script without a GPU. `--peak` is the device's published peak in TFLOP/s of bf16, for the
model FLOPs utilization.

The plain loop keeps decoded images in memory, augments them with PIL in four loader processes, and trains the same
network in float32, without mixed precision and with the batch copied when it is needed. vireid reads its cache, and
augments on the device. For each system the table has images per second of the step alone, on a batch that is on the
device already; of reading and training; and the plain loop's. Rounds of as many steps take turns, and the table has
the median. Each loop first uses up what its loader prepared during the others' rounds, and no round ends an epoch. The
utilization of float32 steps refers to the peak of bf16 too; their convolutions use TF32 by default.

The last part embeds the images of a test of SYSU-MM01's size and scores its 40 trials (`sysu/agw`).
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loader import MEAN, STD, plain_worker, write_images
from PIL import Image
from score_sysu import SysuSize
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from vireid.core.config.experiment import Experiment
from vireid.core.data.loader import default_workers
from vireid.core.scoring.embedding import embed_samples, score_trials
from vireid.core.types import INFRARED, VISIBLE, Batch, Progress, Sample
from vireid.diagnostics.step_loop import LoaderLoop, StepLoop, wait_for
from vireid.launch.fabric import make_fabric
from vireid.launch.resolve import resolve
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.protocols.sysu_agw import SYSUAgw

CONFIGS = Path(__file__).parents[1] / 'configs'
EACH = 8  # images of each person in each modality
FIELD_WORKERS, AHEAD = 4, 2  # batches ahead of each worker, torch's default
PER = 4  # images of a person in each modality of a batch, as in the configs
COMPILE = 'training.compile'
VARIANTS: dict[str, dict[str, Any]] = {
    'float32': {'training.precision': '32-true'},
    'bf16': {'training.precision': 'bf16-mixed'},
    'bf16, compiled': {'training.precision': 'bf16-mixed', COMPILE: True},
}


def make_samples(folder: Path, people: int) -> list[Sample]:
    """Writes JPEG files of people, `EACH` of each in each modality."""
    found = []
    for modality, camera in ((VISIBLE, 1), (INFRARED, 3)):
        (folder / modality).mkdir()
        written = write_images(folder / modality, people * EACH, 384, 160)
        found += [Sample(s.path, n // EACH, camera, modality) for n, s in enumerate(written)]
    return found


class FieldDataset(TorchDataset):
    """Pairs of images of one person, decoded and resized in advance and augmented with PIL."""

    def __init__(self, samples: list[Sample], size: tuple[int, int]) -> None:
        self.images = {
            m: [np.asarray(Image.open(s.path).resize(size[::-1])) for s in samples if s.modality == m]
            for m in (VISIBLE, INFRARED)
        }
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(), transforms.Pad(10), transforms.RandomCrop(size),
                transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(MEAN, STD),
            ]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.images[VISIBLE])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        visible, infrared = (self.transform(self.images[m][index]) for m in (VISIBLE, INFRARED))
        return visible, infrared, index // EACH


class FieldLoop:
    """The plain loop; its batches have as many images and people as the sampler's of the experiment."""

    def __init__(self, experiment: Experiment, samples: list[Sample], device: torch.device, people: int) -> None:
        self.device, self.people, self.per = device, people, experiment.sampler['visible']
        self.known = len(samples) // (2 * EACH)
        self.model: Any = experiment.build_model(self.known, pretrained=False).to(device).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.data = FieldDataset(samples, experiment.images.size)
        self.batches = self.endless()
        next(self.batches)

    def endless(self) -> Iterator[list[Tensor]]:
        rng = np.random.default_rng(0)

        def order() -> Iterator[list[int]]:
            while True:
                yield [
                    p * EACH + int(k) for p in rng.choice(self.known, self.people, replace=False)
                    for k in rng.choice(EACH, self.per, replace=False)
                ]  # fmt: skip

        yield from DataLoader(
            self.data, batch_sampler=order(), num_workers=FIELD_WORKERS, worker_init_fn=plain_worker,
            prefetch_factor=AHEAD,
        )  # fmt: skip

    def __call__(self, count: int) -> float:
        """Returns the images a second of `count` steps, without the batches that are ready."""
        for _ in range(FIELD_WORKERS * AHEAD):
            next(self.batches)
        wait_for(self.device)
        start, seen = time.perf_counter(), 0
        for _ in range(count):
            visible, infrared, labels = next(self.batches)
            images = {VISIBLE: visible.to(self.device), INFRARED: infrared.to(self.device)}
            labels = labels.to(self.device)
            tasks = self.model(Batch(images, dict.fromkeys(images, labels)))
            total = self.model.weighter(tasks, Progress(0, 0, 100, 100))[0] if self.model.weighter else None
            total = torch.stack(list(tasks.values())).sum() if total is None else total
            self.optimizer.zero_grad()
            total.backward()
            self.optimizer.step()
            total.item()  # for the log
            seen += 2 * len(labels)
        wait_for(self.device)
        return seen / (time.perf_counter() - start)


def idle(loop: LoaderLoop, step: StepLoop, rounds: int) -> str:
    """Returns the share of time in which no kernel runs, over some steps of reading and training."""
    if not torch.cuda.is_available():
        return '-'
    loop.train(step, rounds)  # uses up what is ready; what follows is read while it trains
    with profile(activities=[ProfilerActivity.CUDA]) as taken:
        for batch in itertools.islice(loop._batches, rounds * max(1, loop.workers)):
            step.train_on(batch)
        wait_for(step.device)
    spans = sorted((e.time_range.start, e.time_range.end) for e in taken.events() if e.device_type.name == 'CUDA')
    busy, end = 0.0, spans[0][0]
    for start, stop in spans:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return f'{1 - busy / (end - spans[0][0]):.0%}'


def train(args: argparse.Namespace, folder: Path) -> None:
    manager = create_manager()
    workers = max(1, default_workers(torch.device('cuda' if torch.cuda.is_available() else 'cpu')))
    in_round = max(1, args.steps // workers) * workers
    # all steps of one loader, those that are ready, and those it prepares ahead are in one epoch
    steps = (in_round + 2 * workers) * (args.rounds + 3) + 2 * workers
    people = max(args.identities + 1, steps * args.identities * PER // EACH)
    print(f'{people} people; rounds of {in_round} steps; {workers} loader processes, the plain loop {FIELD_WORKERS}')
    samples = make_samples(folder, people)
    for name in args.systems:
        given = {
            'dataset.root': str(folder), 'images.size': args.size, 'sampler.identities': args.identities,
            'images.reader': {'type': 'ImageCache', 'folder': str(folder / 'cache')}, 'images.on_device': True,
        }  # fmt: skip
        experiment = resolve(CONFIGS / f'{name}.py', manager=manager).with_overrides(given)
        fabric = make_fabric(experiment.training)
        field = FieldLoop(experiment, samples, fabric.device, args.identities)
        variants = {v: experiment.with_overrides(m) for v, m in VARIANTS.items() if args.compile or COMPILE not in m}
        steps = {v: StepLoop(own, people) for v, own in variants.items()}
        loops = {v: LoaderLoop(own, samples, fabric) for v, own in variants.items()}
        with FlopCounterMode(display=False) as counted:
            steps['float32']()
        each = counted.get_total_flops() / steps['float32'].images
        for call in (field, *steps.values()):
            call(3)  # chooses algorithms, and compiles
        for variant, step in steps.items():
            loops[variant].train(step, 1)
        rates: dict[str, list[tuple[float, float, float]]] = {v: [] for v in variants}
        for _ in range(args.rounds):
            plain = field(in_round)
            for variant, step in steps.items():
                both = loops[variant].train(step, in_round // workers)
                rates[variant].append((step(in_round), both, plain))
        print(f'{name}, {args.size[0]} x {args.size[1]}, {steps["float32"].full} images, {fabric.device}')
        for variant, found in rates.items():
            alone, both, plain = (statistics.median(column) for column in zip(*found, strict=True))
            used = f'{alone * each / (1e12 * args.peak):.1%}' if args.peak else '-'
            waiting = idle(loops[variant], steps[variant], 1)
            print(
                f'  {variant:<16}step {alone:8.1f} a second, {used} of the peak; with the loader {both:8.1f}, '
                f'{both / alone:.2f} of the step (goal .9), {both / plain:.2f} times the plain loop, which has '
                f'{plain:.1f} (goal 3); idle {waiting} (goal 5%)'
            )


def score(args: argparse.Namespace) -> None:
    experiment = resolve(CONFIGS / 'tffn_sysu.py', manager=create_manager()).with_overrides(
        {'dataset.root': 'x', 'images.size': args.size}
    )
    device = make_fabric(experiment.training).device
    model = experiment.build_model(395, pretrained=False).to(device)
    trials = SYSUAgw(shots=('single', 'multi')).trials(SysuSize())
    wanted = {s.path: s for trial in trials for s in (*trial.query, *trial.gallery)}
    chosen = list(wanted.values())[: args.test_images]
    image = torch.randint(256, (3, 384, 160), dtype=torch.uint8)
    embed_samples(model, chosen[:128], experiment.build_transform('test'), device=device, read=lambda p: image)
    for precision in ('32-true', 'bf16-mixed'):
        start = time.perf_counter()
        found = embed_samples(
            model, chosen, experiment.build_transform('test'), precision=precision, device=device, read=lambda p: image
        )
        wait_for(device)
        print(f'{len(chosen):,} images embedded in {precision}: {time.perf_counter() - start:.1f} s')
    if len(chosen) == len(wanted):
        start = time.perf_counter()
        score_trials(found, 'sysu/agw', trials)
        print(f'{len(trials)} trials scored in {time.perf_counter() - start:.1f} s')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--systems', nargs='+', default=['tffn_sysu', 'systems/agw_base'])
    parser.add_argument('--size', type=int, nargs=2, default=[288, 144], metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--identities', type=int, default=8, help='in a batch, with 4 images in each modality')
    parser.add_argument('--steps', type=int, default=20, help='steps a round')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--compile', action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument('--peak', type=float, help='published peak of the device, TFLOP/s')
    parser.add_argument('--test-images', type=int, help='embed fewer, and score nothing')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        train(args, Path(name))
    score(args)


if __name__ == '__main__':
    main()
