"""A run of a few steps with one evaluation, for the loggers of external trackers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.results import Results
from vireid.core.types import INFRARED, VISIBLE, Progress, Sample, Trial

CONFIG = {
    'name': 'a run',
    'seed': 7,
    'model': {'backbone': {'depth': 18, 'weights': None}},
    'images': {'size': (32, 16), 'train': [{'type': 'Resize'}, {'type': 'ToFloat'}]},
    'step': {'groups': {'backbone.*': {'lr': 0.5}}},
}


def at(step: int) -> Progress:
    return Progress(step // 5, step, 5, 10)


def record_of(step: int) -> dict[str, Any]:
    """The record of step `step`: its loss is its number, and the gradient of step 2 is not finite."""
    return {
        'loss': float(step),
        'tasks': {'a': 1.5, 'b': 4.0},
        'weights': {'a': 1.0},
        'curves': {'loss of': {'a': 0.25}},
        'lr': 0.125,
        'gradient': float('nan') if step == 2 else 8.0,
    }


@pytest.fixture
def two_rows() -> Results:
    """The query is identity 1; the gallery ranks identity 2 first, then 1: R1 is 0 and mAP is 50%."""
    people = [('q', 1, INFRARED), ('g2', 2, VISIBLE), ('g1', 1, VISIBLE)]
    samples = tuple(Sample(name, identity, 1, modality) for name, identity, modality in people)
    features = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32)
    trial = Trial('all 1-shot', 0, samples[:1], samples[1:])
    found = score_trials(Embeddings(samples, features), 'a protocol', [trial])
    return replace(found, variants={'flip': found.scores})


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """Returns `make_run(step, resumed)`, which creates runs in the same folder."""

    def make(step: int = 0, resumed: bool = False) -> SimpleNamespace:
        folder = tmp_path / 'runs' / 'first'
        folder.mkdir(parents=True, exist_ok=True)
        experiment = SimpleNamespace(name='a run', to_config=lambda: CONFIG)
        return SimpleNamespace(work_dir=folder, progress=at(step), experiment=experiment, resumed=resumed)

    return make


@pytest.fixture
def take_steps() -> Callable[..., None]:
    """Returns a function that passes steps `first` to `last`, and `results` if any, to a logger."""

    def take(logger: Any, first: int, last: int, results: Results | None = None) -> None:
        for step in range(first, last + 1):
            logger.step_ended(at(step), record_of(step))
        if results is not None:
            logger.evaluated(at(last), results)

    return take
