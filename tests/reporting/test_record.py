"""A run's folder is read as far as it goes."""

from __future__ import annotations

import json
import re

import pytest

from vireid.cli import main
from vireid.core.registry import contracts
from vireid.core.scoring import results as results_file
from vireid.errors import DamagedFile, MissingFile, UnsafeFile, UnsupportedFile, WrongContent
from vireid.reporting import record
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
    assert found.provenance == {'machine': {'threads': 2}}


@pytest.mark.parametrize('gone', ['config.yaml', 'metrics.jsonl', 'run.json', 'result.json', 'report.npz'])
def test_what_is_missing_is_empty(run, gone):
    (run / gone).unlink()
    found = read_run(run)
    assert bool(found.config) == (gone != 'config.yaml')
    assert bool(found.metrics) == (gone != 'metrics.jsonl')
    assert bool(found.provenance) == (gone != 'run.json')
    assert (found.result is None) == (gone == 'result.json')
    assert (found.evidence is None) == (gone == 'report.npz')
    assert found.protocol == 'a protocol'  # by either


def test_half_a_run_has_no_rows(run):
    (run / 'result.json').unlink()
    (run / 'report.npz').unlink()
    assert (read_run(run).rows, read_run(run).protocol) == ([], '')


def test_a_folder_without_a_run_is_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / 'nowhere'):
        with pytest.raises(MissingFile, match=re.escape(f'{folder} ')):
            read_run(folder)


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


@pytest.mark.parametrize(
    'text',
    [
        '3', '[]', 'torn', '{"step": "x"}', '{"step": "1"}', '{"step": -1}', '{"step": 1e3}', f'{{"step": {10**30}}}',
        '{"step": 1, "loss": "x"}', '{"step": 1, "loss": 2.0, "weights": "first"}', '{"step": 1, "curves": {"a": 1}}',
        '{"step": 1, "tasks": {"a": "b"}}', '{"step": 1, "rows": [{}]}', '{"step": 1, "lr": {"a": 1}}',
        '{"step": 1, "rows": [{"name": "all", "R1": {"mean": 1}, "mAP": {}}]}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_step_ends_the_metrics(tmp_path, text):
    (tmp_path / 'metrics.jsonl').write_text(f'{{"step": 1}}\n{text}\n{{"step": 2}}\n')
    assert read_metrics(tmp_path / 'metrics.jsonl') == [{'step': 1}]


@pytest.mark.parametrize(
    ('limits', 'limit'),
    [
        ({'LINES': 2}, '2 lines'),
        ({'LINE': 1024}, '1 KiB'),
        ({'METRICS': 2**20}, '1 MiB'),
    ],
)
def test_endless_metrics_are_refused_only_when_they_are_read(run, monkeypatch, capsys, limits, limit):
    long = 'x' * (2**20 if 'METRICS' in limits else 2000)
    (run / 'metrics.jsonl').write_text(f'{{"step": 1}}\n{{"step": 2, "more": "{long}"}}\n{{"step": 3}}\n')
    monkeypatch.setattr(record, 'LINE', 2**24)
    for name, value in limits.items():
        monkeypatch.setattr(record, name, value)
    found = read_run(run)  # which does not look
    for words in (['table', str(run)], ['plot', 'cmc', str(run), '-o', str(run / 'cmc.svg')]):
        assert main(words) == 0
    for _ in range(2):
        with pytest.raises(UnsafeFile, match=rf'metrics\.jsonl .* {limit}'):
            len(found.metrics)
    assert main(['report', str(run)]) == 2
    assert limit in capsys.readouterr().err


def test_everything_that_a_step_may_return_is_read(tmp_path):
    """The figure of several runs once lost the turns of alternating optimizers, so that their losses zigzagged."""
    values = {'loss': 2.0, 'lr': 0.1, 'gradient': 0.5, 'turn': 'critics', 'tasks': {'id': 2.0}}
    values |= {'weights': {'id': 1.0}, 'curves': {'sigma': {'id': 0.5}}}
    assert set(values) == set(contracts.RECORD)
    (tmp_path / 'metrics.jsonl').write_text(json.dumps({'step': 1, **values}))
    assert read_metrics(tmp_path / 'metrics.jsonl') == [{'step': 1, **values}]


def test_of_a_line_no_more_is_kept_than_is_drawn(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "loss": 2, "gradient": 0.5, "more": {"a": [1, 2]}}\n')
    assert read_metrics(tmp_path / 'metrics.jsonl') == [{'step': 1, 'loss': 2.0, 'gradient': 0.5}]
    whole = []
    record.scan_metrics(tmp_path / 'metrics.jsonl', lambda line, _: whole.append(line))
    assert whole == [{'step': 1, 'loss': 2.0, 'gradient': 0.5, 'more': {'a': [1, 2]}}]


@pytest.mark.parametrize(
    ('content', 'kind'),
    [
        ('{"rows": []}', DamagedFile),
        ('{"rows": [{"variant": "", "R1": {}}]}', UnsupportedFile),
        ('torn', DamagedFile),
        ('[]', DamagedFile),
    ],
)
def test_a_damaged_result_is_an_error(run, content, kind):
    (run / 'result.json').write_text(content)
    with pytest.raises(kind, match=r'result\.json'):
        read_run(run)


def test_evidence_of_an_evaluation_before_is_not_shown(run):
    content = json.loads((run / 'result.json').read_text())
    content['rows'][0]['R1']['mean'] = 0.123
    (run / 'result.json').write_text(json.dumps(content))
    assert read_run(run).evidence is None


def test_a_curve_that_does_not_pass_through_the_numbers_is_refused(run, evaluation):
    found = collect(evaluation())
    found.cmc['all'][0] = 0.99
    found.save(run / 'report.npz')
    with pytest.raises(WrongContent, match=r'report\.npz .*99\.00% .*\bR1 .*50\.00%'):
        read_run(run)


def test_rows_of_the_evidence_are_rows(run, evaluation):
    (run / 'result.json').unlink()
    for row in ({}, {**evaluation().rows()[0], 'R1': {'mean': 2.0, 'std': 0.0}}):
        found = collect(evaluation())
        found.about['rows'] = [row]
        found.save(run / 'report.npz')
        with pytest.raises(DamagedFile, match=r'report\.npz'):
            read_run(run)


def test_a_record_of_many_megabytes_is_refused(run):
    (run / 'run.json').write_text('{"x": [' + '[],' * 1_400_000 + '[]]}')
    with pytest.raises(UnsafeFile, match=r'run\.json .*\b4 MiB'):
        read_run(run)
    (run / 'run.json').unlink()
    (run / 'result.json').write_text('{"rows": [' + '[],' * 1_400_000 + '[]]}')
    with pytest.raises(DamagedFile, match=r'result\.json'):
        read_run(run)


def test_duplicate_keys_of_a_run_json_are_refused(run):
    (run / 'run.json').write_text('{"seed": 1, "seed": 2}')
    with pytest.raises(DamagedFile, match=r"run\.json .*'seed'"):
        read_run(run)


@pytest.mark.parametrize('key', ['data', 'protocol', 'weights', 'rows'])
def test_a_result_that_its_evidence_contradicts_is_said(run, key):
    assert not read_run(run).warnings()[1:]  # without queries.npz there is one
    content = json.loads((run / 'result.json').read_text())
    if key == 'rows':
        content['rows'][0]['name'] = 'indoor'
    else:
        content[key] = 'SYSU-MM01 all search'
    (run / 'result.json').write_text(json.dumps(content))
    found = read_run(run)
    assert found.evidence is None
    assert found.warnings()[1:] == [f'tffn: report.npz belongs to another evaluation (different {key}) and is ignored.']


def test_no_text_of_a_run_can_forge_a_line(run, evaluation):
    forged = 'a\r\nerror: fake\x1b\u2028'
    whole = {**evaluation().to_dict(), 'select': forged, 'dataset': {'type': forged}}
    whole |= dict.fromkeys(('data', 'protocol', 'weights'), forged)
    whole['rows'][0]['name'] = forged
    results_file.write(run, whole)
    found = collect(evaluation(), name=forged)
    found.about |= {key: whole[key] for key in ('rows', 'data', 'protocol', 'weights')} | {'notes': [forged]}
    found.cmc = {forged: found.cmc['all']}
    found.save(run / 'report.npz')
    read = read_run(run)
    plain = 'a error: fake\\x1b '
    assert read.evidence is not None
    assert (read.protocol, read.rows[0]['name'], list(read.evidence.cmc)) == (plain, plain, [plain])
    for texts in (read.warnings(), json.dumps(read.result), json.dumps(read.evidence.about)):
        assert not any(mark in str(texts) for mark in ('\\r', '\\n', '\\u001b', '\\u2028'))
