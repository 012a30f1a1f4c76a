"""The hand-crafted systems, from the command line's path: scored without training, above chance, and kept if fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vireid.boundary import checkpoint
from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.diagnostics.dry_run import dry_run
from vireid.errors import Mismatch
from vireid.exchange.evaluation import score_checkpoint
from vireid.launch.launch import train
from vireid.plugin_manager.manager import create_manager
from vireid.synth import synthesize

SYSTEMS = Path(__file__).parents[1] / 'configs' / 'systems'
NAMES = ('hog', 'lomo', 'mlapg')
QUICK = ['evaluation.similarity.dims=40', 'evaluation.similarity.iterations=60']


@pytest.fixture(scope='module')
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic people in SYSU-MM01's layout."""
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder, layout='sysu', ids=30, seed=0, images=1, workers=1)
    return folder


def experiment(name: str, *options: str) -> Experiment:
    quick = ['loggers=[]', 'protocol.modes=["all"]', 'protocol.trials=4', *(QUICK if name == 'mlapg' else ()), *options]
    return Experiment.from_config(config.load(SYSTEMS / f'{name}.py', quick), create_manager())


# rank-1 over that of chance
@pytest.mark.parametrize(('name', 'factor'), [('hog', 3.0), ('lomo', 1.5), ('mlapg', 2.0)])
def test_scores_above_chance_without_training(name: str, factor: float, people: Path, tmp_path: Path) -> None:
    made = experiment(name, f'dataset.root={people}')
    results = score_checkpoint(made, None, tmp_path)
    assert results.weights == 'without training'
    (row,) = results.rows()
    identities = len({s.identity for s in made.build_dataset().split('test')})
    assert row['R1']['mean'] > factor / identities
    if name == 'mlapg':  # the fitted metric is kept: it scores alike
        last = tmp_path / 'checkpoints/last.pt'
        state = checkpoint.load(last)['similarity']['state']
        assert len(state['projection']) == len(state['center']) == 26_960
        assert score_checkpoint(made, last, tmp_path / 'again').rows() == results.rows()
    else:
        assert not (tmp_path / 'checkpoints').exists()


@pytest.mark.parametrize('name', NAMES)
def test_a_dry_run_has_nothing_to_train(name: str) -> None:
    text = dry_run(experiment(name, 'dataset.root=/none', 'evaluation.similarity=None'))
    assert 'one step on random images: none, there is nothing to train' in text
    assert 'one evaluation of random images' in text


def test_training_and_normalized_images_are_refused(people: Path, tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match=r'HOG .*parameters'):
        train(experiment('hog', f'dataset.root={people}'), tmp_path / 'run')
    normalized = 'images.test=[{"type": "Resize"}, {"type": "ToFloat"}, '
    normalized += '{"type": "Normalize", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}]'
    with pytest.raises(Mismatch, match=r'HOG .*-2\.5'):
        score_checkpoint(experiment('hog', f'dataset.root={people}', normalized), None, tmp_path / 'test')


def test_images_of_one_color_tie(people: Path) -> None:
    """Their HOG is 0, and so is every similarity: the mean over all orders is chance."""
    from vireid.core.scoring.embeddings import Embeddings
    from vireid.core.scoring.retrieval import score

    made = experiment('hog', f'dataset.root={people}')
    trial = made.build_protocol().trials(made.build_dataset())[0]
    samples = (*trial.query, *trial.gallery)
    zeros = Embeddings(samples, np.zeros((len(samples), 4), dtype=np.float32))
    found = score(zeros.of(trial.query), zeros.of(trial.gallery), trial)
    assert found.rank(1) == pytest.approx(1 / len({s.identity for s in trial.gallery}), abs=0.05)
