"""What the report costs at SYSU-MM01's size: 3,803 queries, 10 trials, 10,578 images of 128 x 256, TFFN on ResNet-50.

Prints the seconds of gathering the evidence and of writing the page, beside those of scoring; the file's size; and the
peak of memory before and after. Embeddings are random around a center for each person; nothing is trained.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from score_sysu import SysuSize

import vireid
from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import Sample
from vireid.plugins.protocols.sysu_agw import SYSUAgw
from vireid.reporting.collect import collect
from vireid.reporting.page import write_report
from vireid.reporting.record import read_run

CONFIG = Path(__file__).parents[1] / 'configs' / 'tffn_sysu.py'
DIM = 1024


class Drawn:
    """The samples of `SysuSize` with image files."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.samples: list[Sample] = []
        for sample in SysuSize().split('test'):
            path = folder / f'{sample.path}.jpg'
            grid = rng.integers(0, 255, (16, 8, 3), dtype=np.uint8)
            Image.fromarray(grid).resize((128, 256), Image.Resampling.BICUBIC).save(path, quality=90)
            self.samples.append(replace(sample, path=str(path)))

    def split(self, name: str) -> tuple[Sample, ...]:
        return tuple(self.samples)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, help='keep the page in this folder')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        dataset: Any = Drawn(Path(place))
        trials = SYSUAgw().trials(dataset)
        samples = dataset.split('test')
        rng = np.random.default_rng(0)
        centers = rng.normal(size=(96, DIM))
        features = np.stack([centers[s.identity] + 2 * rng.normal(size=DIM) for s in samples]).astype(np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        experiment = vireid.load_experiment(
            CONFIG, **{'dataset.root': place, 'model.backbone.weights': None, 'loggers': []}
        )
        model = experiment.build_model(395, pretrained=False).eval()
        start = time.perf_counter()
        results = score_trials(Embeddings(samples, features), 'sysu/agw', trials)
        scored = time.perf_counter()
        before = peak()
        found = collect(results, model, experiment.build_transform('test'), torch.device('cpu'), 'size')
        gathered = time.perf_counter()
        folder = args.out or Path(place) / 'run'
        folder.mkdir(parents=True, exist_ok=True)
        found.save(folder / 'report.npz')
        write_report([read_run(folder)], folder / 'report.html')
        written = time.perf_counter()
        sizes = {name: (folder / name).stat().st_size / 1e6 for name in ('report.npz', 'report.html')}
    print(f'scoring {len(trials)} trials {scored - start:.1f} s')
    print(f'evidence {gathered - scored:.1f} s, page {written - gathered:.1f} s: {written - scored:.1f} s (20 allowed)')
    print(', '.join(f'{name} {size:.1f} MB' for name, size in sizes.items()) + ' (15 allowed)')
    print(f'peak of memory {before:.2f} GB before, {peak():.2f} GB after (1.5 allowed)')


if __name__ == '__main__':
    main()
