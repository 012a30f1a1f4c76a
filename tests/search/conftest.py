"""A trained model and a gallery that are searched."""

from __future__ import annotations

from pathlib import Path

import faults
import pytest
import torch
import torchvision

from vireid.launch.launch import train
from vireid.synth import synthesize


@pytest.fixture(scope='session')
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten synthetic people in SYSU-MM01's layout: visible cameras 1, 2, 4, 5, infrared cameras 3 and 6."""
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder, layout='sysu', ids=10, seed=0, images=1, workers=1)
    return folder


@pytest.fixture(scope='session')
def checkpoint(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny model."""
    folder = tmp_path_factory.mktemp('run')
    train(faults.experiment(people), folder)
    return folder / 'checkpoints/last.pt'


@pytest.fixture(scope='session')
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of the zero-shot network: random weights in the place of ImageNet's, and small images."""
    path = tmp_path_factory.mktemp('weights') / 'mobilenet_v2.pth'
    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v2().state_dict(), path)
    return [f'model.backbone.weights={path}', 'images.size=[64,32]', 'model.necks.stripes.parts=2']
