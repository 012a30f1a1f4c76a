"""Embedding from JPEG files: `vireid index` and `Embedder.embed_files` beside a bare loop, interleaved in one process.

    python benchmarks/embedding.py CHECKPOINT IMAGES [--rounds 5] [--threads 1]

The bare loop is the same network over the same loader, in batches of one modality, without anything else.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

import vireid
from vireid.core.data.image_set import ImageSet
from vireid.core.data.loader import evaluation_loader
from vireid.core.types import Sample
from vireid.search.building import build
from vireid.search.embedder import Embedder
from vireid.search.gallery import find_gallery
from vireid.search.modality import guess_modality


def bare(embedder: Embedder, paths: list[str], modalities: list[str]) -> None:
    order = sorted(range(len(paths)), key=lambda row: modalities[row])
    samples = [Sample(paths[row], 0, 0, modalities[row]) for row in order]
    data = ImageSet(samples, embedder.experiment.build_transform('test'))
    size = embedder.experiment.evaluation.batch_size
    chunks = [range(start, min(start + size, len(samples))) for start in range(0, len(samples), size)]
    with torch.inference_mode():
        for batch in evaluation_loader(data, chunks, 0):
            for modality, images in batch.images.items():
                embedder.model.embed(images, modality)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('images', type=Path)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    embedder = vireid.load(args.checkpoint)
    root, found = find_gallery(args.images)
    paths = [image.path for image in found]
    modalities = [image.modality or guess_modality(embedder.pixels(image.path)) for image in found]
    times: dict[str, list[float]] = {'bare loop': [], 'embed_files': [], 'index': []}
    for _ in range(args.rounds):
        start = time.perf_counter()
        bare(embedder, paths, modalities)
        times['bare loop'].append(time.perf_counter() - start)
        start = time.perf_counter()
        embedder.embed_files(paths, modalities)
        times['embed_files'].append(time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            build(Path(folder) / 'index', root, found, embedder, checkpoint=str(args.checkpoint))
            times['index'].append(time.perf_counter() - start)
    reference = statistics.median(times['bare loop'])
    print(f'{len(paths)} images, {args.threads} threads, medians of {args.rounds}')
    for name, values in times.items():
        median = statistics.median(values)
        speed = f'{len(paths) / median:7.1f} images/s  {reference / median:.2f} of the bare loop'
        print(f'{name:12} {median:6.2f} s  {speed}')


if __name__ == '__main__':
    main()
