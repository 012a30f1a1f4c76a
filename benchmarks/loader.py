"""Training images a second: vireid from JPEG files and from its cache, against a plain torchvision dataset.

All three do what `configs/tffn_sysu.py` does to a training image: decode, resize, pad, crop, flip, to float,
normalize, erase. The plain one has no seeds: its augmentation depends on the worker's history. The rows `uint8` stop
before `ToFloat`, as the loader does with `images.on_device=True`: what remains to do there is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import v2

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.data.image_set import ImageSet
from vireid.core.data.images import decoder
from vireid.core.data.loader import evaluation_loader
from vireid.core.types import VISIBLE, Sample
from vireid.launch.on_device import split_transforms
from vireid.plugin_manager.manager import create_manager

CONFIG = Path(__file__).parents[1] / 'configs' / 'tffn_sysu.py'
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_images(folder: Path, count: int, height: int, width: int) -> list[Sample]:
    """Writes JPEGs as noisy as photographs: about 0.25 byte a pixel and channel."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        coarse = rng.integers(256, size=(height // 12, width // 12, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
        path = folder / f'{number:05d}.jpg'
        Image.fromarray(noisy).save(path, quality=90)
        found.append(Sample(str(path), number, 1, VISIBLE))
    return found


class Plain(TorchDataset):
    """What one writes with torchvision's documentation beside one."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples
        self.transform = v2.Compose(
            [
                v2.ToImage(),
                v2.Resize((288, 144)),
                v2.Pad(10),
                v2.RandomCrop((288, 144)),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
                v2.RandomErasing(p=0.5, scale=(0.02, 0.4)),
            ]
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        sample = self.samples[index]
        return self.transform(Image.open(sample.path).convert('RGB')), sample.identity


def plain_worker(worker: int) -> None:
    torch.set_num_threads(1)


def rate(make: Callable[[], DataLoader], count: int) -> float:
    """Images a second of one pass; workers are started before the clock."""
    loader = make()
    start = time.perf_counter()
    first = 0
    for number, _ in enumerate(loader):
        if number == 0:  # with workers, the first batch pays for starting them
            start, first = time.perf_counter(), 32
    return (count - first) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=1500)
    parser.add_argument('--size', type=int, nargs=2, default=(384, 160), metavar=('H', 'W'), help='of the JPEG files')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--workers', type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = write_images(folder, args.images, *args.size)
        size = sum(Path(s.path).stat().st_size for s in samples) / len(samples)
        print(f'{len(samples)} JPEG files of {args.size[0]} x {args.size[1]}, {size / 1000:.0f} kB each; to 288 x 144')
        sets = {}
        for kind, options in {
            'raw': [],
            'cache': [f'images.reader={{"type": "ImageCache", "folder": "{name}/c"}}'],
        }.items():
            read = config.load(CONFIG, ['dataset.root=x', *options])
            experiment = Experiment.from_config(read, create_manager())
            start = time.perf_counter()
            reader = experiment.build_reader('train', samples, decoder(experiment.images))
            if kind == 'cache':
                print(f'building the cache: {len(samples) / (time.perf_counter() - start):.0f} images a second, once')
            sets[kind] = ImageSet(samples, experiment.build_transform('train'), seed=0, read=reader)
            sets[f'{kind}, uint8'] = ImageSet(samples, split_transforms(experiment, None)[0], seed=0, read=reader)

        def loaders(data: ImageSet) -> Callable[[], DataLoader]:
            return lambda: evaluation_loader(
                data, [range(i, min(i + 32, len(data))) for i in range(0, len(data), 32)], args.workers
            )

        kinds = {
            'plain': lambda: DataLoader(
                Plain(samples), batch_size=32, num_workers=args.workers, worker_init_fn=plain_worker
            ),
            **{kind: loaders(data) for kind, data in sets.items()},
        }
        found: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(args.rounds):
            for kind, make in kinds.items():
                found[kind].append(rate(make, len(samples)))
    for kind, rates in found.items():
        ratios = [a / b for a, b in zip(rates, found['plain'], strict=True)]
        print(f'{kind:<14}{statistics.median(rates):>8.0f} a second{statistics.median(ratios):>8.2f} times plain')
    for fast, slow, goal in (('cache', 'raw', ' (goal: 3)'), ('raw, uint8', 'raw', ''), ('cache, uint8', 'cache', '')):
        times = statistics.median(a / b for a, b in zip(found[fast], found[slow], strict=True))
        print(f'{fast} {times:.2f} times {slow}{goal}')


if __name__ == '__main__':
    main()
