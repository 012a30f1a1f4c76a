"""The files that a run writes: metrics and the report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Progress, Sample, Trial
from vireid.errors import MissingPackage
from vireid.plugins.loggers.console import Console
from vireid.plugins.loggers.metrics_file import MetricsFile
from vireid.plugins.loggers.rankings import Rankings
from vireid.plugins.loggers.report import Report
from vireid.reporting.evidence import Evidence
from vireid.reporting.record import read_metrics

RECORD = {
    'loss': 3.5,
    'tasks': {'a': 1.5, 'b': 4.0},
    'weights': {'a': 1.0, 'b': 0.5},
    'curves': {'sigma': {'a': 0.7, 'b': 1.2}},
    'lr': 0.01,
}


def at(step: int) -> Progress:
    return Progress(step // 5, step, 5, 10)


@pytest.fixture
def results(tmp_path):
    """The query is identity 1; the gallery ranks identity 2 first, then 1."""
    samples = []
    for name, identity, modality in (('q', 1, INFRARED), ('g2', 2, VISIBLE), ('g1', 1, VISIBLE)):
        Image.new('RGB', (20, 40), (80 * identity, 0, 0)).save(tmp_path / f'{name}.png')
        samples.append(Sample(str(tmp_path / f'{name}.png'), identity, 1, modality))
    features = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32)
    trial = Trial('all', 0, (samples[0],), (samples[2], samples[1]))
    return score_trials(Embeddings(tuple(samples), features), 'a protocol', [trial])


def run_in(folder: Path, step: int = 0) -> SimpleNamespace:
    images = SimpleNamespace(scale_raw=None)
    experiment = SimpleNamespace(name='a <run>', build_transform=lambda part: None, images=images)
    return SimpleNamespace(
        work_dir=folder, progress=at(step), experiment=experiment, model=None, device='cpu', calibration=None
    )


def test_metrics_have_a_line_for_each_step_and_evaluation(tmp_path, results):
    logger = MetricsFile()
    logger.run_started(run_in(tmp_path))
    logger.step_ended(at(1), RECORD)
    logger.evaluated(at(1), results)
    logger.run_ended()
    first, second = (json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines())
    assert first == {'step': 1, 'epoch': 0.2, **RECORD}
    assert second['protocol'] == 'a protocol'
    # a single identity gives no interval
    assert second['rows'][0]['R1'] == {'mean': 0.0, 'std': 0.0, 'low': 0.0, 'high': 1.0}
    assert second['rows'][0]['mAP'] == {'mean': 0.5, 'std': 0.0, 'low': 0.0, 'high': 1.0}


def test_a_resumed_run_drops_lines_after_its_checkpoint_and_a_torn_one(tmp_path):
    path = tmp_path / 'metrics.jsonl'
    path.write_text(''.join(json.dumps({'step': s}) + '\n' for s in (1, 2, 3)) + '{"step": 4, "lo')
    logger = MetricsFile()
    logger.run_started(run_in(tmp_path, step=2))
    logger.step_ended(at(3), RECORD)
    logger.run_ended()
    assert [line['step'] for line in read_metrics(path)] == [1, 2, 3]
    assert read_metrics(path)[-1]['loss'] == 3.5


def test_a_run_writes_its_report_once_it_ends(tmp_path, results):
    lines = [json.dumps({'step': s, **RECORD}) for s in (1, 2, 3)]
    (tmp_path / 'metrics.jsonl').write_text('\n'.join(lines) + '\n')
    (tmp_path / 'config.yaml').write_text('name: a <run>\nseed: 0\n')
    (tmp_path / 'report.npz').write_text('of a run that was here before')
    report, run = Report(), run_in(tmp_path)
    report.run_started(run)
    report.evaluated(run, results)
    assert [p.name for p in tmp_path.glob('report.*')] == []  # an evaluation during training writes no report
    report.run_ended(run, finished=True)
    page = (tmp_path / 'report.html').read_text()
    for text in ('a &lt;run&gt;', 'a protocol', '50.00', 'sigma', 'seed: 0', '1 of 1', 'class="wrong"'):
        assert text in page
    assert Evidence.load(tmp_path / 'report.npz').about['protocol'] == 'a protocol'


def test_an_interrupted_run_has_a_report_without_a_result(tmp_path, results):
    report, run = Report(), run_in(tmp_path)
    (tmp_path / 'config.yaml').write_text('seed: 0\n')
    report.run_started(run)
    report.evaluated(run, results)
    report.run_ended(run, finished=False)
    assert 'not finished, so there is no result' in (tmp_path / 'report.html').read_text()
    assert not (tmp_path / 'report.npz').exists()


def test_a_report_that_fails_takes_nothing_with_it(tmp_path, results, capsys):
    (tmp_path / 'config.yaml').write_text('seed: [')
    report, run = Report(), run_in(tmp_path)
    report.run_started(run)
    report.evaluated(run, results)
    report.run_ended(run, finished=True)
    assert 'warning: report.html could not be written' in capsys.readouterr().err


def test_scoring_a_checkpoint_writes_the_report_at_once(tmp_path, results):
    Report().evaluated(run_in(tmp_path / 'test'), results)
    assert 'a &lt;run&gt;' in (tmp_path / 'test/report.html').read_text()


def test_each_evaluation_draws_ranking_lists(tmp_path, results, capsys):
    logger = Rankings()
    logger.run_started()
    for step in (5, 10):
        logger.evaluated(run_in(tmp_path), at(step), results)
        with Image.open(tmp_path / 'rankings.png') as picture:
            assert picture.width > 1000
        assert f'ranking lists after step {step}: {tmp_path / "rankings.png"}' in capsys.readouterr().out


def test_without_matplotlib_ranking_lists_cannot_be_drawn(monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(MissingPackage, match=r'vireid\[report\]'):
        Rankings().run_started()


def test_the_console_is_calm_in_a_log_file(capsys):
    console = Console(every=1000)
    for step in range(1, 11):
        console.step_ended(at(step), RECORD)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith('step 10/10 (epoch 2/2)  loss 3.50 = a 1.50 + b 4.00*0.50  lr 0.01')


def test_a_log_file_shows_that_a_long_evaluation_goes_on(capsys):
    console = Console(every=1000)
    console.evaluating('embedding images', 32, 96)
    assert not capsys.readouterr().out
    console.every = 0
    console.evaluating('embedding images', 64, 96)
    assert capsys.readouterr().out == 'embedding images 64/96\n'
