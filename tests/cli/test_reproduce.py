"""`vireid reproduce`: one command trains, scores twice and judges; what cannot be compared says so."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from vireid.cli import main
from vireid.exchange import evaluation
from vireid.reporting import result_file
from vireid.studies import reproduction
from vireid.synth import synthesize

TINY = [
    'images.size=[32,16]', 'images.workers=0', 'training.epochs=1', 'training.precision=32-true', 'protocol.trials=2',
    'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2', 'loggers=[]', 'model.backbone.weights=None',
    'model.backbone.depth=18', 'model.backbone.out_stages=[2]', 'model.necks.s4.inputs=stage2',
    'model.necks.s4.channels=32',
]  # fmt: skip
TABLE = """
title: Mine
paper: SYSU-MM01, as I remember it
settings: {}
rows:
  b: {label: B, config: CONFIGS/tffn_table3/b.py, R1: 49.41, R10: 87.67, mAP: 48.48}
""".replace('CONFIGS', str(Path(__file__).parents[2] / 'configs'))


def write_table(folder: Path) -> Path:
    """Writes a table with one row, B of TFFN."""
    (folder / 'mine').mkdir()
    (folder / 'mine/table.yaml').write_text(TABLE)
    return folder / 'mine'


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path)


def reproduce(table: Path | str, data: Path, out: Path, *flags: str) -> int:
    words = ['reproduce', str(table), '--data-root', str(data), '--work-dir', str(out), *flags]
    return main([*words, '--cfg-options', *TINY])


@pytest.fixture
def without_estimate(monkeypatch) -> None:
    """An estimate of 100 days, at once."""
    monkeypatch.setattr(reproduction, 'estimate_hours', lambda jobs, devices, show: dict.fromkeys(devices, 2400.0))


ALLOWED = ('--allow-differences', '--yes')


@pytest.fixture(scope='module')
def finished(people: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A table, the folder of its two finished runs, and what was printed."""
    base = tmp_path_factory.mktemp('finished')
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert reproduce(write_table(base), people, base / 'out', '--seeds', '0-1', *ALLOWED) == 0
    return base / 'mine', base / 'out', printed.getvalue()


def rows_of(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines() if line.startswith('B ')]


def test_synthetic_people_are_scored_by_both_families_and_compared_with_nothing(finished):
    _, out, printed = finished
    assert '2 runs, 0 finished' in printed
    assert 'one core of AMD EPYC (Zen 3): ' in printed  # the estimate, before anything is trained
    assert printed.index('estimated time') < printed.index('rank-1')
    lines = rows_of(printed)
    assert [line[1:3] for line in lines] == [['R1', '49.41'], ['R10', '87.67'], ['mAP', '48.48']]
    assert all(' '.join(line).count('not comparable') == 2 for line in lines)
    assert 'not comparable (all rows): synthetic people' in printed
    runs = [out / f'mine/b/seed_{seed}' for seed in (0, 1)]
    for family, folders in (('sysu/agw', runs), ('sysu/official', [run / 'sysu_official' for run in runs])):
        found = [result_file.read(folder) for folder in folders]
        assert {result['protocol'] for result in found} == {family}
        mean = sum(100 * result['rows'][0]['R1']['mean'] for result in found) / 2
        assert f'{mean:.2f}' in lines[0]
    assert '| B | R1 | 49.41 |' in (out / 'reproduction.md').read_text()


def test_the_same_command_again_trains_and_scores_nothing(finished, people, capsys, monkeypatch):
    table, out, printed = finished
    monkeypatch.setattr(evaluation, 'Evaluator', None)
    assert reproduce(table, people, out, '--seeds', '0-1', '--allow-differences') == 0  # no --yes: nothing is to do
    again = capsys.readouterr().out
    assert '2 runs, 2 finished' in again
    assert rows_of(again) == rows_of(printed)


def test_newer_weights_are_scored_again(finished, people, tmp_path):
    table, out, _ = finished
    shutil.copytree(out, tmp_path / 'out')
    scored = tmp_path / 'out/mine/b/seed_0/sysu_official/result.json'
    whole = scored.read_text()
    scored.write_text(json.dumps(json.loads(whole) | {'weights': 'of another day'}))
    later = scored.stat().st_mtime_ns + 10**9
    os.utime(tmp_path / 'out/mine/b/seed_0/checkpoints/last.pt', ns=(later, later))
    assert reproduce(table, people, tmp_path / 'out', '--seeds', '0', '--allow-differences') == 0
    assert json.loads(scored.read_text())['weights'] == json.loads(whole)['weights']


def test_other_data_are_refused_before_anything_is_written(people, table, tmp_path, capsys):
    assert reproduce(table, people, tmp_path / 'out') == 2
    error = capsys.readouterr().err
    assert 'synthetic people' in error
    assert '--allow-differences' in error
    assert not (tmp_path / 'out').exists()


def test_another_dataset_is_refused(table, tmp_path, capsys):
    synthesize(tmp_path / 'llcm', layout='llcm', ids=4, seed=0, images=1, workers=1)
    assert reproduce(table, tmp_path / 'llcm', tmp_path / 'out', *ALLOWED) == 2
    assert 'is not a dataset of the papers (SYSU-MM01, RegDB)' in capsys.readouterr().err


def test_data_without_what_a_protocol_needs(table, tmp_path, capsys):
    synthesize(tmp_path / 'people', layout='sysu', ids=10, seed=0, images=1, workers=1)
    (tmp_path / 'people/exp/rand_perm_cam.mat').unlink()
    assert reproduce(table, tmp_path / 'people', tmp_path / 'out', *ALLOWED) == 2
    assert 'rand_perm_cam.mat' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


class TestWithoutAGPU:
    @pytest.fixture(autouse=True)
    def processor(self, monkeypatch, without_estimate):
        monkeypatch.setattr('torch.cuda.is_available', lambda: False)
        monkeypatch.setattr(reproduction, 'reproduce', lambda *args, **kwargs: print('TRAINING'))

    def test_nobody_can_answer(self, people, table, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr('sys.stdin', io.StringIO(''))
        assert reproduce(table, people, tmp_path / 'out', '--allow-differences') == 2
        printed = capsys.readouterr()
        assert 'there is no GPU here, and training takes about 100 days' in printed.err
        assert '--yes' in printed.err
        assert 'TRAINING' not in printed.out

    @pytest.mark.parametrize(('answer', 'starts'), [('y', True), ('', False), ('no', False)])
    def test_the_answer_counts(self, people, table, tmp_path, capsys, monkeypatch, answer, starts):
        monkeypatch.setattr('sys.stdin.isatty', lambda: True)
        monkeypatch.setattr('builtins.input', lambda question: answer)
        assert reproduce(table, people, tmp_path / 'out', '--allow-differences') == 0
        assert ('TRAINING' in capsys.readouterr().out) == starts

    def test_yes_answers_before_it_is_asked(self, people, table, tmp_path, capsys):
        assert reproduce(table, people, tmp_path / 'out', *ALLOWED) == 0
        assert 'TRAINING' in capsys.readouterr().out


def test_a_gpu_needs_no_answer(people, table, tmp_path, capsys, monkeypatch, without_estimate):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.get_device_name', lambda: 'NVIDIA A100-SXM4-80GB')
    monkeypatch.setattr(reproduction, 'check', lambda whole: None)  # which would use the device
    monkeypatch.setattr(reproduction, 'reproduce', lambda *args, **kwargs: print('TRAINING'))
    assert reproduce(table, people, tmp_path / 'out', '--allow-differences') == 0
    printed = capsys.readouterr().out
    assert 'A100: 100 days' in printed
    assert 'T4' not in printed
    assert 'TRAINING' in printed


def test_a_dry_run_prints_the_estimate_and_stops(people, table, tmp_path, capsys, without_estimate):
    assert reproduce(table, people, tmp_path / 'out', '--allow-differences', '--dry-run') == 0
    assert 'H100: 100 days (assumed)' in capsys.readouterr().out
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        (['--tables', 'tffn_table4'], "no 'tffn_table4'"),
        (['--rows', 'ddga'], "did you mean 'ddag'?"),
        (['--seed', '3'], '--seed does not apply'),
        (['--protocol', 'sysu/agw'], '--protocol does not apply'),
        (['--split', '3'], '--split does not apply'),
        (['--on', 'snth'], "did you mean 'synth'?"),
    ],
)
def test_names_that_are_not_there(people, tmp_path, capsys, flags, text):
    assert reproduce('tffn', people, tmp_path / 'out', *flags) == 2
    assert text in capsys.readouterr().err


def test_no_paper_of_this_name(people, tmp_path, capsys):
    assert reproduce('tfn', people, tmp_path / 'out') == 2
    assert 'tffn_table1' in capsys.readouterr().err
