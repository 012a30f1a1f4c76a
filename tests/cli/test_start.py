"""`vireid start`: the commands that it runs, in order, and what it asks."""

from pathlib import Path

import pytest
from PIL import Image

import vireid.cli
from vireid.cli import main
from vireid.cli import start as module

REAL = main


@pytest.fixture
def crops(tmp_path):
    """Two folders of crops."""
    for name, color in (('hall', (200, 30, 30)), ('yard', (90, 90, 90))):
        (tmp_path / name / 'anna').mkdir(parents=True)
        Image.new('RGB', (40, 80), color).save(tmp_path / name / 'anna' / '1.jpg')
    return [str(tmp_path / 'hall'), str(tmp_path / 'yard')]


@pytest.fixture
def called(monkeypatch):
    """The commands that were run, without what follows their first two words; `label` names somebody."""
    found: list[list[str]] = []

    def run(arguments):
        found.append(list(arguments))
        if arguments[0] == 'label':
            Path(arguments[1]).mkdir(exist_ok=True)
            (Path(arguments[1]) / 'manifest.csv').write_text('path\n')
        return 1 if arguments[0] in broken else 0

    broken: set[str] = set()
    run.found, run.broken = found, broken
    monkeypatch.setattr(vireid.cli, 'main', run)
    return run


def words(called):
    return [arguments[0] for arguments in called.found]


def test_all_steps_in_order_and_each_is_printed(crops, called, tmp_path, capsys):
    out = tmp_path / 'mine'
    options = ['--cfg-options', 'model.backbone.weights=w.pth', 'training.steps=5']
    assert REAL(['start', *crops, '-o', str(out), '--yes', '--folds', '3', *options]) == 0
    assert words(called) == ['label', 'data', 'test', 'train', 'index', 'serve']
    printed = [line.split()[2] for line in capsys.readouterr().out.splitlines() if line.startswith('$ vireid')]
    assert printed == words(called)
    by_name = {arguments[0]: ' '.join(arguments) for arguments in called.found}
    assert by_name['test'].endswith('--cfg-options model.backbone.weights=w.pth')
    assert by_name['train'].endswith('--folds 3 --cfg-options model.backbone.weights=w.pth training.steps=5')
    assert 'fold_1/checkpoints/last.pt' in by_name['index']


def test_folders_are_copied_by_camera_once(crops, called, tmp_path, capsys):
    out = tmp_path / 'mine'
    start = ['start', *crops, '-o', str(out), '--yes', '--modality', 'visible', 'infrared']
    assert REAL(start) == 0
    assert sorted(str(p.relative_to(out)) for p in out.rglob('*.jpg')) == [
        'infrared/cam2/anna/1.jpg', 'visible/cam1/anna/1.jpg'
    ]  # fmt: skip
    capsys.readouterr()
    assert REAL(start) == 0
    assert '1 images, 0 copied now' in capsys.readouterr().out


def test_videos_are_cropped(called, tmp_path):
    videos = [tmp_path / 'day.mp4', tmp_path / 'night.mp4']
    for video in videos:
        video.touch()
    options = ['--cfg-options', 'detector.weights=d.pth', '--detector', 'Mine', '--modality', 'visible', 'infrared']
    assert REAL(['start', *map(str, videos), '-o', str(tmp_path / 'mine'), '--yes', *options]) == 0
    first, second = called.found[:2]
    assert first[:6] == ['crops', str(videos[0]), '-o', str(tmp_path / 'mine'), '--camera', '1']
    assert second[5] == '2'
    assert ' '.join(second[6:]) == '--cfg-options detector.weights=d.pth --modality infrared --detector Mine'


def test_a_failed_step_ends_it_and_the_same_command_continues(crops, called, tmp_path, capsys):
    start = ['start', *crops, '-o', str(tmp_path / 'mine'), '--yes']
    called.broken.add('test')
    assert REAL(start) == 1
    assert 'Repeat the same command' in capsys.readouterr().err
    called.broken.clear()
    called.found.clear()
    assert REAL(start) == 0
    assert words(called) == ['data', 'test', 'train', 'index', 'serve']  # people are named already


def test_other_names_give_other_runs(crops, called, tmp_path):
    start = ['start', *crops, '-o', str(tmp_path / 'mine'), '--yes']
    assert REAL(start) == 0
    (tmp_path / 'mine/manifest.csv').write_text('path\nmore\n')
    assert REAL(start) == 0
    first, second = (a[a.index('--work-dir') + 1] for a in called.found if a[0] == 'train')
    assert first != second


@pytest.mark.parametrize(
    ('answers', 'commands'),
    [
        (['n'], []),
        (['', 'maybe', 'n'], ['label', 'data', 'test']),
        (['y', 'YES', 'no'], ['label', 'data', 'test', 'train', 'index']),
    ],
)
def test_answers(crops, called, tmp_path, monkeypatch, capsys, answers, commands):
    given = iter(answers)
    monkeypatch.setattr('builtins.input', lambda question: next(given))
    monkeypatch.setattr(module.sys.stdin, 'isatty', lambda: True, raising=False)
    status = REAL(['start', *crops, '-o', str(tmp_path / 'mine')])
    assert words(called) == commands
    assert status == (0 if commands else 2)
    assert ('no people have been named' in capsys.readouterr().err) == (not commands)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['nowhere'], 'nowhere does not exist'),
        (['--modality', 'visible'], '1 modality for 2 sources'),
        (['--modality', 'visible', 'visible'], 'all sources are visible'),
        (['--folds', '1'], '--folds is 1'),
    ],
)
def test_mistakes_are_told_before_anything_is_done(crops, called, tmp_path, capsys, flags, message):
    assert REAL(['start', *crops, *flags, '-o', str(tmp_path / 'mine'), '--yes']) == 2
    assert message in capsys.readouterr().err
    assert not called.found


@pytest.mark.parametrize('closed', [False, True])
def test_without_a_terminal_it_says_so(crops, called, tmp_path, monkeypatch, capsys, closed):
    if closed:
        monkeypatch.setattr('sys.stdin', None)
    assert REAL(['start', *crops, '-o', str(tmp_path / 'mine')]) == 2
    assert 'add --yes' in capsys.readouterr().err


def test_a_folder_without_images_and_a_target_within_the_source(tmp_path, called, crops, capsys):
    (tmp_path / 'empty').mkdir()
    assert REAL(['start', str(tmp_path / 'empty'), '-o', str(tmp_path / 'mine'), '--yes']) == 2
    assert 'has no images' in capsys.readouterr().err
    assert REAL(['start', *crops, '-o', str(Path(crops[0]) / 'mine'), '--yes']) == 2
    assert 'is inside' in capsys.readouterr().err
