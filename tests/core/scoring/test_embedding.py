"""Every image is embedded once, by the stream of its own modality; results are averaged and printed as they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vireid.core.scoring.embedding import all_samples, embed_samples, score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Sample, Trial
from vireid.errors import NotReady, OutOfMemory
from vireid.plugins.protocols.regdb_agw import RegDBAgw
from vireid.plugins.protocols.sysu_agw import SYSUAgw


def to_float(image: Tensor) -> Tensor:
    return image.float() / 255


class Recorder:
    """Embeds an image as its mean red, green and blue in 0..255, and notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[tuple[int, ...]]]] = []
        self.gradients: list[bool] = []

    def embed(self, images: Tensor, modality: str) -> Tensor:
        colors = (images * 255).round().mean(dim=(2, 3))
        self.calls.append((modality, [tuple(map(int, row)) for row in colors.tolist()]))
        self.gradients.append(torch.is_grad_enabled())
        return colors

    def seen(self, modality: str) -> list[tuple[int, ...]]:
        return [color for called, colors in self.calls if called == modality for color in colors]


class RecordingModule(nn.Module):
    """The same as a network, which notes the mode it was called in."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.fails = fails
        self.modes: list[bool] = []

    def embed(self, images: Tensor, modality: str) -> Tensor:
        self.modes += [self.training, self.norm.training]
        if self.fails:
            raise RuntimeError('not-today')
        return images.mean(dim=(2, 3)).to(torch.bfloat16)


def picture(folder: Path, identity: int, camera: int, modality: str, shot: int = 0) -> Sample:
    """Writes a plain image whose color is (identity, camera or 100 + camera, shot + 1), infrared above 100."""
    path = folder / f'{modality}-{identity}-{camera}-{shot}.png'
    Image.new('RGB', (4, 6), color(identity, camera, modality, shot)).save(path)
    return Sample(str(path), identity, camera, modality)


def color(identity: int, camera: int, modality: str, shot: int = 0) -> tuple[int, int, int]:
    return identity, camera + (100 if modality == INFRARED else 0), shot + 1


class Pictures:
    """A dataset whose test split is what it is given."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = sorted(samples, key=lambda s: (s.modality, s.identity, s.camera, s.path))

    def split(self, name: str) -> list[Sample]:
        assert name == 'test'
        return self.samples


@pytest.fixture
def regdb(tmp_path: Path) -> Pictures:
    return Pictures([picture(tmp_path, i, 1, m, s) for i in (1, 2, 3) for m in MODALITIES for s in (0, 1)])


@pytest.fixture
def sysu(tmp_path: Path) -> Pictures:
    visible = [picture(tmp_path, i, c, VISIBLE, s) for i in (1, 2) for c in (1, 2, 4, 5) for s in (0, 1, 2)]
    return Pictures(visible + [picture(tmp_path, i, c, INFRARED) for i in (1, 2) for c in (3, 6)])


class TestEmbedding:
    def test_each_image_of_all_trials_once(self, sysu: Pictures) -> None:
        trials = SYSUAgw(trials=10).trials(sysu)
        recorder = Recorder()
        embeddings = embed_samples(recorder, all_samples(trials), to_float, batch_size=3, workers=0)
        seen = [c for _, colors in recorder.calls for c in colors]
        assert len(seen) == len(set(seen)) == len(embeddings.samples)
        assert set(embeddings.samples) == {s for t in trials for s in (*t.query, *t.gallery)}
        assert recorder.seen(INFRARED) == [color(i, c, INFRARED) for i in (1, 2) for c in (3, 6)]

    def test_duplicates_once(self, regdb: Pictures) -> None:
        recorder = Recorder()
        embeddings = embed_samples(recorder, regdb.samples * 3, to_float, workers=0)
        assert sum(len(colors) for _, colors in recorder.calls) == len(regdb.samples) == 12
        assert len(embeddings.features) == 12

    @pytest.mark.parametrize('batch_size', [1, 2, 5, 64])
    def test_one_modality_a_call_whatever_the_batches_and_the_order(self, regdb: Pictures, batch_size: int) -> None:
        # modalities alternate as they come, and batches of 5 straddle both
        mixed = [s for pair in zip(regdb.samples[:6], regdb.samples[6:], strict=True) for s in pair]
        recorder = Recorder()
        embeddings = embed_samples(recorder, mixed, to_float, batch_size=batch_size, workers=0)
        for modality, colors in recorder.calls:
            assert all((camera > 100) == (modality == INFRARED) for _, camera, _ in colors)
        assert [s.modality for s in embeddings.samples] == [VISIBLE] * 6 + [INFRARED] * 6
        assert max(len(colors) for _, colors in recorder.calls) <= batch_size

    @pytest.mark.parametrize('batch_size', [1, 5, 64])
    def test_of_follows_the_order_asked_for(self, regdb: Pictures, batch_size: int) -> None:
        embeddings = embed_samples(Recorder(), regdb.samples, to_float, batch_size=batch_size, workers=0)
        asked = [*reversed(regdb.samples), regdb.samples[4], regdb.samples[4]]
        expected = np.array([color(s.identity, s.camera, s.modality, int(Path(s.path).stem[-1])) for s in asked])
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        assert embeddings.of(asked) == pytest.approx(expected, abs=1e-6)

    def test_normalized_in_float32_whatever_the_model_gives(self, regdb: Pictures) -> None:
        embeddings = embed_samples(RecordingModule(), regdb.samples, to_float, workers=0)  # gives bfloat16
        assert embeddings.features.dtype == np.float32
        assert np.linalg.norm(embeddings.features, axis=1) == pytest.approx(np.ones(12), abs=1e-6)

    def test_worker_processes_change_nothing(self, regdb: Pictures) -> None:
        alone = embed_samples(Recorder(), regdb.samples, to_float, batch_size=5, workers=0)
        helped = embed_samples(Recorder(), regdb.samples, to_float, batch_size=5, workers=2)
        assert alone.samples == helped.samples
        assert (alone.features == helped.features).all()

    @pytest.mark.parametrize('training', [True, False])
    def test_evaluation_mode_meanwhile_and_the_old_mode_after(self, regdb: Pictures, training: bool) -> None:
        module = RecordingModule().train(training)
        embed_samples(module, regdb.samples, to_float, workers=0)
        assert module.modes
        assert not any(module.modes)
        assert module.training is training
        assert module.norm.training is training

    def test_the_old_mode_even_after_an_error(self, regdb: Pictures) -> None:
        module = RecordingModule(fails=True).train()
        with pytest.raises(RuntimeError, match='not-today'):
            embed_samples(module, regdb.samples, to_float, workers=0)
        assert module.training
        assert module.norm.training

    def test_without_gradients(self, regdb: Pictures) -> None:
        recorder = Recorder()
        embed_samples(recorder, regdb.samples, to_float, workers=0)
        assert recorder.gradients
        assert not any(recorder.gradients)
        assert torch.is_grad_enabled()

    def test_progress_counts_images(self, regdb: Pictures) -> None:
        told: list[tuple[int, int]] = []
        embed_samples(
            Recorder(),
            regdb.samples * 2,
            to_float,
            batch_size=5,
            workers=0,
            on_progress=lambda done, total: told.append((done, total)),
        )
        assert told == [(5, 12), (10, 12), (12, 12)]


class TestFlip:
    def test_embeddings_of_image_and_mirror_image_are_added_and_normalized(self, tmp_path: Path) -> None:
        # the embedder takes the left half's mean and twice the right half's
        class Halves:
            def embed(self, images: Tensor, modality: str) -> Tensor:
                left, right = images[..., :2], images[..., 2:]
                return torch.stack([left.mean(dim=(1, 2, 3)), 2 * right.mean(dim=(1, 2, 3))], dim=1)

        pixels = np.zeros((6, 4, 3), dtype=np.uint8)
        pixels[:, :2], pixels[:, 2:] = 30, 10
        Image.fromarray(pixels).save(tmp_path / 'p.png')
        sample = Sample(str(tmp_path / 'p.png'), 1, 1, VISIBLE)
        found = embed_samples(Halves(), [sample], to_float, workers=0, flip=True)
        # (30, 20) and, mirrored, (10, 60): the sum is (40, 80)
        assert found.features[0] == pytest.approx(np.array([3, 2]) / np.sqrt(13), abs=1e-6)
        assert found.flipped is not None
        assert found.flipped[0] == pytest.approx(np.array([1, 2]) / np.sqrt(5), abs=1e-6)

    def test_it_is_off_by_default_and_asking_for_it_then_says_so(self, regdb: Pictures) -> None:
        found = embed_samples(Recorder(), regdb.samples, to_float, workers=0)
        assert found.flipped is None
        with pytest.raises(NotReady, match='flip'):
            found.of(regdb.samples, flipped=True)


class TestStreams:
    def test_thermal_to_visible_sends_each_image_to_its_own_stream(self, regdb: Pictures) -> None:
        (trial,) = RegDBAgw(directions=['thermal to visible']).trials(regdb)
        assert {s.modality for s in trial.query} == {INFRARED}
        assert {s.modality for s in trial.gallery} == {VISIBLE}
        recorder = Recorder()
        embed_samples(recorder, all_samples([trial]), to_float, workers=0)
        by_stream = {m: [color(i, 1, m, s) for i in (1, 2, 3) for s in (0, 1)] for m in MODALITIES}
        assert recorder.seen(INFRARED) == by_stream[INFRARED]
        assert recorder.seen(VISIBLE) == by_stream[VISIBLE]

    def test_both_directions_embed_each_image_once_in_one_stream(self, regdb: Pictures) -> None:
        recorder = Recorder()
        embed_samples(recorder, all_samples(RegDBAgw().trials(regdb)), to_float, workers=0)
        assert len(recorder.seen(VISIBLE)) == len(recorder.seen(INFRARED)) == 6

    def test_a_model_right_in_its_streams_only_is_right_in_both_directions(self, regdb: Pictures) -> None:
        class Streams:
            """Tells identities apart in the right stream; in the wrong one all look like identity 1."""

            def embed(self, images: Tensor, modality: str) -> Tensor:
                colors = (images * 255).round().mean(dim=(2, 3)).long()
                right = (colors[:, 1] > 100) == (modality == INFRARED)
                return nn.functional.one_hot(torch.where(right, colors[:, 0], 1), 4).float()

        trials = RegDBAgw().trials(regdb)
        embeddings = embed_samples(Streams(), all_samples(trials), to_float, workers=0)
        results = score_trials(embeddings, 'regdb/agw', trials)
        assert [(s.rank(1), s.mean_ap, s.mean_inp) for s in results.scores] == [(1, 1, 1), (1, 1, 1)]


def test_a_batch_that_does_not_fit_into_memory_is_told_with_what_to_lower(tmp_path: Path) -> None:
    class Large(Recorder):
        def embed(self, images: Tensor, modality: str) -> Tensor:
            return torch.empty(2**50)

    samples = [picture(tmp_path, identity, 1, VISIBLE) for identity in (1, 2)]
    with pytest.raises(OutOfMemory) as caught:
        embed_samples(Large(), samples, to_float, workers=0)
    assert '2 images' in caught.value.given
    assert 'evaluation.batch_size' in caught.value.todo


def test_bf16_is_the_precision_of_the_embedder_alone(tmp_path: Path) -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.seen = nn.Linear(3, 8), []

        def embed(self, images: Tensor, modality: str) -> Tensor:
            self.seen.append(self.layer(images.mean(dim=(2, 3))))
            return self.seen[-1]

    samples = [picture(tmp_path, identity, 1, VISIBLE) for identity in (1, 2, 3)]
    torch.manual_seed(0)
    layer = Layer()
    exact, reduced = (
        embed_samples(layer, samples, to_float, workers=0, precision=precision).features
        for precision in ('32-true', 'bf16-mixed')
    )
    assert [seen.dtype for seen in layer.seen] == [torch.float32, torch.bfloat16]
    assert exact.dtype == reduced.dtype == np.float32
    assert np.abs(np.linalg.norm(reduced, axis=1) - 1).max() < 1e-6
    assert 0 < np.abs(exact - reduced).max() < 0.02


def test_trials_are_scored_from_their_own_images() -> None:
    a, b, c, d = (Sample(name, i, 1, VISIBLE) for i, name in enumerate('abcd'))
    q = Sample('q', 1, 3, INFRARED)
    features = np.array([[1, 0], [0.6, 0.8], [0.8, 0.6], [0, 1], [1, 0]], dtype=np.float32)
    embeddings = Embeddings((a, b, c, d, q), features)
    trials = [Trial('all', 0, (q,), (a, b, c)), Trial('all', 1, (q,), (b, c)), Trial('all', 2, (q,), (b, d))]
    results = score_trials(embeddings, 'p', trials)
    # identity 1 is b: behind a and c, behind c, before d
    assert [s.mean_ap for s in results.scores] == pytest.approx([1 / 3, 1 / 2, 1])
    assert results.trials == tuple(trials)
    assert results.embeddings is embeddings


def test_flip_and_re_ranking_come_beside_the_plain_scores_never_instead() -> None:
    a, b = (Sample(name, i, 1, VISIBLE) for i, name in enumerate('ab'))
    q = Sample('q', 1, 3, INFRARED)
    plain = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)  # the query looks like a
    flipped = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)  # averaged, like b

    class Turned:
        name = 'turned'

        def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Any:
            return lambda rows: -(query[rows] @ gallery.T)

    trials = [Trial('all', 0, (q,), (a, b))]
    told: list[tuple[int, int]] = []
    found = score_trials(
        Embeddings((a, b, q), plain, flipped),
        'p',
        trials,
        reranker=Turned(),
        weights='after step 3',
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert [s.mean_ap for s in found.scores] == [0.5]
    assert {name: [s.mean_ap for s in scored] for name, scored in found.variants.items()} == {
        'turned': [1],
        'flip': [1],
        'flip, turned': [0.5],
    }
    assert [row['name'] for row in found.rows()] == ['all', 'all, turned', 'all, flip', 'all, flip, turned']
    assert found.weights == 'after step 3'
    assert told == [(0, 1), (1, 1)]


def test_ties_in_gallery_order_are_named_beside_the_protocol() -> None:
    a, b = (Sample(name, i, 1, VISIBLE) for i, name in enumerate('ab'))
    q = Sample('q', 1, 3, INFRARED)
    embeddings, trials = Embeddings((a, b, q), np.ones((3, 2), dtype=np.float32)), [Trial('all', 0, (q,), (a, b))]
    mean, ordered = score_trials(embeddings, 'p', trials), score_trials(embeddings, 'p', trials, ties='gallery-order')
    assert (mean.protocol, mean.scores[0].rank(1), mean.scores[0].mean_ap) == ('p', 0.5, 0.75)
    assert ordered.protocol == 'p, ties in gallery order'
    assert (ordered.scores[0].rank(1), ordered.scores[0].mean_ap) == (0, 0.5)
    decide = '  ties between equally similar images affect 100.0% of the queries, which are scored'
    same = 'all 3 images have the same embedding, so these metrics mean nothing'
    assert mean.table().splitlines()[-2:] == [f'{decide} as the mean over all orders', same]
    assert ordered.table().splitlines()[-2:] == [f'{decide} in gallery order', same]
    assert ordered.to_dict()['identical'] == {'images': 3, 'equal': 3, 'distinct': 1, 'queries': 1, 'found': 1}


def test_a_query_that_has_the_embedding_of_a_gallery_image_is_told() -> None:
    a, b = (Sample(name, i, 1, VISIBLE) for i, name in enumerate('ab'))
    p, q = (Sample(name, i, 3, INFRARED) for i, name in enumerate('pq'))
    features = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 1]], dtype=np.float32)  # of a, b, p, q
    found = score_trials(Embeddings((a, b, p, q), features), 'p', [Trial('all', 0, (p, q), (a, b))])
    assert found.table().splitlines()[-1] == (
        '2 of 4 images share their embedding with another image, and 1 of 2 queries with a gallery image, which '
        'ranks first'
    )
    features[3] = 0.8, 0.6
    told = score_trials(Embeddings((a, b, p, q), features), 'p', [Trial('all', 0, (p, q), (a, b))])
    assert 'identical' not in told.to_dict()
    assert 'embedding' not in told.table()


def test_an_image_that_was_not_embedded_is_named() -> None:
    a, b = (Sample(name, i, 1, VISIBLE) for i, name in enumerate('ab'))
    with pytest.raises(NotReady, match=r'\bb\b'):
        Embeddings((a,), np.ones((1, 2), dtype=np.float32)).of([a, b])


def test_all_samples_are_the_union_of_the_trials() -> None:
    a, b, c = (Sample(name, i, 1, VISIBLE) for i, name in enumerate('abc'))
    assert all_samples([Trial('x', 0, (a,), (c, b)), Trial('x', 1, (b,), (a,))]) == [a, c, b]
