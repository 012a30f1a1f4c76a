"""`vireid data curve` and `vireid train --folds`: one's own people, in parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from vireid.cli import main
from vireid.errors import Mismatch, MissingFile
from vireid.studies.curve import paired_gain
from vireid.synth import synthesize

pytestmark = pytest.mark.usefixtures('narrow_resnet')

CONFIG = str(Path(__file__).parents[2] / 'configs' / 'tffn_own.py')
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[32,16]', 'images.workers=0',
    'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2', 'training.epochs=1',
    'training.precision=32-true',
    'model.backbone.out_stages=[2,3]', 'model.necks.s4.inputs=stage3',
    *(f'model.necks.{name}.channels=64' for name in ('s2', 's3', 's4')), 'loggers=[{"type": "Console"}]',
]  # fmt: skip


@pytest.fixture(scope='module')
def people(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder, layout='manifest', ids=10, seed=0, images=1, workers=1)
    return str(folder)


def test_each_number_of_people_is_trained_on_and_tested_on_the_same(people, tmp_path, capsys):
    words = ['data', 'curve', CONFIG, '--data-root', people, '--work-dir', str(tmp_path)]
    words += ['--identities', '4', '2', '--draws', '2', '--cfg-options', *SMALL]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert text.count('rank-1') == 5  # four runs, and what they say
    lines = (tmp_path / 'curve.txt').read_text().splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [['2', '2'], ['4', '2']]
    assert lines[0].split() == ['labeled', 'people', 'draws', 'R1', 'mAP']
    assert lines[-1].startswith('From 2 to 4 labeled people, rank-1 changes by ')
    found = {p.name: json.loads((p / 'result.json').read_text())['identities'] for p in tmp_path.glob('people_*')}
    assert found == {f'people_{n}_draw_{d}': n for n in (2, 4) for d in (0, 1)}
    # the same command passes over what is there
    assert main(words) == 0
    assert capsys.readouterr().out.count('(finished before)') == 4


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--identities', '4'], '--identities is 4'),
        (['--identities', '2', '4', '--draws', '0'], '--draws is 0'),
        (['--identities', '2', '40'], 'identities is 40, but '),
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
    zeros, ap = np.zeros(len(ahead), dtype=int), 1 / (1 + ahead)
    np.savez(path, identity=identity, ahead=ahead, row=zeros, trial=zeros, ap=ap, inp=ap)
    return path


def test_the_gain_is_a_mean_over_people_of_the_test(tmp_path):
    # 4 queries a run. Before, two runs: person 1 finds 1 of 4, 2 and 3 all; after: 2 of 2, 0 of 1, 1 of 1
    before = [
        queries(tmp_path / 'a.npz', {1: [0, 0], 2: [1], 3: [1]}),
        queries(tmp_path / 'b.npz', {1: [0, 1], 2: [1], 3: [1]}),
    ]
    after = [queries(tmp_path / 'c.npz', {1: [1, 1], 2: [0], 3: [1]})]
    gain, low, high, people = paired_gain(before, after)
    # means 5/8 and 3/4. Residuals before: (1 - 4 5/8, 2 - 2 5/8, 2 - 2 5/8) / 8 = (-3, 1.5, 1.5) / 16;
    # after: (2 - 2 3/4, 0 - 3/4, 1 - 3/4) / 4 = (2, -3, 1) / 16; differences (5, -4.5, -0.5) / 16
    squares = (25 + 20.25 + 0.25) / 256
    unknown = [(3 * mean + 0.5) / 4 for mean in (5 / 8, 3 / 4)]
    prior = 0.5 * sum(u * (1 - u) for u in unknown) / 3
    assert (gain, people) == (pytest.approx(1 / 8), 3)
    half = student.ppf(0.975, 2.5) * ((3 * squares + prior) / 2.5) ** 0.5
    assert (low, high) == (pytest.approx(max(-1, 1 / 8 - half)), pytest.approx(min(1, 1 / 8 + half)))
    with pytest.raises(Mismatch, match='people'):
        paired_gain(before, [queries(tmp_path / 'd.npz', {1: [1], 2: [1]})])
    with pytest.raises(MissingFile, match=r'none\.npz'):
        paired_gain(before, [tmp_path / 'none.npz'])


def test_nothing_seen_is_not_nothing_there(tmp_path):
    same = queries(tmp_path / 'a.npz', {1: [1, 1], 2: [1], 3: [0]})
    gain, low, high, _ = paired_gain([same], [same])
    assert gain == 0
    assert low == -high < -0.2


def test_folds_test_everybody_once(people, tmp_path, capsys):
    words = ['train', CONFIG, '--data-root', people, '--work-dir', str(tmp_path), '--folds', '2']
    assert main([*words, '--cfg-options', *SMALL]) == 0
    text = capsys.readouterr().out
    assert 'over 2 models, each on its own split' in text
    assert '95% interval over 10 identities' in text
    whole = json.loads((tmp_path / 'result.json').read_text())
    assert whole['rows'][0]['identities'] == 10
    tested = [np.load(tmp_path / f'fold_{fold}/queries.npz')['identity'] for fold in (1, 2)]
    assert len(set(tested[0]) & set(tested[1])) == 0
    assert main([*words, '--splits', '1-2']) == 2
    assert '--folds and --splits cannot be combined' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['train', '--folds', '1'], '--folds is 1'),
        (['train', '--folds', '3'], '--folds reassigns identities to splits, but the splits of SYSU-MM01 are fixed'),
        (
            ['data', 'curve', '--identities', '2', '4'],
            'a learning curve reassigns identities to splits, but the splits of SYSU-MM01',
        ),
    ],
)
def test_a_published_split_is_not_dealt_anew(people, tmp_path, capsys, flags, message):
    config = str(Path(CONFIG).with_name('tffn_sysu.py'))
    words = [*flags, '--data-root', people, '--work-dir', str(tmp_path)]
    words.insert(1 if flags[0] == 'train' else 2, config)
    assert main([*words, '--cfg-options', *SMALL]) == 2
    assert message in capsys.readouterr().err
