"""`vireid train --splits`: a model for each split, finished ones passed over, mean and deviation over the models."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

from vireid.cli import main

pytestmark = pytest.mark.usefixtures('narrow_resnet')

CONFIG = str(Path(__file__).parents[2] / 'configs' / 'tffn_regdb.py')
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[32,16]', 'images.workers=0',
    'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2', 'training.epochs=1',
    'model.backbone.out_stages=[2,3]', 'model.necks.s4.inputs=stage3',
    *(f'model.necks.{name}.channels=64' for name in ('s2', 's3', 's4')), 'loggers=[{"type": "MetricsFile"}]',
]  # fmt: skip


def command(root: Path, work_dir: Path, splits: str, *more: str) -> int:
    words = ['train', CONFIG, '--data-root', str(root), '--work-dir', str(work_dir), '--splits', splits, *more]
    return main([*words, '--cfg-options', *SMALL])


@pytest.fixture(scope='module')
def finished(small_regdb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of splits 1 and 2; no test changes it."""
    folder = tmp_path_factory.mktemp('finished')
    assert command(small_regdb, folder, '1-2') == 0
    return folder


def test_a_model_for_each_split_and_their_mean(small_regdb, finished, tmp_path, capsys, monkeypatch):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr('vireid.launch.launch.Trainer', None)  # neither of them is trained again
    with pytest.raises(TypeError):
        command(small_regdb, tmp_path, '1-3')
    monkeypatch.undo()
    assert command(small_regdb, tmp_path, '1-3') == 0
    text = capsys.readouterr().out
    assert text.count('(finished before)') == 4
    parts = [json.loads((tmp_path / f'split_{t}' / 'result.json').read_text()) for t in (1, 2, 3)]
    assert [p['split'] for p in parts] == ['split 1', 'split 2', 'split 3']
    whole = json.loads((tmp_path / 'result.json').read_text())
    assert whole['models'] == [1, 2, 3]
    assert whole['protocol'] == 'regdb/agw'
    for number, name in enumerate(('visible to thermal', 'thermal to visible')):
        row: dict[str, Any] = whole['rows'][number]
        assert row['name'] == name
        for key in ('R1', 'R10', 'mAP', 'mINP'):
            values = [p['rows'][number][key]['mean'] for p in parts]
            assert row[key]['mean'] == pytest.approx(statistics.fmean(values))
            assert row[key]['std'] == pytest.approx(statistics.pstdev(values))
            assert row[key]['low'] <= row[key]['mean'] <= row[key]['high']
        mean, deviation = (100 * row['mAP'][key] for key in ('mean', 'std'))
        assert f'{mean:.2f} ±{deviation:.2f}' in text
    assert 'over 3 models, each on its own split' in text


def test_a_checkpoint_of_one_split_refuses_another(small_regdb, finished, capsys):
    last = str(finished / 'split_1/checkpoints/last.pt')
    words = [CONFIG, last, '--data-root', str(small_regdb), '--split', '2', '--cfg-options', *SMALL]
    assert main(['test', *words]) == 2
    assert 'was trained on split 1, but the test is split 2' in capsys.readouterr().err


STOPPER = """
import os, signal, vireid

@vireid.hookimpl
def step_ended(run, progress):
    if run.split == os.environ['STOP_IN'] and progress.step == 1:
        os.kill(os.getpid(), signal.SIGINT)
"""


def test_stopped_in_one_split_the_same_command_goes_on_there(small_regdb, tmp_path, capsys, monkeypatch):
    (tmp_path / 'stopper.py').write_text(STOPPER)
    plugin = ['--plugin', str(tmp_path / 'stopper.py')]
    steps = 6 // 4 + 1  # an epoch: 6 images of each modality, 4 a batch
    monkeypatch.setenv('STOP_IN', 'split 3')
    run = tmp_path / 'run'
    assert command(small_regdb, run, '2-3', *plugin) == 130
    text = capsys.readouterr().out
    assert 'repeat the same command to resume' in text
    assert 'split 2' in text
    assert not (run / 'result.json').exists()
    assert not (run / 'split_3/result.json').exists()
    monkeypatch.setenv('STOP_IN', 'none')
    assert command(small_regdb, run, '2-3', *plugin) == 0
    assert capsys.readouterr().out.count('(finished before)') == 1
    lines = [json.loads(line) for line in (run / 'split_3/metrics.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines if 'loss' in line] == list(range(1, steps + 1))  # none of them twice
    # as if it had never been stopped
    assert command(small_regdb, tmp_path / 'whole', '3', *plugin) == 0
    rows = [json.loads((p / 'split_3/result.json').read_text())['rows'] for p in (run, tmp_path / 'whole')]
    assert rows[0] == rows[1]


def test_finished_models_are_scored_again_by_another_protocol_and_found_where_the_data_moved(
    small_regdb, finished, tmp_path, capsys, monkeypatch
):
    shutil.copytree(finished, tmp_path / 'run')
    first = json.loads((tmp_path / 'run/result.json').read_text())
    moved = Path(shutil.copytree(small_regdb, tmp_path / 'moved'))
    monkeypatch.setattr('vireid.studies.jobs.train', None)  # nothing is trained
    assert command(Path(f'{small_regdb}/'), tmp_path / 'run', '1-2') == 0
    assert capsys.readouterr().out.count('(finished before)') == 2
    assert command(moved, tmp_path / 'run', '1-2', '--protocol', 'regdb/official', '--rerank') == 0
    text = capsys.readouterr().out
    assert text.count('(trained before, scored again)') == 2
    assert 'visible to thermal, re-ranked (20, 6, 0.3)' in text
    second = json.loads((tmp_path / 'run/result.json').read_text())
    assert (first['protocol'], second['protocol']) == ('regdb/agw', 'regdb/official')
    # rank-1 and mAP of the two families are the same
    plain = [row for row in second['rows'] if not row['variant']]
    assert [(r['R1'], r['mAP']) for r in plain] == [(r['R1'], r['mAP']) for r in first['rows']]


def test_the_table_says_how_weights_were_chosen(small_regdb, tmp_path, capsys):
    more = ['evaluation.select=test', 'training.evaluate_every=1']
    words = ['train', CONFIG, '--data-root', str(small_regdb), '--work-dir', str(tmp_path), '--splits', '1']
    assert main([*words, '--cfg-options', *SMALL, *more]) == 0
    assert 'best R1 on trial 0 of the test; mean' in capsys.readouterr().out


def test_one_split_for_all_is_refused(small_regdb, tmp_path, capsys):
    words = ['train', CONFIG, '--data-root', str(small_regdb), '--work-dir', str(tmp_path), '--splits', '1-3']
    assert main([*words, '--cfg-options', *SMALL, 'dataset.split=3']) == 2
    assert '--splits sets dataset.split=1, but --cfg-options sets 3' in capsys.readouterr().err


def test_a_folder_with_a_single_run_is_not_written_over(small_regdb, tmp_path, capsys):
    (tmp_path / 'checkpoints').mkdir()
    assert command(small_regdb, tmp_path, '1') == 2
    assert 'holds a single run' in capsys.readouterr().err


def test_an_error_names_its_split(small_regdb, tmp_path, capsys):
    root = Path(shutil.copytree(small_regdb, tmp_path / 'copy'))
    path = (root / 'idx/test_visible_2.txt').read_text().split()[0]
    (root / path).write_bytes(b'broken')
    status = command(root, tmp_path / 'run', '2')
    assert status == 2
    assert 'error: split 2: image' in capsys.readouterr().err


@pytest.mark.parametrize('flag', ['--dry-run', '--print-config'])
def test_splits_are_read_for_a_split_run_too(small_regdb, tmp_path, capsys, flag):
    assert command(small_regdb, tmp_path, 'foo', flag) == 2
    assert "--splits is 'foo'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--split', '1'], '--splits and --split cannot be combined'),
        (['--resume'], 'repeat the same command'),
    ],
)
def test_what_does_not_go_together(small_regdb, tmp_path, capsys, words, said):
    assert command(small_regdb, tmp_path, '1-2', *words) == 2
    assert said in capsys.readouterr().err


def test_a_missing_split_is_known_before_the_first_is_trained(small_regdb, tmp_path, capsys):
    assert command(small_regdb, tmp_path, '1,11') == 2
    assert 'split is 11' in capsys.readouterr().err
    assert not list(tmp_path.rglob('last.pt'))


def test_another_config_in_the_same_folder_is_refused(small_regdb, finished, capsys):
    assert command(small_regdb, finished, '1', '--seed', '5') == 2
    assert 'holds a run with another seed' in capsys.readouterr().err


def test_a_dataset_without_splits_refuses(small_sysu, tmp_path, capsys):
    words = ['train', CONFIG.replace('regdb', 'sysu'), '--data-root', str(small_sysu), '--work-dir', str(tmp_path)]
    assert main([*words, '--splits', '1-2', '--cfg-options', *SMALL]) == 2
    assert "no argument 'split'" in capsys.readouterr().err


@pytest.mark.parametrize('flag', ['--trial', '--trials'])
def test_the_flags_of_earlier_versions_have_new_names(capsys, flag):
    assert main(['train', CONFIG, flag, '1-10']) == 2
    assert '--splits 1-10' in capsys.readouterr().err
