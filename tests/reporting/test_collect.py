"""What is kept of an evaluation to be looked at: the same numbers as the table has, and the images of the lists."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.reporting import collect as module
from vireid.reporting import ranking_lists
from vireid.reporting.collect import THUMB, collect, collect_lists
from vireid.statistics.scores import RANKS


def names(found, indices):
    return [Path(found.about['images'][i][0]).stem if i >= 0 else None for i in indices]


def test_the_cmc_is_that_of_the_table(evaluation):
    results = evaluation()
    found = collect(results)
    row = results.rows()[0]
    assert found.cmc['all'].tolist() == [0.5, 1.0]  # of persons 1 and 2; person 3 is not there
    for k in RANKS:
        curve = found.cmc['all']
        assert curve[min(k, len(curve)) - 1] == row[f'R{k}']['mean']


def test_a_list_is_a_query_and_its_gallery_as_ranked(evaluation):
    """q2 is at angle 0.3, g1 at 0.2, g2 at 1.0: so person 1 comes first, wrongly."""
    found = collect(evaluation())
    lists = found.lists
    assert sorted(names(found, lists['query'])) == ['q1', 'q2']  # a query without a match has no list
    row = names(found, lists['query']).index('q2')
    assert names(found, lists['gallery'][row]) == ['g1', 'g2']
    assert lists['right'][row].tolist() == [False, True]
    np.testing.assert_allclose(lists['similarity'][row], [np.cos(0.1), np.cos(0.7)], rtol=1e-5)
    assert (lists['ap'][row], lists['first'][row]) == (0.5, 2)
    assert names(found, lists['query'])[0] == 'q2'  # the worst comes first
    assert all({'best', 'worst', 'random'} >= set(kinds) for kinds in found.about['kinds'])
    assert found.about['trial'] == 'trial 0 of all'


def test_the_lists_alone_are_those_of_the_whole(evaluation):
    whole, lists = collect(evaluation(), name='a run'), collect_lists(evaluation(), name='a run')
    shown = len(lists.about['images'])
    assert lists.about['images'] == whole.about['images'][:shown]
    assert lists.thumbs == whole.thumbs[:shown]
    assert lists.lists.keys() == whole.lists.keys()
    for name, values in lists.lists.items():
        assert values.tolist() == whole.lists[name].tolist()
    assert {key: value for key, value in whole.about.items() if key in lists.about and key != 'images'} == {
        key: value for key, value in lists.about.items() if key != 'images'
    }


def test_what_the_protocol_drops_is_in_no_list(tmp_path, evaluation):
    results = evaluation()
    query, gallery = results.trials[0].query, results.trials[0].gallery
    drop = lambda qi, qc, gi, gc: (qi == 2) & (gi == 1)  # noqa: E731
    trial = Trial('all', 0, query, gallery, drop=drop)
    found = collect(score_trials(results.embeddings, 'x', [trial]))
    row = names(found, found.lists['query']).index('q2')
    assert names(found, found.lists['gallery'][row]) == ['g2', None]


def test_chunks_of_queries_change_nothing(evaluation, monkeypatch):
    whole = collect(evaluation())
    monkeypatch.setattr(ranking_lists, 'PAIRS_PER_CHUNK', 1)
    parts = collect(evaluation())
    for key, value in whole.lists.items():
        assert np.array_equal(value, parts.lists[key]), key


def test_distances_are_counted_by_hand(evaluation):
    """Across: q1 g1 and q2 g2 are of one person (0.2 and 0.7 apart), the four others of two."""
    counted = collect(evaluation()).distances
    assert {key: int(values.sum()) for key, values in counted.items()} == {'same across': 2, 'different across': 4}
    bins = np.linspace(0, 2, len(counted['same across']) + 1)
    expected = np.histogram([1 - np.cos(0.2), 1 - np.cos(0.7)], bins)[0]
    assert np.array_equal(counted['same across'], expected)  # within a modality nobody is there twice


def test_no_image_is_compared_with_itself(tmp_path):
    samples = tuple(Sample(f'{i}', i // 2, 1, VISIBLE) for i in range(4))
    embeddings = Embeddings(samples, np.eye(4, dtype=np.float32))
    counted = module._distances(embeddings, Trial('x', 0, samples[:2], samples[2:]), np.random.default_rng(0))
    assert {key: int(values.sum()) for key, values in counted.items()} == {
        'same within visible': 2,
        'different within visible': 4,
    }


def test_identities_and_cameras_have_the_scores_of_their_queries_worst_first(evaluation):
    about = collect(evaluation(trials=3)).about
    assert about['identities'] == [
        {'identity': 2, 'queries': 3, 'R1': 0.0, 'mAP': 0.5},
        {'identity': 1, 'queries': 3, 'R1': 1.0, 'mAP': 1.0},
    ]
    assert about['cameras'] == [
        {'camera': 6, 'queries': 3, 'R1': 0.0, 'mAP': 0.5, 'modality': INFRARED},
        {'camera': 3, 'queries': 3, 'R1': 1.0, 'mAP': 1.0, 'modality': INFRARED},
    ]


def test_images_are_kept_small_and_those_that_have_gone_are_named(evaluation):
    results = evaluation()
    Path(results.trials[0].gallery[0].path).unlink()
    found = collect(results)
    gone = names(found, range(len(found.thumbs))).index('g1')
    assert found.thumbs[gone] == b''
    assert sum(map(bool, found.thumbs)) == len(found.thumbs) - 1
    with Image.open(io.BytesIO(found.thumbs[gone - 1])) as thumb:
        assert (thumb.format, thumb.size) == ('JPEG', THUMB)
    (note,) = found.about['notes']
    assert note.startswith('1 unreadable image left out: ')
    assert 'g1.png' in note


def test_points_are_whole_identities_each_image_once(evaluation):
    found = collect(evaluation())
    assert sorted(names(found, found.points['image'])) == ['g1', 'g2', 'q1', 'q2', 'q3']
    assert found.points['pca'].shape == found.points['tsne'].shape == (5, 2)


@pytest.mark.parametrize('count', [1, 2])
def test_one_query_of_one_identity(tmp_path, count):
    Image.new('RGB', (4, 8)).save(tmp_path / 'a.png')
    samples = [Sample(str(tmp_path / 'a.png'), 1, 1, VISIBLE), Sample(str(tmp_path / 'b.png'), 2, 1, VISIBLE)]
    samples += [Sample(str(tmp_path / f'{n}.png'), 1, 3, INFRARED) for n in range(count)]
    embeddings = Embeddings(tuple(samples), np.ones((2 + count, 2), dtype=np.float32))
    found = collect(score_trials(embeddings, 'x', [Trial('all', 0, tuple(samples[2:]), tuple(samples[:2]))]))
    assert len(found.lists['query']) == count
    alone = Trial('all', 0, tuple(samples[2:]), (samples[0],))
    assert module._distances(embeddings, alone, np.random.default_rng(0)) == {}  # there are no two to tell apart


def test_ties_count_as_the_mean_over_their_orders(tmp_path):
    samples = [Sample(str(tmp_path / f'{n}.png'), n, 1, VISIBLE) for n in (1, 2, 3)]
    samples.append(Sample(str(tmp_path / 'q.png'), 1, 3, INFRARED))
    embeddings = Embeddings(tuple(samples), np.ones((4, 2), dtype=np.float32))
    found = collect(score_trials(embeddings, 'x', [Trial('all', 0, (samples[3],), tuple(samples[:3]))]))
    assert found.cmc['all'] == pytest.approx([1 / 3, 2 / 3, 1])
    (row,) = found.about['identities']
    assert (row['R1'], row['mAP']) == (pytest.approx(1 / 3), pytest.approx(11 / 18))


def test_a_model_is_explained_on_pairs_right_and_wrong(evaluation):
    results = evaluation()
    model = torch.nn.Module()
    found = collect(results, model, lambda image: image)
    assert found.maps == {}
    assert found.about['pairs'] == []
    assert found.about['notes'] == ['no maps of where the model looks: Module has no backbone with stages']
    right, wrong = module._pairs(module.rank_queries(results, results.trials[0]), results.trials[0])
    assert [Path(s.path).stem for s in (right.query, right.gallery)] == ['q1', 'g1']
    assert [Path(s.path).stem for s in (wrong.query, wrong.gallery)] == ['q2', 'g1']
    assert (right.right, wrong.right) == (True, False)


def test_names_of_people_are_kept_where_they_are_not_their_numbers(evaluation):
    results = evaluation(trials=1)
    trial = results.trials[0]
    called = [replace(s, name='anna') if s.identity == 1 else s for s in trial.query]
    found = collect(replace(results, trials=[replace(trial, query=tuple(called))]))
    assert found.about['names'] == {'1': 'anna'}
    assert [found.name_of(number) for number in (1, 2)] == ['anna', '2']
