"""`vireid ablate`: a paper's table on synthetic people, resumable, each row a normal run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vireid.cli import main
from vireid.synth import synthesize

pytestmark = pytest.mark.usefixtures('narrow_resnet')

CONFIGS = Path(__file__).parents[2] / 'configs'
TINY = [
    'images.size=[64,32]', 'images.workers=0', 'training.steps=2', 'training.precision=32-true',
    'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2', 'protocol.trials=2',
]  # fmt: skip
METRICS = 'loggers=[{"type": "MetricsFile"}]'
# the first stages alone and short vectors: checkpoints of some MB instead of some hundred
B = [*TINY, 'model.backbone.out_stages=[2]', 'model.necks.s4.inputs=stage2', 'model.necks.s4.channels=32']
DEEP = [
    *TINY, METRICS, 'model.backbone.out_stages=[2]',
    *(f'model.necks.{name}.{value}' for name in ('s2', 's3', 's4') for value in ('inputs=stage2', 'channels=32')),
]  # fmt: skip
DMCF = [
    *TINY, METRICS, 'model.backbone.out_stages=[1,2]', 'model.necks.low.inputs=stage1',
    'model.necks.middle.inputs=stage2', 'model.necks.high.inputs=stage2',
    *(f'model.heads.{name}.channels=32' for name in ('low', 'middle', 'high')),
]  # fmt: skip


def ablate(table: str, people: Path, work_dir: Path, *flags: str, options: list[str] | None = None) -> int:
    arguments = ['ablate', table, '--configs', str(CONFIGS), '--on', 'synth', '--data-root', str(people)]
    arguments += ['--work-dir', str(work_dir), *flags]
    return main([*arguments, '--cfg-options', *([*B, METRICS] if options is None else options)])


@pytest.fixture(scope='module')
def finished(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished row: B of TFFN with seed 0; no test changes it."""
    folder = tmp_path_factory.mktemp('finished')
    assert ablate('tffn', people, folder, '--seeds', '0', '--rows', 'b') == 0
    return folder


def test_prints_mean_and_deviation_beside_the_papers_figures(people, tmp_path, capsys):
    flags = ('--seeds', '0', '1', '--rows', 'no_split', 'no_mtl')
    assert ablate('dmcf_table2', people, tmp_path, *flags, options=DMCF) == 0
    table = capsys.readouterr().out
    assert 'measured on different data and cannot be compared' in table
    body, claims = table.split('Each interval has 95% confidence')
    rows = {line.split('  ')[0]: line.split()[2:] for line in body.splitlines() if line.startswith('NO ')}
    assert 'NO SPLIT - NO MTL, R1: ' in claims
    assert 'over 2 seeds' in claims
    assert set(rows) == {'NO SPLIT', 'NO MTL'}
    assert rows['NO SPLIT'][-2:] == ['27.18', '30.34']
    results = [json.loads((tmp_path / f'dmcf_table2/no_split/seed_{seed}/result.json').read_text()) for seed in (0, 1)]
    metrics = [100 * result['rows'][0]['R1']['mean'] for result in results]
    mean, deviation = sum(metrics) / 2, abs(metrics[0] - metrics[1]) / 2**0.5
    assert rows['NO SPLIT'][:3] == [f'{mean:.2f}', '±', f'{deviation:.2f}']


def test_goes_on_where_it_was_stopped(people, tmp_path, capsys, monkeypatch):
    from vireid.studies import jobs as training

    finished = []
    whole = training.train

    def stopping(experiment, folder, **rest):
        if len(finished) == 1:
            raise KeyboardInterrupt
        finished.append(folder)
        return whole(experiment, folder, **rest)

    flags = ('--seeds', '0', '--rows', 'b_deep', 'b_deep_mlfm')
    monkeypatch.setattr(training, 'train', stopping)
    assert ablate('tffn', people, tmp_path, *flags, options=DEEP) == 130
    monkeypatch.setattr(training, 'train', whole)
    result = (tmp_path / 'tffn_table3/b_deep/seed_0/result.json').stat().st_mtime_ns
    assert ablate('tffn', people, tmp_path, *flags, options=DEEP) == 0
    assert (tmp_path / 'tffn_table3/b_deep/seed_0/result.json').stat().st_mtime_ns == result
    assert 'finished before' in capsys.readouterr().out


def test_a_run_that_was_cut_resumes_from_its_checkpoint(people, tmp_path, monkeypatch):
    """Two runs of one row: one whole, one cut after its first epoch; they end with the same metrics."""
    from vireid.core.training import trainer as training

    options = [*B, METRICS, 'training.steps=6', 'training.checkpoint_every=2']
    flags = ('--seeds', '0', '--rows', 'b')
    assert ablate('tffn', people, tmp_path / 'whole', *flags, options=options) == 0
    seed_step = training.seed_step

    def cut(run, progress, rank):
        if progress.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, 'seed_step', cut)
    assert ablate('tffn', people, tmp_path / 'cut', *flags, options=options) == 130
    monkeypatch.setattr(training, 'seed_step', seed_step)
    assert ablate('tffn', people, tmp_path / 'cut', *flags, options=options) == 0
    whole, resumed = (
        json.loads((tmp_path / name / 'tffn_table3/b/seed_0/result.json').read_text()) for name in ('whole', 'cut')
    )
    assert whole == resumed


def test_the_full_network_of_two_tables_is_trained_once(people, tmp_path, capsys):
    flags = ('--seeds', '0', '--rows', 'dmcf', 'feature_2_3_4')
    assert ablate('dmcf', people, tmp_path, *flags, options=DMCF) == 0
    assert 'feature_2_3_4 seed 0: the same config as dmcf_table2/dmcf' in capsys.readouterr().out


def test_other_images_are_another_run(people, small_sysu, finished, capsys):
    flags = ('--seeds', '0', '--rows', 'b')
    assert ablate('tffn', people, finished, *flags, '--data-label', 'people I know') == 0
    assert 'here:  people I know, 7 training identities' in capsys.readouterr().out
    assert ablate('tffn', small_sysu, finished, *flags) == 2
    assert 'holds a run with another dataset' in capsys.readouterr().err


def test_a_row_of_one_of_the_papers_tables(people, tmp_path, capsys):
    assert ablate('dmcf', people, tmp_path, '--seeds', '0', '0', '--rows', 'no_split', options=DMCF) == 0
    printed = capsys.readouterr().out
    assert 'one seed' in printed
    assert f'synthetic people, SYSU-MM01 layout ({people})' in printed
    assert not (tmp_path / 'dmcf_table2' / 'table.txt').exists()  # that is for whole tables


def test_what_cannot_be_built_is_known_before_any_training(people, tmp_path, capsys):
    options = [*TINY, 'model.heads.high.parts=99']
    assert ablate('dmcf_table2', people, tmp_path, '--rows', 'no_mtl', options=options) == 2
    assert 'parts is 99' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_data_may_be_named_by_the_environment(people, finished, capsys, monkeypatch):
    monkeypatch.setenv('VIREID_DATA', str(people))
    arguments = ['ablate', 'tffn', '--configs', str(CONFIGS), '--on', 'synth', '--work-dir', str(finished)]
    assert main([*arguments, '--seeds', '0', '--rows', 'b', '--cfg-options', *B, METRICS]) == 0
    printed = capsys.readouterr().out
    assert f'synthetic people, SYSU-MM01 layout ({people})' in printed
    assert '(finished before)' in printed  # of other data it would be another run


def test_a_torn_result_is_made_again(people, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    path = tmp_path / 'tffn_table3/b/seed_0/result.json'
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    assert ablate('tffn', people, tmp_path, '--seeds', '0', '--rows', 'b') == 0
    assert path.read_text() == whole


START = """
_base_ = 'vireid::systems/agw_base.py'
dataset = dict(root={people!r})
model = dict(backbone=dict(depth=18, weights=None, shared_from=0))
images = dict(size=(32, 16), workers=0)
sampler = dict(identities=2, visible=2, infrared=0)
training = dict(_delete_=True, steps=1)
protocol = dict(trials=1)
loggers = []
"""
SMALL = """
model = dict(backbone=dict(depth=18, weights=None))
images = dict(size=(32, 16), workers=0)
sampler = dict(identities=2, visible=1, infrared=1)
training = dict(_delete_=True, steps=1)
protocol = dict(trials=1)
loggers = [dict(type='MetricsFile')]
"""
TABLE = """
title: T
paper: p
settings: {small: small.py}
starts: {people: {config: start.py, key: model.backbone.weights}}
rows:
  agw_base: {label: Base, R1: 1, mAP: 2}
  hog: {label: HOG, R1: null, mAP: null, start: null, settings: {small: tiny.py}}
"""


def test_rows_share_a_start_and_one_without_training_is_scored(people, tmp_path, capsys):
    others = tmp_path / 'others'
    synthesize(others, layout='sysu', ids=6, seed=1, images=1, workers=1)
    mine = tmp_path / 'mine'
    mine.mkdir()
    for name, text in {
        'start.py': START.format(people=str(others)), 'small.py': SMALL, 'table.yaml': TABLE,
        'tiny.py': 'images = dict(size=(32, 16), workers=0)\nprotocol = dict(trials=1)\nloggers = []\n',
        'agw_base.py': "_base_ = 'vireid::systems/agw_base.py'\n", 'hog.py': "_base_ = 'vireid::systems/hog.py'\n",
    }.items():  # fmt: skip
        (mine / name).write_text(text)
    arguments = ['ablate', str(mine), '--on', 'small', '--seeds', '0,1', '--data-root', str(people)]
    assert main([*arguments, '--work-dir', str(tmp_path / 'out'), '--rows', 'agw_base,hog']) == 0
    printed = capsys.readouterr().out
    start = tmp_path / 'out/mine/starts/people/checkpoints/last.pt'
    assert f'weights {start}: ' in printed
    assert 'HOG (not trained)' in printed
    config = (tmp_path / 'out/mine/agw_base/seed_1/config.yaml').read_text()
    assert f'weights: {start}' in config
    assert 'data/start' not in config
    began = start.stat().st_mtime
    assert main([*arguments, '--work-dir', str(tmp_path / 'out'), '--rows', 'hog']) == 0
    assert capsys.readouterr().out.count('(finished before)') == 2
    assert start.stat().st_mtime == began


@pytest.mark.parametrize(
    ('text', 'wanted'),
    [
        ('title: T\npaper: p\nsettings: {}\nstarts: {a: b}\nrows: {b: {label: 3, R1: 1, mAP: 1}}\n', 'starts is'),
        ('title: T\npaper: p\nsettings: {}\nrows: {b: {label: 3, R1: 1, mAP: 1, start: a}}\n', "start is 'a'"),
        ('title: T\npaper: p\nsettings: {}\nrows: [b]\n', "rows is ['b']"),
        ('title: T\npaper: p\nsettings:\nrows: {}\n', 'settings is None'),
        ('title: T\npaper: p\nsettings: {}\nrows: {}\n', 'rows is empty'),
        ('title: T\npaper: p\nsettings: {}\nrows: {b: {label: 3, R1: high, mAP: 1}}\n', 'rows.b is'),
        ('title: T\npaper: p\nsettings: {}\nrow: {}\n', 'rows is None'),
    ],
)
def test_a_malformed_table_is_named(tmp_path, capsys, text, wanted):
    (tmp_path / 'table.yaml').write_text(text)
    (tmp_path / 'b.py').write_text('')
    assert main(['ablate', str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / 'table.yaml') in error
    assert wanted in error


def test_a_run_with_other_settings_is_not_counted(people, finished, capsys):
    options = [*B, METRICS, 'training.steps=3']
    assert ablate('tffn', people, finished, '--seeds', '0', '--rows', 'b', options=options) == 2
    assert 'holds a run with another training' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'texts'),
    [
        (['dmfc'], ["no table 'dmfc'", 'dmcf_table2, dmcf_table3, systems, tffn_table3']),
        (['dmcf', '--on', 'snth'], ['--on snth', "did you mean 'synth'?"]),
        (['dmcf', '--rows', 'nosplit'], ["did you mean 'no_split'?"]),
        (['dmcf', '--seed', '3'], ['use --seeds 3']),
    ],
)
def test_says_what_tables_settings_and_rows_there_are(arguments, texts, capsys):
    assert main(['ablate', *arguments, '--configs', str(CONFIGS)]) == 2
    error = capsys.readouterr().err
    for text in texts:
        assert text in error


def test_a_table_of_ones_own(people, tmp_path, capsys):
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'half.py').write_text(f"_base_ = '{CONFIGS}/tffn_table3/b.py'\nsampler = dict(identities=2)\n")
    (folder / 'table.yaml').write_text(
        f'title: Mine\npaper: nobody\nsettings: {{synth: {CONFIGS}/_base_/tffn_small.py}}\n'
        'rows: {half: {label: Half, R1: 1.0, mAP: 2.0}, rest: {label: The rest, R1: 1.0, mAP: 2.0}}\n'
    )
    (folder / 'rest.py').write_text(
        f"_base_ = '{CONFIGS}/tffn_table3/b.py'\nmodel = dict(heads=dict(s4=dict(bnneck=False)))\n"
    )
    assert ablate(str(folder), people, tmp_path / 'out', '--seeds', '0', options=B) == 0
    printed = capsys.readouterr().out
    assert 'Half - The rest, R1: ' in printed
    assert 'One seed: no claim' in printed
    assert 'Half - The rest, R1: ' in (tmp_path / 'out/mine/table.txt').read_text()
    assert '| model.heads.s4.bnneck |' in (tmp_path / 'out/mine/comparison.md').read_text()
    assert '<svg' in (tmp_path / 'out/mine/comparison.html').read_text()
    run = tmp_path / 'out/mine/half/seed_0'  # a run like any other
    assert {p.name for p in run.iterdir()} >= {'config.yaml', 'metrics.jsonl', 'checkpoints', 'report.html'}
    (folder / 'table.yaml').write_text('title: Mine\npaper: nobody\nsettings: {}\nrows: {hlaf: {label: H}}\n')
    assert main(['ablate', str(folder)]) == 2
    assert 'hlaf.py does not exist' in capsys.readouterr().err


def test_the_tables_are_found_from_anywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['ablate', 'tffn', '--rows', 'nothing']) == 2
    error = capsys.readouterr().err
    assert "no row 'nothing'" in error
    assert 'b_deep_mlfm_glfm' in error
    assert main(['ablate', 'tfn']) == 2
    assert 'allowed: dmcf_table2, dmcf_table3, systems, tffn_table3' in capsys.readouterr().err
