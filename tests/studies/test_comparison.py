"""Runs are compared if they are alike; what is claimed is what seeds and people bear out."""

from __future__ import annotations

import re

import numpy as np
import pytest

import vireid
from vireid.errors import DamagedFile, Mismatch, MissingFile, NotReady, TooFew, UnsupportedFile, WrongValue
from vireid.studies.comparison import compare_systems
from vireid.studies.comparison_page import render
from vireid.studies.systems import find_differences, read_systems

GOOD = [[1, 1], [1, 1], [1, 1], [1, 2], [1, 1], [1, 1]]
BAD = [[2, 3], [2, 1], [3, 2], [2, 4], [2, 1], [3, 3]]


@pytest.fixture
def both(make_run):
    """Two systems with three seeds each; the first finds nearly all, the second few."""
    return [make_run(name, seed, hits) for name, hits in (('good', GOOD), ('bad', BAD)) for seed in range(3)]


def test_seeds_of_one_config_are_one_system(both):
    systems = read_systems(both)
    assert [(s.name, sorted(s.runs)) for s in systems] == [('good', [0, 1, 2]), ('bad', [0, 1, 2])]


def test_a_real_difference_is_claimed_with_its_intervals(both):
    found = compare_systems(read_systems(both))
    pair = found.pairs[0]
    assert (pair.first, pair.second, pair.column) == ('good', 'bad', 'R1')
    assert pair.by_seeds.mean == pytest.approx(11 / 12 - 2 / 12)
    assert pair.by_people.mean == pytest.approx(pair.by_seeds.mean)
    assert pair.by_seeds.is_significant and pair.by_people.is_significant  # noqa: PT018
    assert pair.verdict().endswith('good is better than bad.')
    assert pair.wins == {0: 1.0, 1: 0.5, 2: 1.0, 3: 0.5, 4: 0.5, 5: 1.0}
    assert found.confidence == 0.95
    assert 'people, p, all; 10 steps' in found.text()


def test_noise_is_called_noise(make_run):
    """Seed 0 favours one, seed 1 the other."""
    runs = [make_run('a', 0, GOOD), make_run('a', 1, BAD), make_run('b', 0, BAD), make_run('b', 1, GOOD)]
    verdict = compare_systems(read_systems(runs)).pairs[0].verdict()
    assert 'Not significant: more than 50 seeds would detect a difference of 5 points.' in verdict


def test_of_one_seed_nothing_is_claimed(make_run):
    found = compare_systems(read_systems([make_run('a', 0, GOOD), make_run('b', 0, BAD)]))
    assert found.pairs[0].by_seeds is None
    assert 'One seed: no claim, since another seed can change the result as much; use at least 3.' in found.text()
    assert 'over 6 test identities' in found.text()


def test_of_several_pairs_each_interval_is_wider(both, make_run):
    runs = [*both, *(make_run('third', seed, BAD) for seed in range(3))]
    found = compare_systems(read_systems(runs))
    assert len(found.pairs) == 6
    assert found.confidence == pytest.approx(1 - 0.05 / 3)
    assert 'so that all pairs of a metric together have 95%' in found.text()


def test_of_many_pairs_the_noise_is_counted_and_the_page_has_each(both, make_run):
    runs = [*both, *(make_run(name, seed, BAD) for name in ('third', 'fourth') for seed in range(3))]
    found = compare_systems(read_systems(runs))
    told = [line for line in found.text().splitlines() if ' points (' in line]
    assert len(told) == 6  # the first against each of three, by two metrics
    assert all(line.endswith('good is better than ' + line.split()[2].rstrip(',') + '.') for line in told)
    assert '6 of 12 differences are not significant: 5 seeds would detect a difference of 5 points.' in found.text()
    assert found.markdown().count(' points (') == 12
    with_one = compare_systems(read_systems([*runs, make_run('fifth', 0, BAD)])).text()
    assert '6 of 20 differences are not significant' in with_one
    assert '8 differences from a single seed: no claim' in with_one


@pytest.mark.parametrize(
    ('other', 'named'),
    [
        ({'protocol': 'q'}, 'protocol p, all and q, all'),
        ({'data': 'others'}, 'data people and others'),
        ({'split': 'split 2'}, 'split the only split and split 2'),
        ({'steps': 20}, 'steps 10 and 20'),
        ({'identities': 9}, 'training identities 5 and 9'),
        ({'select': 'best R1 on the test'}, 'choice of weights the last and best R1 on the test'),
    ],
)
def test_runs_that_are_not_alike_are_refused_or_said(make_run, other, named):
    systems = read_systems([make_run('a', 0, GOOD), make_run('b', 0, BAD, **other)])
    with pytest.raises(Mismatch) as caught:
        compare_systems(systems)
    (difference,) = find_differences(systems)
    assert difference in caught.value.given
    assert difference == named
    assert '--allow-differences' in caught.value.todo
    found = compare_systems(systems, allow_differences=True)
    assert f'DIFFERENT: {named}' in found.text()
    assert named in found.markdown()


def test_other_queries_are_never_compared(make_run):
    systems = read_systems([make_run('a', 0, GOOD), make_run('b', 0, BAD[:-1])])
    with pytest.raises(Mismatch, match='seed 0'):
        compare_systems(systems, allow_differences=True)


def test_runs_that_cannot_be_taken(make_run, tmp_path):
    with pytest.raises(TooFew, match=r'\b1 system'):
        compare_systems(read_systems([make_run('a', 0, GOOD), make_run('a', 1, GOOD)]))
    with pytest.raises(Mismatch, match=r'\[0\].* \[1\]'):
        compare_systems(read_systems([make_run('c', 0, GOOD), make_run('b', 1, BAD)]))
    one = make_run('a', 5, GOOD)
    with pytest.raises(Mismatch, match=re.escape(f'{one} and {one}')):
        read_systems([one, one])
    (one / 'queries.npz').unlink()
    with pytest.raises(MissingFile, match=r'queries\.npz'):
        read_systems([one])
    assert len(read_systems([one], queries=False)) == 1
    (one / 'result.json').unlink()
    with pytest.raises(NotReady, match='--resume'):
        read_systems([one])


def test_a_folder_of_several_splits_is_no_run_of_one(make_run):
    several = make_run('a', 0, GOOD, models=[1, 2])
    with pytest.raises(UnsupportedFile, match=re.escape(str(several))):
        read_systems([several])
    assert len(read_systems([several], queries=False)) == 1  # a table has their mean


@pytest.mark.parametrize('seeds', [3, ['0'], 0.5, [1.5], None, [], range(0)])
def test_seeds_that_are_none(seeds):
    with pytest.raises(WrongValue, match=r'^seeds\b'):
        vireid.compare(['a.py', 'b.py'], seeds=seeds)


def test_the_pages_show_table_verdicts_people_and_configs(both):
    found = compare_systems(read_systems(both))
    page, text = render(found), found.markdown()
    for part in ('good is better than bad', '91.7 ± 0.0', 'model.is'):
        assert part in page
        assert part in text
    assert page.count('<svg') == 2
    assert 'http://' not in page.replace('http://www.w3.org', '')
    assert found.configs() == [('model.is', ['good', 'bad'])]


def test_of_many_pairs_identities_are_drawn_where_a_difference_is_significant(make_run):
    hits = {'good': GOOD, **{f'bad{n}': BAD for n in range(8)}}
    runs = [make_run(name, seed, own) for name, own in hits.items() for seed in range(3)]
    page = render(compare_systems(read_systems(runs)))
    assert page.count('<svg') == 1 + 8  # the intervals of 36 pairs, and good against each other
    verdicts = page[page.index('<li>') :]
    assert verdicts.rindex('good is better') < verdicts.index('Not significant')
    assert 'the largest differences of each pair with a significant difference' in page


def test_of_other_seeds_the_table_says_so(make_run):
    runs = [make_run('a', 0, GOOD), make_run('a', 1, GOOD), make_run('b', 1, BAD), make_run('b', 2, BAD)]
    found = compare_systems(read_systems(runs))
    assert 'Different seeds (a 0, 1; b 1, 2)' in found.text()
    assert 'One seed: no claim' in found.text()


@pytest.mark.parametrize('damage', ['torn', 'empty', 'column', 'another'])
def test_queries_that_are_damaged_or_of_another_evaluation(make_run, damage):
    first, second = make_run('a', 0, GOOD), make_run('b', 0, BAD)
    path = first / 'queries.npz'
    if damage == 'torn':
        path.write_bytes(path.read_bytes()[:300])
    elif damage == 'empty':
        path.write_bytes(b'')
    elif damage == 'column':
        np.savez(path, row=np.zeros(3))
    else:
        path.write_bytes((second / 'queries.npz').read_bytes())
    with pytest.raises((DamagedFile, Mismatch), match=r'queries\.npz'):
        compare_systems(read_systems([first, second]))


@pytest.mark.parametrize('seed', ['abc', 0.5, None])
def test_a_seed_that_is_none(make_run, seed):
    with pytest.raises(WrongValue, match=f'seed .*{re.escape(repr(seed))}'):
        read_systems([make_run('a', seed, GOOD)])


def test_names_that_markdown_would_take_for_something_else(make_run):
    text = compare_systems(read_systems([make_run('a|b<i>', 0, GOOD), make_run('c', 0, BAD)])).markdown()
    assert r'| a\|b\<i\> | 1 |' in text
