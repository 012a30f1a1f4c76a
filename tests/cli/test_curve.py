"""`vireid data curve` and `vireid train --folds`: one's own people, in parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vireid.cli import main
from vireid.core.errors import VireidError
from vireid.studies.curve import paired_gain
from vireid.synth import synthesize

CONFIG = str(Path(__file__).parents[2] / 'configs' / 'tffn_own.py')
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[32,16]', 'images.workers=0',
    'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2', 'training.epochs=1',
    'training.precision=32-true',
]  # fmt: skip


@pytest.fixture(scope='module')
def people(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder, layout='manifest', ids=10, seed=0, images=2, workers=1)
    return str(folder)


def test_each_number_of_people_is_trained_on_and_tested_on_the_same(people, tmp_path, capsys):
    words = ['data', 'curve', CONFIG, '--data-root', people, '--work-dir', str(tmp_path)]
    words += ['--identities', '4', '2', '--draws', '2', '--cfg-options', *SMALL]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert text.count('rank-1') == 5  # four runs, and what they say
    lines = (tmp_path / 'curve.txt').read_text().splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [['2', '2'], ['4', '2']]
    assert lines[0].split() == ['labelled', 'people', 'draws', 'R1', 'mAP']
    assert lines[-1].startswith('From 2 to 4 labelled people, rank-1 changes by ')
    found = {p.name: json.loads((p / 'result.json').read_text())['identities'] for p in tmp_path.glob('people_*')}
    assert found == {f'people_{n}_draw_{d}': n for n in (2, 4) for d in (0, 1)}
    # the same command passes over what is there
    assert main(words) == 0
    assert capsys.readouterr().out.count('(done before)') == 4


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--identities', '4'], '--identities is 4'),
        (['--identities', '2', '4', '--draws', '0'], '--draws is 0'),
        (['--identities', '2', '40'], 'identities is 40, and '),
    ],
)
def test_what_makes_no_curve(people, tmp_path, capsys, flags, message):
    words = ['data', 'curve', CONFIG, '--data-root', people, '--work-dir', str(tmp_path), *flags]
    assert main([*words, '--cfg-options', *SMALL]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def queries(path: Path, hits: dict[int, list[int]]) -> Path:
    """Writes the queries of a run: for each person, who is found first."""
    identity = np.array([person for person, found in hits.items() for _ in found])
    ahead = np.array([1 - hit for found in hits.values() for hit in found])
    np.savez(path, identity=identity, ahead=ahead, row=np.zeros(len(ahead), dtype=int))
    return path


def test_the_gain_is_a_mean_over_people_of_the_test(tmp_path):
    # person 1: from 0 and 1/2 (mean 1/4) to 1; person 2: from 1 to 1/2; person 3: unchanged
    before = [
        queries(tmp_path / 'a.npz', {1: [0, 0], 2: [1], 3: [1]}),
        queries(tmp_path / 'b.npz', {1: [0, 1], 2: [1], 3: [1]}),
    ]
    after = [queries(tmp_path / 'c.npz', {1: [1, 1], 2: [1, 0], 3: [1]})]
    gain, low, high, people = paired_gain(before, after)
    # differences 3/4, -1/2, 0: mean 1/12, standard deviation 0.62915; t of 2 degrees of freedom 4.30265
    assert (gain, people) == (pytest.approx(1 / 12), 3)
    assert high - gain == gain - low == pytest.approx(4.30265 * 0.629153 / 3**0.5, rel=1e-4)
    with pytest.raises(VireidError, match='different people'):
        paired_gain(before, [queries(tmp_path / 'd.npz', {1: [1], 2: [1]})])


def test_folds_test_everybody_once(people, tmp_path, capsys):
    words = ['train', CONFIG, '--data-root', people, '--work-dir', str(tmp_path), '--folds', '2']
    assert main([*words, '--cfg-options', *SMALL]) == 0
    text = capsys.readouterr().out
    assert 'over 2 models, each on its own split' in text
    assert '95 % interval over 10 identities' in text
    whole = json.loads((tmp_path / 'result.json').read_text())
    assert whole['rows'][0]['identities'] == 10
    tested = [np.load(tmp_path / f'trial_{fold}/queries.npz')['identity'] for fold in (1, 2)]
    assert len(set(tested[0]) & set(tested[1])) == 0
    assert main([*words, '--trials', '1-2']) == 2
    assert '--folds and --trials do not go together' in capsys.readouterr().err
