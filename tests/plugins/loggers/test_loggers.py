"""What a run leaves to read and to look at."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Progress, Sample, Trial
from vireid.plugins.loggers.console import Console
from vireid.plugins.loggers.curves import curve_svg
from vireid.plugins.loggers.metrics_file import MetricsFile, read_metrics
from vireid.plugins.loggers.rankings import BORDER, GAP, RIGHT, TILE, WRONG, draw_rankings
from vireid.plugins.loggers.report import Report

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
    """Query person 1; the gallery ranks person 2 first, then person 1."""
    samples = []
    for name, identity, modality in (('q', 1, INFRARED), ('g2', 2, VISIBLE), ('g1', 1, VISIBLE)):
        Image.new('RGB', (20, 40), (80 * identity, 0, 0)).save(tmp_path / f'{name}.png')
        samples.append(Sample(str(tmp_path / f'{name}.png'), identity, 1, modality))
    features = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32)
    trial = Trial('all', 0, (samples[0],), (samples[2], samples[1]))
    return score_trials(Embeddings(tuple(samples), features), 'a protocol', [trial])


def run_in(folder: Path, step: int = 0) -> SimpleNamespace:
    return SimpleNamespace(work_dir=folder, progress=at(step), experiment=SimpleNamespace(name='a <run>'))


def test_metrics_have_a_line_for_each_step_and_evaluation(tmp_path, results):
    logger = MetricsFile()
    logger.run_started(run_in(tmp_path))
    logger.step_ended(at(1), RECORD)
    logger.evaluated(at(1), results)
    logger.run_ended()
    first, second = (json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines())
    assert first == {'step': 1, 'epoch': 0.2, **RECORD}
    assert second['protocol'] == 'a protocol'
    # of a single identity nothing is known
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


def test_rankings_frame_right_and_wrong_images(results):
    sheet = draw_rankings(results, queries=3, top=2)
    cell = TILE[0] + 2 * BORDER + GAP
    frames = [sheet.getpixel((3 * GAP + column * cell + 1, GAP + 1)) for column in (1, 2)]
    assert ['#' + bytes(frame).hex() for frame in frames] == [WRONG, RIGHT]


def test_the_report_holds_table_curves_and_config(tmp_path, results):
    lines = [json.dumps({'step': s, **RECORD}) for s in (1, 2, 3)]
    (tmp_path / 'metrics.jsonl').write_text('\n'.join(lines) + '\n')
    (tmp_path / 'config.yaml').write_text('seed: 0\n')
    Report().evaluated(run_in(tmp_path), results)
    page = (tmp_path / 'report.html').read_text()
    for text in (
        'a &lt;run&gt;',
        'a protocol',
        '<td>50.00</td>',
        'Loss of each task',
        'sigma of each task',
        'seed: 0',
        '1 of 1',
    ):
        assert text in page
    assert (tmp_path / 'rankings.png').exists()


def test_curves_pass_through_their_points():
    svg = curve_svg('loss', [0, 10], {'a': [4.0, 0.0]})
    # x from the left margin to the right one, y from the top down to the axis
    assert 'points="60.0,34.0 630.0,230.0"' in svg
    assert curve_svg('many', list(range(5000)), {'a': [1.0] * 5000}).count(',') < 2000
    assert 'nan' not in curve_svg('holes', [0, 1, 2], {'a': [1.0, float('nan'), 2.0]})


def test_the_console_is_calm_in_a_log_file(capsys):
    console = Console(every=1000)
    for step in range(1, 11):
        console.step_ended(at(step), RECORD)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith('step 10/10 (epoch 2/2)  loss 3.50 = a 1.50 + b 4.00*0.50  lr 0.01')
