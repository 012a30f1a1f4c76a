"""A run's folder is read as far as it goes."""

from __future__ import annotations

import json

import pytest

from vireid.core.errors import VireidError
from vireid.core.scoring import results as results_file
from vireid.reporting.collect import collect
from vireid.reporting.record import read_metrics, read_run, read_runs


@pytest.fixture
def run(evaluation, tmp_path):
    folder = tmp_path / 'runs' / 'first'
    folder.mkdir(parents=True)
    (folder / 'config.yaml').write_text('name: tffn\nseed: 0\n')
    (folder / 'metrics.jsonl').write_text('{"step": 1, "loss": 2.0}\n{"step": 1, "rows": []}\n{"step": 2, "lo')
    (folder / 'run.json').write_text('{"machine": {"threads": 2}}')
    results_file.write(folder, evaluation().to_dict())
    collect(evaluation()).save(folder / 'report.npz')
    return folder


def test_a_finished_run(run):
    found = read_run(run)
    assert (found.label, found.protocol, found.config['seed']) == ('tffn', 'a protocol', 0)
    assert found.steps == [{'step': 1, 'loss': 2.0}]
    assert found.rows == found.evidence.about['rows']
    assert found.made == {'machine': {'threads': 2}}


@pytest.mark.parametrize('gone', ['config.yaml', 'metrics.jsonl', 'run.json', 'result.json', 'report.npz'])
def test_what_is_missing_is_empty(run, gone):
    (run / gone).unlink()
    found = read_run(run)
    assert bool(found.config) == (gone != 'config.yaml')
    assert bool(found.metrics) == (gone != 'metrics.jsonl')
    assert bool(found.made) == (gone != 'run.json')
    assert (found.result is None) == (gone == 'result.json')
    assert (found.evidence is None) == (gone == 'report.npz')
    assert found.protocol == 'a protocol'  # by either


def test_half_a_run_has_no_rows(run):
    (run / 'result.json').unlink()
    (run / 'report.npz').unlink()
    assert (read_run(run).rows, read_run(run).protocol) == ([], '')


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(VireidError, match='holds no run'):
        read_run(tmp_path)
    with pytest.raises(VireidError, match='holds no run'):
        read_run(tmp_path / 'nowhere')


def test_runs_of_one_name_are_told_apart_by_their_folders(run, tmp_path):
    second = tmp_path / 'runs' / 'second'
    second.mkdir()
    (second / 'config.yaml').write_text('name: tffn\n')
    assert [r.label for r in read_runs([run, second])] == ['tffn (first)', 'tffn (second)']
    other = tmp_path / 'elsewhere' / 'first'
    other.mkdir(parents=True)
    (other / 'config.yaml').write_text('name: tffn\n')
    assert [r.label for r in read_runs([run, other])] == [str(run), str(other)]


def test_a_line_torn_by_a_crash_ends_the_metrics(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text(json.dumps({'step': 1}) + '\n{"st')
    assert read_metrics(tmp_path / 'metrics.jsonl') == [{'step': 1}]
    assert read_metrics(tmp_path / 'none.jsonl') == []
