"""A trained model and a gallery that are searched."""

from __future__ import annotations

from pathlib import Path

import faults
import pytest

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
