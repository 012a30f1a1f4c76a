"""A result is what its queries make, and its numbers do not exclude each other; what was not checked is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vireid.core.scoring import results
from vireid.errors import DamagedFile, Mismatch, UnsafeFile
from vireid.reporting import result_file
from vireid.reporting.record import read_run
from vireid.reporting.result_file import which_weights
from vireid.statistics.scores import METRICS, metric_values


@pytest.fixture
def folder(evaluated: Any, tmp_path: Path) -> Path:
    """Two trials of three queries, two of which have a match: one at rank 1, one at rank 2."""
    results.write(tmp_path, evaluated.to_dict(), evaluated.queries())
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / results.FILE).read_text())
    change(content['rows'][0])
    (folder / results.FILE).write_text(json.dumps(content))


def test_a_result_and_its_queries_fit(folder: Path) -> None:
    assert read_run(folder).checked
    assert read_run(folder).warnings() == []


@pytest.mark.parametrize(
    ('change', 'fact'),
    [
        (lambda row: row['mAP'].update(mean=0.8), r'mAP .*\b80\.00% .*\b75\.00% '),
        (lambda row: row['R1'].update(std=0.01), r'R1 \(std\) .*\b1\.00% .*\b0\.00% '),
        (lambda row: row['R1'].update(low=0.5), r'R1 \(low\) .*\b50\.00% .*\d'),
        (lambda row: row['R1'].update(high=0.51), r'R1 \(high\) .*\b51\.00% .*\d'),
        (lambda row: row['R1'].pop('low'), r'R1 \(low\) .*\bnone\b'),
        (lambda row: row.update(trials=10), r'trials .*\b10 .*\b2 '),
        (lambda row: row.update(valid=[3, 3]), r'valid .*\[3, 3\] .*\[2, 2\] '),
        (lambda row: row.update(identities=90), r'identities .*\b90 .*\b2 '),
        (lambda row: row.pop('identities'), r'identities .*\bNone .*\b2 '),
    ],
)
def test_a_metric_that_contradicts_its_queries_is_refused(folder: Path, change: Any, fact: str) -> None:
    edit(folder, change)
    with pytest.raises(Mismatch, match=rf'queries\.npz .*result\.json .*: {fact}'):
        read_run(folder)


@pytest.mark.parametrize(
    ('change', 'fact'),
    [
        (lambda row: row['mAP'].update(low=0.8, high=0.9), r'mAP .*\b0\.75, .*\b0\.8 .*\b0\.9'),
        (lambda row: row['mAP'].update(low=1.0, high=0.0), r'mAP .*\b1\.0 .*\b0\.0'),
        (lambda row: row['R5'].update(mean=0.4, low=0.3), r'CMC .*\b0\.5, 0\.4'),
        (lambda row: row['mAP'].update(std=-0.1), r'mAP\.std'),
        (lambda row: row.update(valid=[3, 2]), r'\[3, 2\] .*\[3, 3\]'),
        (lambda row: row.update(valid=[4, 4]), r'\[4, 4\] .*\[3, 3\]'),
        (lambda row: row.update(queries=['3', 3]), r'queries\.0'),
        (lambda row: row['R1'].update(mean='0.5'), r'R1\.mean'),
        (lambda row: row.update(name='x' * 3_000_000), r'name'),
    ],
)
def test_contradictory_metrics_are_refused_even_without_queries(folder: Path, change: Any, fact: str) -> None:
    (folder / results.QUERIES).unlink()
    edit(folder, change)
    with pytest.raises(DamagedFile, match=rf'result\.json .*{fact}'):
        read_run(folder)


@pytest.mark.parametrize('number', [1, -1, 2**40])
def test_queries_of_a_row_that_is_not_there_are_refused(folder: Path, evaluated: Any, number: int) -> None:
    queries = evaluated.queries()
    queries['row'][-1] = number
    np.savez(folder / results.QUERIES, **queries)
    with pytest.raises(Mismatch, match=r'queries\.npz .*\brows .*\b1 .*\b2 '):
        read_run(folder)


def test_ties_that_the_result_keeps_quiet_about_are_refused(folder: Path, evaluated: Any) -> None:
    queries = evaluated.queries()
    hits = {key: values.astype(float) for key, values in metric_values(queries).items() if key[0] == 'R'}
    queries['ahead'] = queries['ahead'] + np.array([0.5, 0, 0, 0])  # a mean over orders, of one query of trial 0
    np.savez(folder / results.QUERIES, **queries, **hits)
    with pytest.raises(Mismatch, match=r'\btied .*\b0\.00% .*\b25\.00% '):
        read_run(folder)
    edit(folder, lambda row: row.update(tied=0.5, ties='mean'))  # more may be: a tie need not change these
    assert read_run(folder).checked


def test_trials_of_other_sizes_count_alike_and_so_do_models() -> None:
    """Two models. The first has trials of 1 and 3 queries with R1 1 and 1/3, the second one of 2 queries with R1 0."""
    ahead = np.array([0, 0, 30, 30, 30, 30])
    columns = {
        'model': np.array([0, 0, 0, 0, 1, 1]),
        'trial': np.array([5, 6, 6, 6, 5, 5]),
        'identity': np.arange(6),
        'ahead': ahead,
        'ap': np.full(6, 0.5),
        'inp': np.full(6, 0.5),
    }
    row = result_file._row(columns)
    assert row['trials'] == 2
    assert row['valid'] == (1, 3)
    assert row['R1']['mean'] == pytest.approx((2 / 3 + 0) / 2)
    assert row['R1']['std'] == pytest.approx(1 / 3)
    assert row['identities'] == 6
    assert row['tied'] == 0
    del columns['model']  # then trials 5 and 6 are the parts: R1 of 1/3 and 1/3
    row = result_file._row(columns)
    assert (row['R1']['mean'], row['R1']['std'], row['valid']) == (pytest.approx(1 / 3), pytest.approx(0), (3, 3))


def test_a_result_without_queries_is_read_and_said_not_to_be_checked(folder: Path) -> None:
    (folder / results.QUERIES).unlink()
    run = read_run(folder)
    assert not run.checked
    assert run.warnings() == [f'{run.label} has no queries.npz, so its metrics could not be verified.']


def test_ties_and_equal_embeddings_stand_beside_the_numbers(folder: Path) -> None:
    content = json.loads((folder / results.FILE).read_text())
    content['rows'][0] |= {'tied': 0.5, 'ties': 'gallery-order'}
    content['identical'] = {'images': 5, 'equal': 5, 'distinct': 1, 'queries': 3, 'found': 3}
    (folder / results.FILE).write_text(json.dumps(content))
    name = read_run(folder).label
    assert read_run(folder).warnings() == [
        f'{name}: all 5 images have the same embedding, so these metrics mean nothing.',
        f'{name}, all: ties between equally similar images affect 50.0% of the queries, which are scored in gallery '
        'order.',
    ]


@pytest.mark.parametrize(
    'identical', [3, {}, {'images': 5}, {'images': '5', 'equal': 1, 'distinct': 1, 'queries': 1, 'found': 1}]
)
def test_a_count_that_is_none_is_refused(folder: Path, identical: Any) -> None:
    content = json.loads((folder / results.FILE).read_text())
    (folder / results.FILE).write_text(json.dumps({**content, 'identical': identical}))
    with pytest.raises(DamagedFile, match=r'result\.json .*\bidentical\b'):
        read_run(folder)


def test_every_metric_is_compared(folder: Path) -> None:
    for key in METRICS:
        edit(folder, lambda row, key=key: row[key].update(std=row[key]['std'] + 0.1))
        with pytest.raises(Mismatch, match=rf'{key} \(std\)'):
            read_run(folder)
        edit(folder, lambda row, key=key: row[key].update(std=row[key]['std'] - 0.1))


def test_the_weights_of_several_models_are_told_once_each():
    assert which_weights({'weights': 'after step 3'}) == 'after step 3'
    assert which_weights({'weights': ['after step 3', 'best', 'after step 3']}) == 'after step 3; best'
    assert which_weights({}) == ''


def test_other_arrays_beside_the_columns_are_ignored(folder: Path, evaluated: Any) -> None:
    np.savez(folder / results.QUERIES, **evaluated.queries(), x=np.zeros((), np.int8))
    assert read_run(folder).checked


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_ranks_that_are_not_finite_are_refused(folder: Path, evaluated: Any, value: float) -> None:
    queries = evaluated.queries()
    queries['ahead'] = np.full(len(queries['row']), value)
    np.savez(folder / results.QUERIES, **queries)
    with pytest.raises(DamagedFile, match=r'queries\.npz .*\bahead\b'):
        read_run(folder)


def test_queries_without_end_are_refused_before_they_are_counted(folder: Path, evaluated: Any) -> None:
    queries = {key: np.resize(values.astype(np.int8), 3_000_001) for key, values in evaluated.queries().items()}
    np.savez(folder / results.QUERIES, **queries)
    with pytest.raises(UnsafeFile, match=r'\b3,000,001 .*\b3,000,000\b'):
        read_run(folder)


def test_rows_without_end_are_refused(folder: Path, evaluated: Any) -> None:
    queries = {key: np.resize(values, 1001) for key, values in evaluated.queries().items()}
    queries['row'] = np.arange(1001)
    np.savez(folder / results.QUERIES, **queries)
    with pytest.raises(UnsafeFile, match=r'\b1,001 .*\b1,000\b'):
        read_run(folder)
    content = json.loads((folder / results.FILE).read_text())
    (folder / results.FILE).write_text(json.dumps({**content, 'rows': content['rows'] * 1001}))
    with pytest.raises(DamagedFile, match=r'result\.json .*\brows: .*\b1000\b'):
        read_run(folder)
