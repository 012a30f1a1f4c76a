"""Small evaluations, made by hand, for the tests of what is drawn of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.results import Results
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial


def image(folder: Path, name: str, identity: int, camera: int, modality: str) -> Sample:
    path = folder / f'{name}.png'
    Image.new('RGB', (20, 40), (60 * identity % 256, 40 * camera, 90)).save(path)
    return Sample(str(path), identity, camera, modality)


@pytest.fixture
def evaluation(tmp_path: Path) -> Callable[..., Results]:
    """Makes evaluations; see `evaluate`."""
    return lambda trials=2: evaluate(tmp_path, trials)


@pytest.fixture(scope='module')
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One evaluation, which no test changes; see `evaluate`."""
    return evaluate(tmp_path_factory.mktemp('evaluated'))


def evaluate(folder: Path, trials: int = 2) -> Results:
    """Three people: 1 is found, 2 only at rank 2, 3 has no match. Gallery of cameras 1 and 2, queries of 3 and 6.

    Embeddings are angles: similarity is the cosine of their difference.
    """
    query = [
        image(folder, 'q1', 1, 3, INFRARED),
        image(folder, 'q2', 2, 6, INFRARED),
        image(folder, 'q3', 3, 6, INFRARED),
    ]
    gallery = [image(folder, 'g1', 1, 1, VISIBLE), image(folder, 'g2', 2, 2, VISIBLE)]
    angles = {'q1': 0.0, 'q2': 0.3, 'q3': 3.0, 'g1': 0.2, 'g2': 1.0}
    samples = (*gallery, *query)
    features = np.array([[np.cos(a), np.sin(a)] for a in (angles[Path(s.path).stem] for s in samples)])
    embeddings = Embeddings(samples, features.astype(np.float32))
    found = [Trial('all', n, tuple(query), tuple(gallery)) for n in range(trials)]
    return score_trials(embeddings, 'a protocol', found, weights='after step 3', data='three people')
