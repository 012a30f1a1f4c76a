"""What ranks the gallery instead of cosine: in the plain row, fitted before scoring, kept in the checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vireid.api import evaluate
from vireid.boundary import checkpoint
from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import Mismatch, NotFinite, NotReady, TooFew, UnsafeFile
from vireid.exchange.evaluation import score_checkpoint
from vireid.launch.launch import train
from vireid.plugin_manager.manager import create_manager, hookimpl


class Pixels(nn.Module):
    """An embedder without parameters: the mean color of each of 8 stripes."""

    def embed(self, images: torch.Tensor, modality: str) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(images, (8, 1)).flatten(1)


class Dictionary(Pixels):
    """An embedder that fits something in closed form: the mean of each modality's training images, taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('means', torch.zeros(2, 24))
        self.fits = 0

    def fit(self, batches: Any) -> None:
        self.fits += 1
        found = {VISIBLE: [], INFRARED: []}
        for batch in batches:
            for modality, images in batch.images.items():
                found[modality].append(super().embed(images, modality))
        self.means.copy_(torch.stack([torch.cat(found[m]).mean(0) for m in (VISIBLE, INFRARED)]))

    def embed(self, images: torch.Tensor, modality: str) -> torch.Tensor:
        return super().embed(images, modality) - self.means[int(modality == INFRARED)]


class Whitened(nn.Module):
    """A metric fitted in closed form: the inverse of the covariance within identities."""

    name = 'whitened'
    fits = 0

    def __init__(self, ridge: float = 0.1) -> None:
        super().__init__()
        self.ridge = ridge
        self.register_buffer('metric', torch.zeros(24, 24))

    def fit(self, embeddings: Embeddings) -> None:
        type(self).fits += 1
        features = torch.from_numpy(embeddings.features)
        identities = torch.tensor([s.identity for s in embeddings.samples])
        centered = torch.cat(
            [features[identities == i] - features[identities == i].mean(0) for i in identities.unique()]
        )
        self.metric.copy_(torch.linalg.inv(centered.T @ centered / len(centered) + self.ridge * torch.eye(24)))

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Any:
        metric = self.metric.numpy()
        return lambda rows: query[rows] @ metric @ gallery.T


class OfModel:
    """Compares by what the model says, and is told the trial."""

    name = 'by the model'

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def similarity(self, query: np.ndarray, gallery: np.ndarray, trial: Trial) -> Any:
        same = np.array([[float(q.identity == g.identity) for g in trial.gallery] for q in trial.query])
        return lambda rows: same[rows]


class Wrong:
    name = 'wrong'

    def __init__(self, how: str) -> None:
        self.how = how

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Any:
        if self.how == 'shape':
            return lambda rows: query[rows]
        return lambda rows: np.full((len(query[rows]), len(gallery)), np.nan)


PARTS = {
    'models': {'Pixels': Pixels, 'Dictionary': Dictionary},
    'similarities': {'Whitened': Whitened, 'OfModel': OfModel, 'Wrong': Wrong},
}


@pytest.fixture
def make(small_sysu, make_tiny):
    def make(*options: str) -> Any:
        manager = create_manager()

        class Plugin:
            @hookimpl
            def register_components(self, add: Any) -> None:
                for kind, named in PARTS.items():
                    for name, target in named.items():
                        add(kind, name, target)

        manager.register(Plugin(), 'mine')
        quiet = ['loggers=[]', 'training.epochs=1', 'images.size=[64,32]', 'training.accelerator=cpu']
        return make_tiny(small_sysu, *quiet, *options, manager=manager)

    return make


PIXELS = 'model={"type": "Pixels"}'
WHITENED = 'evaluation.similarity={"type": "Whitened"}'


def test_a_model_with_nothing_to_train_is_scored_without_a_checkpoint(make, tmp_path):
    found = score_checkpoint(make(PIXELS), None, tmp_path)
    assert found.weights == 'without training'
    assert found.rows()[0]['valid'][0] > 0
    assert not (tmp_path / 'checkpoints').exists()  # there is nothing to keep
    assert evaluate(make(PIXELS), work_dir=tmp_path / 'again').rows() == found.rows()


def test_one_that_was_not_trained_asks_for_its_checkpoint(make, tmp_path):
    with pytest.raises(NotReady, match='test CONFIG CHECKPOINT'):
        score_checkpoint(make(), None, tmp_path)


def test_frozen_as_a_whole_it_needs_none(make, tmp_path):
    found = score_checkpoint(make("training.freeze=['*']"), None, tmp_path)
    assert found.weights == 'without training'


def test_what_is_fitted_is_fitted_once_and_kept(make, tmp_path):
    model, Whitened.fits = 'model={"type": "Dictionary"}', 0
    first = score_checkpoint(make(model, WHITENED), None, tmp_path)
    assert Whitened.fits == 1
    assert first.protocol.endswith(', whitened')
    again = score_checkpoint(make(model, WHITENED), tmp_path / 'checkpoints' / 'last.pt', tmp_path / 'test')
    assert Whitened.fits == 1  # its state was in the checkpoint
    assert again.rows() == first.rows()
    other = WHITENED.replace('}', ', "ridge": 0.2}')
    score_checkpoint(make(model, other), tmp_path / 'checkpoints' / 'last.pt', tmp_path / 'other')
    assert Whitened.fits == 2  # another metric is not that one


def test_a_trained_network_is_followed_by_the_fit_and_its_checkpoint_has_it(make, tmp_path):
    class Small(Whitened):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer('metric', torch.zeros(256, 256))

        def fit(self, embeddings: Embeddings) -> None:
            self.metric.copy_(torch.eye(embeddings.features.shape[1]).new_zeros(256, 256))
            size = embeddings.features.shape[1]
            self.metric[:size, :size] = torch.eye(size)

        def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Any:
            size = query.shape[1]
            return lambda rows: query[rows] @ self.metric.numpy()[:size, :size] @ gallery.T

    PARTS['similarities']['Small'] = Small
    by_metric = train(make('evaluation.similarity={"type": "Small"}'), tmp_path)
    kept = checkpoint.load(tmp_path / 'checkpoints' / 'last.pt')['similarity']
    assert kept['config'] == {'type': 'Small'}
    assert kept['state']['metric'].shape == (256, 256)
    by_cosine = score_checkpoint(make(), tmp_path / 'checkpoints' / 'last.pt', tmp_path / 'cosine')
    assert [s.mean_ap for s in by_metric.scores] == pytest.approx([s.mean_ap for s in by_cosine.scores])  # the unit one


def test_one_may_compare_by_the_model_and_the_samples(make, tmp_path):
    found = score_checkpoint(make(PIXELS, 'evaluation.similarity={"type": "OfModel"}'), None, tmp_path)
    assert {s.mean_ap for s in found.scores} == {1.0}
    trial = found.trials[0]
    assert found.similarities(trial).shape == (len(trial.query), len(trial.gallery))


@pytest.mark.parametrize(
    ('how', 'kind', 'fact'), [('shape', Mismatch, r'Wrong .*ndarray \(\d'), ('values', NotFinite, 'Wrong')]
)
def test_a_wrong_similarity_is_an_error(make, tmp_path, how, kind, fact):
    made = make(PIXELS, f'evaluation.similarity={{"type": "Wrong", "how": "{how}"}}')
    with pytest.raises(kind, match=f'evaluation.similarity: {fact}'):
        score_checkpoint(made, None, tmp_path)


def test_a_fit_without_training_images_is_told(make, tmp_path, monkeypatch):
    made = make(PIXELS, WHITENED)
    dataset = made.build_dataset()
    split = dataset.split
    monkeypatch.setattr(type(dataset), 'split', lambda self, name: () if name == 'train' else split(name))
    with pytest.raises(TooFew, match='Whitened'):
        score_checkpoint(made, None, tmp_path)


def test_a_state_that_cannot_be_kept_costs_no_weights(make, tmp_path, monkeypatch):
    monkeypatch.setattr(Whitened, 'fit', lambda self, found: None)
    monkeypatch.setattr(Whitened, 'similarity', lambda self, q, g: lambda rows: q[rows] @ g.T)
    monkeypatch.setattr(Whitened, 'state_dict', lambda self: {'metric': np.zeros(3)})
    with pytest.raises(UnsafeFile, match='numpy'):
        train(make(WHITENED), tmp_path)
    assert checkpoint.load(tmp_path / 'checkpoints' / 'last.pt')['model']
    assert [p.name for p in (tmp_path / 'checkpoints').iterdir() if 'amended' in p.name] == []


def test_weights_chosen_by_validation_are_scored_by_a_metric_of_the_training_images(make, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Whitened, 'fit', lambda self, found: seen.append({s.identity for s in found.samples}))
    monkeypatch.setattr(Whitened, 'similarity', lambda self, q, g: lambda rows: q[rows] @ g.T)
    chosen = ['evaluation.select=validation', 'training.evaluate_every=1', 'dataset.train_lists=["train"]']
    train(make(WHITENED, *chosen), tmp_path)
    assert len(seen) > 1
    assert all(identities == {1, 2, 6} for identities in seen)


def test_by_hand():
    """Two queries, three gallery images; the similarity turns cosine's order around."""
    samples = [Sample(f'q{i}', i, 1, VISIBLE) for i in range(2)] + [Sample(f'g{i}', i, 2, INFRARED) for i in range(3)]
    features = np.eye(5, dtype=np.float32)[:, :3]
    embeddings = Embeddings(tuple(samples), features)
    trial = Trial('all', 0, tuple(samples[:2]), tuple(samples[2:]))
    table = np.array([[0.1, 0.2, 0.3], [0.9, 0.5, 0.1]])  # ranks of the match: 3 and 2

    class Table:
        name = 'a table'

        def similarity(self, query, gallery):
            return lambda rows: table[rows]

    found = score_trials(embeddings, 'mine', [trial], similarity=Table())
    assert found.protocol == 'mine, a table'
    assert found.scores[0].mean_ap == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found.scores[0].cmc.tolist() == [0.0, 0.5, 1.0]


def test_one_that_returns_an_array_is_told(make, tmp_path, monkeypatch):
    monkeypatch.setattr(Wrong, 'similarity', lambda self, query, gallery: query @ gallery.T)
    made = make(PIXELS, 'evaluation.similarity={"type": "Wrong", "how": "shape"}')
    with pytest.raises(Mismatch, match=r'evaluation\.similarity: .*Wrong .*ndarray'):
        score_checkpoint(made, None, tmp_path)
