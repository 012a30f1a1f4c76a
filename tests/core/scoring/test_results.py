"""Results are averaged, printed and written as they say; plain metrics first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vireid.core.scoring import results as results_file
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.results import Results
from vireid.core.types import Trial
from vireid.errors import UnsupportedFile
from vireid.reporting import result_file
from vireid.statistics.interval import identity_interval
from vireid.statistics.scores import METRICS, Scores, TiedQueries, metric_values


def scores(cmc: list[float], mean_ap: float, mean_inp: float, valid: int = 200, identities: int = 100) -> Scores:
    """Metrics of queries whose CMC and means are these."""
    ahead = np.searchsorted(cmc, (np.arange(valid) + 0.5) / valid)
    person = np.arange(valid) % identities
    return Scores(person, ahead, np.full(valid, mean_ap), np.full(valid, mean_inp), queries=240, length=len(cmc))


def results(protocol: str, *scored: tuple[str, Scores]) -> Results:
    trials = tuple(Trial(name, index, (), ()) for index, (name, _) in enumerate(scored))
    return Results(protocol, trials, tuple(s for _, s in scored), Embeddings((), np.zeros((0, 2))), weights='w')


def test_rows_hold_mean_and_population_deviation() -> None:
    # R1 of 0.25 and 0.75: mean 1/2, deviations 1/4 each, population standard deviation 1/4
    # mAP of 0.2, 0.4 in `all`; a single trial has deviation 0
    (first, second) = results(
        'p',
        ('all', scores([0.25, 0.5, 1], 0.2, 0.1)),
        ('indoor', scores([0.5, 1], 0.6, 0.3, valid=160)),
        ('all', scores([0.75, 1, 1], 0.4, 0.1)),
    ).rows()
    assert list(first) == ['name', 'variant', 'trials', 'queries', 'valid', 'R1', 'R5', 'R10', 'R20', 'mAP', 'mINP']
    keys = ('name', 'variant', 'trials', 'queries', 'valid')
    assert [first[k] for k in keys] == ['all', '', 2, (240, 240), (200, 200)]
    assert first['R1'] == {'mean': 0.5, 'std': 0.25}
    assert first['R5'] == first['R20'] == {'mean': 1, 'std': 0}  # past the end of three identities
    assert first['mAP'] == pytest.approx({'mean': 0.3, 'std': 0.1})
    assert first['mINP'] == pytest.approx({'mean': 0.1, 'std': 0})
    assert [second[k] for k in ('name', 'trials', 'queries', 'valid')] == ['indoor', 1, (240, 240), (160, 160)]
    assert second['R1'] == {'mean': 0.5, 'std': 0}
    assert second['mAP'] == pytest.approx({'mean': 0.6, 'std': 0})


def test_fewer_than_100_test_identities_get_an_interval_over_them() -> None:
    # 40 queries of four people, 20 right: two people always, two never
    person, ahead = np.repeat(np.arange(4), 10), np.repeat([0, 0, 1, 1], 10)
    few = Scores(person, ahead, np.full(40, 0.5), np.full(40, 0.25), queries=40, length=4)
    found = results('cross', ('all', few), ('all', few))
    (row,) = found.rows()
    assert row['identities'] == 4
    low, high = identity_interval(np.tile(ahead == 0, 2), np.tile(person, 2))
    assert row['R1'] == {'mean': 0.5, 'std': 0, 'low': low, 'high': high}
    assert row['R5']['low'] < row['R5']['high'] == 1
    line = found.table().splitlines()[3]
    assert line.split()[:6] == ['95%', 'interval', 'over', '4', 'identities', f'{100 * low:.0f}-{100 * high:.0f}']
    many = scores([0.5, 1], 0.5, 0.5)
    assert 'interval' not in results('cross', ('all', many)).table()


def test_queries_are_columns_of_all_rows_and_trials() -> None:
    first = Scores(np.array([7, 8]), np.array([0, 3]), np.array([1, 0.25]), np.array([1, 0.2]), queries=3, length=4)
    other = Scores(np.array([7]), np.array([1]), np.array([0.5]), np.array([0.5]), queries=3, length=4)
    found = replace(results('p', ('all', first), ('all', other)), variants={'flip': (other, first)})
    columns = {key: values.tolist() for key, values in found.queries().items()}
    assert columns == {
        'row': [0, 0, 0, 1, 1, 1],
        'trial': [0, 0, 1, 0, 1, 1],
        'identity': [7, 8, 7, 7, 7, 8],
        'ahead': [0, 3, 1, 1, 0, 3],
        'ap': [1, 0.25, 0.5, 0.5, 1, 0.25],
        'inp': [1, 0.2, 0.5, 0.5, 1, 0.2],
    }


def with_a_tie() -> Scores:
    """Two queries; the second one's match ties with three others, of one identity each."""
    within = np.array([[1, 1, 1, 1], [0.25, 1, 1, 1]])
    ties = TiedQueries(np.array([False, True]), within, np.array([0.625, 0.75, 0.875, 1]))
    ap = np.array([1, 25 / 48])
    return Scores(np.array([7, 8]), np.array([0, 1.5]), ap, ap, queries=3, length=4, ties=ties)


def test_a_row_says_which_share_of_the_queries_ties_decide() -> None:
    clean = Scores(np.array([7, 8]), np.array([0, 3]), np.array([1, 0.25]), np.array([1, 0.2]), queries=3, length=4)
    found = results('p', ('all', with_a_tie()), ('all', clean), ('other', clean))
    first, second = found.rows()
    assert (first['tied'], first['ties']) == (0.25, 'mean')
    assert first['R1']['mean'] == (0.625 + 0.5) / 2
    assert 'tied' not in second
    assert 'ties' not in second
    lines, without = found.table().splitlines(), results('p', ('all', clean), ('other', clean)).table().splitlines()
    said = (
        'ties between equally similar images affect 25.0% of the queries, which are scored as the mean over all orders'
    )
    assert lines[4] == f'  {said}'
    assert len(lines) == len(without) + 1
    assert lines[1] == without[1].ljust(len(lines[1]), '-')
    # a few queries tie by rounding alone: their share is in the rows, and no line in the table
    assert 'similar images affect' not in results_file.table('p', [{**first, 'tied': 0.009}])
    assert 'similar images affect 1.0% of the queries' in results_file.table('p', [{**first, 'tied': 0.01}])


def test_queries_of_ties_are_read_back_as_they_count_and_clean_ones_as_ever(tmp_path: Path) -> None:
    clean = Scores(np.array([7, 8]), np.array([0, 3]), np.array([1, 0.25]), np.array([1, 0.2]), queries=3, length=4)
    results_file.write(tmp_path / 'clean', {'rows': []}, results('p', ('all', clean)).queries())
    with np.load(tmp_path / 'clean' / 'queries.npz') as read:
        assert read.files == ['row', 'trial', 'identity', 'ahead', 'ap', 'inp', 'about']
        assert read['ahead'].dtype == np.int64
        assert metric_values(read)['R1'].tolist() == [1, 0]
    results_file.write(tmp_path / 'tied', {'rows': []}, results('p', ('all', with_a_tie()), ('all', clean)).queries())
    with np.load(tmp_path / 'tied' / 'queries.npz') as read:
        assert read.files == ['row', 'trial', 'identity', 'ahead', 'ap', 'inp', 'R1', 'R5', 'R10', 'R20', 'about']
        assert read['ahead'].tolist() == [0, 1.5, 0, 3]
        assert metric_values(read)['R1'].tolist() == [1, 0.25, 1, 0]
        assert metric_values(read)['R5'].tolist() == [1, 1, 1, 1]


def test_ties_in_gallery_order_are_counted_and_change_no_file() -> None:
    clean = Scores(np.array([7, 8]), np.array([0, 3]), np.array([1, 0.25]), np.array([1, 0.2]), queries=3, length=4)
    found = results('p', ('all', replace(clean, ties=TiedQueries(np.array([True, False])))))
    (row,) = found.rows()
    assert (row['tied'], row['ties'], row['R1']['mean']) == (0.5, 'gallery-order', 0.5)
    assert list(found.queries()) == ['row', 'trial', 'identity', 'ahead', 'ap', 'inp']
    said = '  ties between equally similar images affect 50.0% of the queries, which are scored in gallery order'
    assert found.table().splitlines()[-1] == said


def test_trials_with_other_numbers_of_valid_queries_show_the_range() -> None:
    found = results('p', ('all', scores([1], 1, 1, valid=190)), ('all', scores([1], 1, 1, valid=210)))
    assert found.rows()[0]['valid'] == (190, 210)
    assert '190-210 of 240' in found.table()


def test_table() -> None:
    found = results(
        'sysu/agw single-shot',
        ('all', scores([0.25, 0.5, 0.5, 0.5, 0.75, 1], 0.2, 0.1)),
        ('all', scores([0.75, 0.75, 0.75, 0.75, 1, 1], 0.4, 0.1)),
        ('indoor', scores([1], 1.0, 0.98765, valid=160)),
    )
    header, line, *rows = found.table().split('\n')
    assert header == (
        'sysu/agw single-shot            R1            R5           R10           R20'
        '           mAP         mINP  valid queries  trials'
    )
    assert line == '-' * len(header)
    assert rows == [
        'all                   50.00 ±25.00  87.50 ±12.50  100.00 ±0.00  100.00 ±0.00'
        '  30.00 ±10.00  10.00 ±0.00     200 of 240       2',
        'indoor                      100.00        100.00        100.00        100.00'
        '        100.00        98.77     160 of 240       1',
    ]


def test_a_row_got_by_other_means_stands_below_its_plain_one() -> None:
    trials = (Trial('all', 0, (), ()), Trial('indoor', 0, (), ()))
    plain, other = (scores([0.5], 0.5, 0.5),) * 2, (scores([0.75], 0.75, 0.75),) * 2
    found = Results('p', trials, plain, Embeddings((), np.zeros((0, 2))), {'flip': other})
    assert [(row['name'], row['variant'], row['R1']['mean']) for row in found.rows()] == [
        ('all', '', 0.5),
        ('all, flip', 'flip', 0.75),
        ('indoor', '', 0.5),
        ('indoor, flip', 'flip', 0.75),
    ]


def test_result_json_holds_protocol_weights_and_rows(tmp_path: Path) -> None:
    found = results('sysu/agw', ('all', scores([0.5], 0.25, 0.125)))
    results_file.write(tmp_path / 'run', {**found.to_dict(), 'more': 1})
    content = json.loads((tmp_path / 'run' / 'result.json').read_text())
    assert content['protocol'] == 'sysu/agw'
    assert content['weights'] == 'w'
    assert content['rows'][0]['mAP'] == {'mean': 0.25, 'std': 0}
    assert result_file.read(tmp_path / 'run') == content
    assert [p.name for p in (tmp_path / 'run').iterdir()] == ['result.json']


@pytest.mark.parametrize('content', [None, '', '{"rows": [', '[]', '{"other": 1}'])
def test_a_result_that_is_missing_or_torn_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / 'result.json').write_text(content)
    assert result_file.read(tmp_path) is None


@pytest.mark.parametrize('missing', ['variant', 'identities'])
def test_a_file_of_an_earlier_vireid_is_named(tmp_path: Path, missing: str) -> None:
    row = {
        'name': 'all',
        'variant': '',
        'trials': 1,
        'queries': (4, 4),
        'valid': (4, 4),
        **{key: {'mean': 0.5, 'std': 0.0} for key in METRICS},
    }
    content = {'rows': [row], 'steps': 3, 'identities': 4}
    results_file.write(tmp_path, content)
    assert result_file.read(tmp_path) is not None
    del (row if missing == 'variant' else content)[missing]
    results_file.write(tmp_path, content)
    with pytest.raises(UnsupportedFile, match='result\\.json'):
        result_file.read(tmp_path)
