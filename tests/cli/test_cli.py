"""The command line as a user meets it: start-up, help, errors, and runs from the shell."""

from __future__ import annotations

import errno
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vireid.cli import main

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / 'configs' / 'tffn_sysu.py')
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[32,16]', 'images.workers=0',
    'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2',
    'model.backbone.out_stages=[2,3]', 'model.necks.s4.inputs=stage3',
    *(f'model.necks.{name}.channels=64' for name in ('s2', 's3', 's4')),
]  # fmt: skip
# a process of its own reads the images
LOADER = 'images.workers=1'


def small(*options: str) -> list[str]:
    return ['--cfg-options', *SMALL, 'protocol.trials=2', *options]


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('sysu')
    (root / 'exp').mkdir()
    for name, identities in (('train', '1,2'), ('val', '3'), ('test', '4,5')):
        (root / f'exp/{name}_id.txt').write_text(identities + '\n')
    rng = np.random.default_rng(0)
    for camera in (1, 2, 3, 6):
        for identity in range(1, 6):
            folder = root / f'cam{camera}' / f'{identity:04d}'
            folder.mkdir(parents=True)
            for shot in range(2):
                pixels = rng.integers(0, 255, (40, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f'{shot + 1:04d}.jpg')
    return root


def shell(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize('code', ['import vireid', 'from vireid.cli import main; main(["plugins", "--components"])'])
def test_import_and_listing_load_no_torch(tmp_path, code):
    checked = shell('-c', f'import sys\n{code}\nassert "torch" not in sys.modules', cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr


def test_help_loads_no_torch(tmp_path):
    code = 'import sys\nfrom vireid.cli import main\ntry: main(["--help"])\nexcept SystemExit: pass\n'
    helped = shell('-c', code + 'assert "torch" not in sys.modules', cwd=tmp_path)
    assert helped.returncode == 0, helped.stderr
    for command in ('train', 'test', 'data', 'plugins'):
        assert command in helped.stdout


def test_alone_it_prints_its_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith('usage: vireid ')
    assert 'Train and evaluate the model of a config' in out


@pytest.mark.parametrize('words', [['--help'], ['plugins', '--components']], ids=' '.join)
def test_a_reader_that_is_gone_is_no_error(tmp_path, words):
    reads, writes = os.pipe()
    os.close(reads)
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONUNBUFFERED'}
    made = subprocess.run(
        [sys.executable, '-m', 'vireid', *words], cwd=tmp_path, stdout=writes, stderr=subprocess.PIPE, env=environment
    )
    os.close(writes)
    assert (made.returncode, made.stderr) == (0, b'')


@pytest.mark.skipif(not os.access('/dev/full', os.W_OK), reason='needs /dev/full')
@pytest.mark.parametrize('words', [['--help'], ['plugins', '--components']], ids=' '.join)
def test_what_a_full_disk_did_not_take_is_told(tmp_path, words):
    with open('/dev/full', 'w') as full:
        made = subprocess.run(
            [sys.executable, '-m', 'vireid', *words], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert made.returncode == 2
    assert made.stderr.startswith(f'error: some output could not be written to <stdout>: {os.strerror(errno.ENOSPC)}')
    assert 'next:    free some space' in made.stderr


def test_without_data_the_error_says_what_where_how_and_what_instead(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv('VIREID_DATA', raising=False)
    assert main(['train', CONFIG, *small()]) == 2
    text = capsys.readouterr().err
    assert 'no data folder was given' in text
    assert '--data-root, VIREID_DATA or dataset.root' in text
    assert 'license form' in text
    assert 'vireid data synth --layout sysu' in text
    assert main(['train', CONFIG, '--data-root', str(tmp_path / 'nothing'), *small()]) == 2
    assert f'{tmp_path / "nothing"} does not exist' in capsys.readouterr().err
    assert main(['train', CONFIG, '--data-root', str(tmp_path), *small()]) == 2
    assert (
        'has no cam1/cam2/cam4/cam5, cam3/cam6, exp/train_id.txt, exp/val_id.txt, exp/test_id.txt'
        in capsys.readouterr().err
    )


def test_a_wrong_config_name_suggests_the_nearest(capsys):
    assert main(['train', str(ROOT / 'configs' / 'tffn_syzu.py')]) == 2
    assert f"did you mean '{ROOT / 'configs' / 'tffn_sysu.py'}'?" in capsys.readouterr().err


def test_wrong_options_are_named(capsys):
    for option, text in {
        'model.backbon.depth=18': "no 'backbon' in model, did you mean 'backbone'?",
        'depth': "option 'depth' is not key=value",
        'sampler.identites=4': "IdentityBalanced has no argument 'identites', did you mean 'identities'?",
        'images.sise=[32,16]': "images.sise: there is no setting 'sise', did you mean 'size'?",
    }.items():
        assert main(['train', CONFIG, *small(option), '--dry-run']) == 2
        assert text in capsys.readouterr().err


def test_print_config_shows_flags_and_reads_back(tmp_path, capsys):
    flags = ['--seed', '3', '--precision', 'bf16-mixed', '--devices', '1', '--data-root', 'somewhere']
    assert main(['train', CONFIG, *flags, '--print-config']) == 0
    (tmp_path / 'again.yaml').write_text(capsys.readouterr().out)
    assert main(['train', str(tmp_path / 'again.yaml'), '--print-config']) == 0
    text = capsys.readouterr().out
    for line in ('seed: 3', 'precision: bf16-mixed', 'root: somewhere', 'name: tffn_sysu'):
        assert line in text


def test_dry_run_needs_no_data_and_shows_the_graph(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(['train', CONFIG, *small(), '--dry-run']) == 0
    text = capsys.readouterr().out
    assert ['mlfm', 'MLFM', 's2,', 's3,', 's4', 'joint', 'vector', '64'] in [line.split() for line in text.splitlines()]
    assert 'embedding: mlfm -> 64' in text
    assert 'one step on random images: loss ' in text
    assert os.listdir(tmp_path) == []


def test_train_then_test_from_the_shell(tree, tmp_path, monkeypatch, capsys):
    options = small('training.epochs=1')
    trained = shell(str(ROOT / 'tools/train.py'), CONFIG, *options, cwd=tmp_path, VIREID_DATA=str(tree))
    assert trained.returncode == 0, trained.stderr
    run = tmp_path / 'runs' / 'tffn_sysu'
    written = {'checkpoints', 'config.yaml', 'metrics.jsonl', 'queries.npz', 'report.html', 'report.npz', 'run.json'}
    written.add('result.json')
    assert {p.name for p in run.iterdir()} == written
    assert trained.stderr == ''
    assert len(trained.stdout.splitlines()) < 20, trained.stdout
    checkpoint = str(run / 'checkpoints' / 'last.pt')
    monkeypatch.chdir(tmp_path)
    words = [CONFIG, checkpoint, '--data-root', str(tree), *options, 'loggers=[{"type": "Console"}]']
    monkeypatch.setattr(sys, 'argv', ['test.py', *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')
    assert ended.value.code == 0
    rows = [line for line in trained.stdout.splitlines() if line.startswith(('all', 'indoor'))]
    assert rows == [line for line in capsys.readouterr().out.splitlines() if line.startswith(('all', 'indoor'))]
    assert '8 of 8' in rows[0]


def test_a_run_is_never_written_over(tree, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ['train', CONFIG, '--data-root', str(tree)]
    arguments += small('training.epochs=None', 'training.steps=1', 'loggers=[]')
    for _ in range(2):
        assert main(arguments) == 0
    assert sorted(os.listdir('runs')) == ['tffn_sysu', 'tffn_sysu-2']
    # without the logger Console, the command itself says how the run ended
    out = capsys.readouterr().out
    assert 'after step 1, in percent:\nsysu/agw' in out
    assert out.endswith('\nwritten to runs/tffn_sysu-2\n')
    assert main([*arguments[:2], '--work-dir', 'runs/tffn_sysu', *arguments[2:]]) == 2
    text = capsys.readouterr().err
    assert 'runs/tffn_sysu already holds a run' in text
    assert '--resume' in text


def test_resume_without_a_run_says_so(tree, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['train', CONFIG, '--resume', '--data-root', str(tree), *small()]) == 2
    assert 'nothing to resume' in capsys.readouterr().err


def test_a_run_that_was_killed_while_it_wrote_its_first_checkpoint_begins_anew(tree, tmp_path, capsys):
    arguments = ['train', CONFIG, '--data-root', str(tree), '--work-dir', str(tmp_path / 'run')]
    arguments += small('training.epochs=None', 'training.steps=1', 'loggers=[]')
    folder = tmp_path / 'run' / 'checkpoints'
    folder.mkdir(parents=True)
    (folder / '.last.pt.0123456789abcdef.part').write_bytes(b'half of it')
    (tmp_path / 'run' / 'config.yaml').write_text('dataset: {}\nprotocol: {}\nmodel: {}\ntraining: {}\n')
    assert main([*arguments, '--resume']) == 0
    assert 'has no checkpoint yet: starting from step 0' in capsys.readouterr().out
    assert not list(folder.glob('.*'))
    assert main(arguments) == 2  # and now there is one


@pytest.mark.long
def test_ctrl_c_in_the_shell_saves_says_how_to_go_on_and_exits_with_130(tree, tmp_path, monkeypatch):
    options = small('training.epochs=1000', LOADER, 'loggers=[{"type": "Console"}, {"type": "MetricsFile"}]')
    arguments = [str(ROOT / 'tools/train.py'), CONFIG, '--data-root', str(tree), *options]
    log = (tmp_path / 'log').open('w')
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
    )
    metrics = tmp_path / 'runs' / 'tffn_sysu' / 'metrics.jsonl'
    deadline = time.monotonic() + 600
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the loader's workers get it too
    assert process.wait(timeout=600) == 130
    text = (tmp_path / 'log').read_text()
    assert 'Traceback' not in text
    assert 'saved runs/tffn_sysu/checkpoints/last.pt' in text
    again = next(line for line in text.splitlines() if line.startswith('resume with: vireid train '))
    arguments = [*again.removeprefix('resume with: vireid ').split(), '--print-config']
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 0
    assert arguments[1:5] == ['runs/tffn_sysu/config.yaml', '--work-dir', 'runs/tffn_sysu', '--resume']


def test_a_split_is_scored_by_its_own_model_only(small_regdb, tmp_path, capsys, monkeypatch):
    """RegDB: identities of one split's training are in another's test."""
    monkeypatch.chdir(tmp_path)
    config = str(ROOT / 'configs' / 'tffn_regdb.py')
    options = ['--cfg-options', *SMALL, 'training.epochs=1', 'loggers=[{"type": "Console"}]']
    assert main(['train', config, '--data-root', str(small_regdb), '--split', '2', *options]) == 0
    text = capsys.readouterr().out
    assert 'other people, RegDB layout, split 2: 3 identities' in text
    assert 'visible to thermal' in text
    assert 'thermal to visible' in text
    checkpoint = 'runs/tffn_regdb/checkpoints/last.pt'
    assert main(['test', config, checkpoint, '--data-root', str(small_regdb), '--split', '1', *options]) == 2
    text = capsys.readouterr().err
    assert 'was trained on split 2, but the test is split 1' in text
    assert '--split' in text
    assert main(['test', config, checkpoint, '--data-root', str(small_regdb), '--split', '2', *options]) == 0


@pytest.mark.parametrize(
    ('words', 'word', 'near', 'command'),
    [
        (['train', 'a.py', '--data-rot', 'x'], '--data-rot', '--data-root', 'train'),
        (['search', 'index', 'q.jpg', '--tpo=3'], '--tpo', '--top', 'search'),
        (['data', 'check', 'people', '--datset', 'y'], '--datset', '--dataset', 'data'),  # a flag of `check`
        (['train', 'a.py', 'b.py'], 'b.py', None, 'train'),
        (['label', 'crops', '-x'], '-x', None, 'label'),
    ],
)
def test_an_argument_that_a_command_lacks_is_named_with_the_nearest(capsys, words, word, near, command):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, repr(word) in err) == ('', True)
    assert (f'did you mean {near!r}?' in err) is bool(near)
    assert err.endswith(f'see vireid {command} --help\n')
