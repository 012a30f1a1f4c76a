"""How far one gets on the synthetic people without learning: pixels, color histograms, an untrained network."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.scoring.embedding import all_samples, embed_samples, score_trials
from vireid.plugin_manager.manager import create_manager

CONFIG = Path(__file__).parents[1] / 'configs' / 'tffn_demo.py'


class Pixels:
    """The picture itself, `shrink` times smaller; color, or the mean of the channels, centered."""

    def __init__(self, shrink: int, gray: bool) -> None:
        self.shrink, self.gray = shrink, gray

    def embed(self, images: Tensor, modality: str) -> Tensor:
        small = torch.nn.functional.avg_pool2d(images, self.shrink)
        small = small.mean(dim=1, keepdim=True) if self.gray else small
        return (small - small.mean(dim=(1, 2, 3), keepdim=True)).flatten(1)


class Histograms:
    """16 bins of each channel in each of `stripes` horizontal stripes, square-rooted (Hellinger)."""

    def __init__(self, stripes: int) -> None:
        self.stripes = stripes

    def embed(self, images: Tensor, modality: str) -> Tensor:
        rows = [
            torch.cat([torch.histc(part, 16, 0, 1) for stripe in image.chunk(self.stripes, 1) for part in stripe])
            for image in images
        ]
        return torch.stack(rows).sqrt()


class Untrained:
    """The demo's network as it starts; BatchNorm by the batch it sees, or by its initial statistics."""

    def __init__(self, experiment: Experiment, batch_statistics: bool) -> None:
        self.model = experiment.build_model(84)
        self.model.train(batch_statistics)

    def embed(self, images: Tensor, modality: str) -> Tensor:
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return self.model.embed((images - mean[:, None, None]) / std[:, None, None], modality)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', help='a folder made by `vireid data synth --layout sysu`')
    arguments = parser.parse_args()
    options = [f'dataset.root={arguments.data}', 'images.test=[{"type": "Resize"}, {"type": "ToFloat"}]']
    experiment = Experiment.from_config(config.load(CONFIG, options), create_manager())
    trials = experiment.build_protocol().trials(experiment.build_dataset())
    embedders: dict[str, object] = {
        f'pixels 1/{shrink} {"gray" if gray else "color"}': Pixels(shrink, gray)
        for shrink in (1, 2, 8)
        for gray in (False, True)
    }
    embedders |= {f'histograms, {stripes} stripe(s)': Histograms(stripes) for stripes in (1, 6)}
    for seed in (0, 1):
        for batch_statistics in (False, True):
            named = 'batch' if batch_statistics else 'initial'
            seeded = Experiment.from_config({**experiment.to_config(), 'seed': seed}, experiment.manager)
            embedders[f'untrained, seed {seed}, {named} statistics'] = Untrained(seeded, batch_statistics)
    for name, embedder in embedders.items():
        embeddings = embed_samples(embedder, all_samples(trials), experiment.build_transform('test'), batch_size=128)
        row = score_trials(embeddings, 'sysu/agw', trials).rows()[0]
        print(f'{name:<40} R1 {100 * row["R1"]["mean"]:5.1f}  mAP {100 * row["mAP"]["mean"]:5.1f}', flush=True)


if __name__ == '__main__':
    main()
