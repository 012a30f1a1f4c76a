"""`vireid extract`, `index` and `search`: from a checkpoint to who was seen where."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path

import faults
import numpy as np
import pytest
import torch

from vireid.cli import main
from vireid.launch.launch import train

PLUGIN = ['--plugin', str(Path(faults.__file__))]


@pytest.fixture(scope='module')
def work(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny model, `run`, and the index of the visible camera 1, `index`."""
    folder = tmp_path_factory.mktemp('work')
    train(faults.experiment(people), folder / 'run')
    checkpoint = str(folder / 'run/checkpoints/last.pt')
    arguments = ['index', str(people / 'cam1'), '-o', str(folder / 'index'), '--camera', '1']
    assert main([*arguments, '--checkpoint', checkpoint, *PLUGIN]) == 0
    return folder


@pytest.fixture
def query(people: Path) -> str:
    return str(next((people / 'cam3').rglob('*.jpg')))


def test_search_prints_a_ranking(work, query, capsys):
    assert main(['search', str(work / 'index'), query, '--top', '3', *PLUGIN]) == 0
    first, head, *lines, _, note = capsys.readouterr().out.rstrip().splitlines()
    assert first == f'{query}, infrared (guessed; --modality sets it)'
    assert head.split() == ['rank', 'score', 'camera', 'time', 'image']
    assert len(lines) == 3
    assert note.startswith('note: scores are not calibrated')
    scores = [float(line.split()[1]) for line in lines]
    assert scores == sorted(scores, reverse=True)


def test_search_prints_json(work, query, capsys):
    assert (
        main(['search', str(work / 'index'), query, query, '--top', '2', '--json', '--modality', 'infrared', *PLUGIN])
        == 0
    )
    one, two = json.loads(capsys.readouterr().out)
    assert one == two
    assert one['guessed'] is False
    assert set(one['hits'][0]) == {'row', 'score', 'path', 'camera', 'time', 'time_from', 'modality', 'probability'}
    assert (one['absent'], one['hits'][0]['probability']) == (None, None)  # the model is not calibrated


def test_a_modality_that_contradicts_the_pixels_is_told(work, query, capsys):
    assert main(['search', str(work / 'index'), query, '--modality', 'visible', *PLUGIN]) == 0
    assert re.fullmatch('warning: .* has no colors, but is embedded as visible', capsys.readouterr().err.strip())


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--camera', '7'], "has no camera '7'"),
        (['--among', 'infrared'], 'has no infrared images'),
        (['--after', 'noon'], "--after is 'noon'"),
        (['--after', '2027-01-01', '--before', '2026-01-01'], 'is later than'),
        (['--top', '0'], 'top is 0'),
    ],
)
def test_wrong_filters(work, query, capsys, flags, message):
    assert main(['search', str(work / 'index'), query, *flags, *PLUGIN]) == 2
    assert message in capsys.readouterr().err


def test_before_a_date_includes_that_day(work, query, people, capsys):
    day = Path(next((people / 'cam1').rglob('*.jpg'))).stat().st_mtime
    from datetime import date

    flags = ['--before', date.fromtimestamp(day).isoformat(), '--after', date.fromtimestamp(day).isoformat()]
    assert main(['search', str(work / 'index'), query, *flags, '--top', '1', *PLUGIN]) == 0
    assert 'cannot' not in capsys.readouterr().out


def test_an_index_knows_its_checkpoint_and_updates_without_it(work, people, capsys):
    assert main(['index', str(people / 'cam1'), '-o', str(work / 'index'), '--camera', '1', *PLUGIN]) == 0
    out = capsys.readouterr().out
    assert ': 0 embedded now, 0 removed' in out
    assert f'To search it: vireid search {work / "index"} IMAGE' in out


def test_a_line_break_in_a_received_index_adds_no_row(work, query, tmp_path, capsys):
    shutil.copytree(work / 'index', tmp_path / 'index')
    with sqlite3.connect(tmp_path / 'index/images.sqlite') as db:
        db.execute(
            "UPDATE images SET camera = 'a' || char(10) || '1  1.000  forged', path = CAST(path || x'0a32' AS BLOB)"
        )
    assert main(['search', str(tmp_path / 'index'), query, '--top', '3', *PLUGIN]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum('forged' in line for line in lines) == 3
    assert not any(line.startswith(('1  1.000', '2')) and 'forged' not in line for line in lines)


def test_a_new_index_needs_a_checkpoint(people, tmp_path, capsys):
    assert main(['index', str(people / 'cam1'), '-o', str(tmp_path / 'index')]) == 2
    assert 'name one: --checkpoint FILE' in capsys.readouterr().err


@pytest.mark.parametrize('out', ['thesis', 'thesis/a.tex'])
def test_a_folder_with_other_files_gets_no_zero_shot_network(people, tmp_path, capsys, out):
    (tmp_path / 'thesis').mkdir()
    (tmp_path / 'thesis/a.tex').write_text('x')
    assert main(['index', str(people), '-o', str(tmp_path / out), '--checkpoint', 'zero-shot']) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / out) in error
    assert '--resume' not in error
    assert [path.name for path in (tmp_path / 'thesis').iterdir()] == ['a.tex']


def test_a_model_of_a_machine_with_gpus_embeds_on_any(work, people, tmp_path, capsys):
    content = torch.load(work / 'run/checkpoints/last.pt', weights_only=True)
    elsewhere = {'accelerator': 'cuda', 'devices': 4, 'nodes': 2, 'strategy': 'ddp', 'precision': '16-mixed'}
    content['config']['training'] |= elsewhere
    torch.save(content, tmp_path / 'last.pt')
    arguments = ['index', str(people / 'cam1'), '-o', str(tmp_path / 'index'), '--camera', '1']
    assert main([*arguments, '--checkpoint', str(tmp_path / 'last.pt'), *PLUGIN]) == 0
    assert (tmp_path / 'index/embeddings.f16').read_bytes() == (work / 'index/embeddings.f16').read_bytes()


def test_extract_writes_what_the_model_embeds(work, people, tmp_path, capsys):
    checkpoint = str(work / 'run/checkpoints/last.pt')
    assert main(['extract', checkpoint, str(people / 'cam3'), '-o', str(tmp_path / 'f.npz'), *PLUGIN]) == 0
    assert 'infrared; ' in capsys.readouterr().out
    file = np.load(tmp_path / 'f.npz')
    np.testing.assert_allclose(np.linalg.norm(file['features'], axis=1), 1, rtol=1e-5)
    assert set(file['modality']) == {'infrared'}
    assert len(file['path']) == len(file['features'])


def test_extract_writes_the_times_and_cameras_that_an_index_would_have(work, query, tmp_path):
    for name in ('cam4/20261129_224105.jpg', 'cam4/unknown.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(query, tmp_path / name)
    checkpoint = str(work / 'run/checkpoints/last.pt')
    assert main(['extract', checkpoint, str(tmp_path / 'cam4'), '-o', str(tmp_path / 'f.npz'), *PLUGIN]) == 0
    file = np.load(tmp_path / 'f.npz')
    assert file['time'].tolist() == ['2026-11-29 22:41:05', '']
    assert file['camera'].tolist() == ['4', '4']


@pytest.mark.parametrize('flags', [[], ['--modality', 'infrared']], ids=['guessed', 'named'])
def test_extract_leaves_out_what_cannot_be_read_and_says_so(work, query, tmp_path, capsys, flags):
    for name in ('a.jpg', 'c.jpg'):
        shutil.copy(query, tmp_path / name)
    (tmp_path / 'b.jpg').write_bytes(Path(query).read_bytes()[:300])
    words = ['extract', str(work / 'run/checkpoints/last.pt'), str(tmp_path), *flags, *PLUGIN]
    assert main([*words, '-o', str(tmp_path / 'f.NPZ')]) == 0
    out = capsys.readouterr().out
    assert 'warning: 1 image cannot be read; left out' in out
    assert str(tmp_path / 'b.jpg') in out
    file = np.load(tmp_path / 'f.NPZ')
    assert [Path(path).name for path in file['path']] == ['a.jpg', 'c.jpg']
    np.testing.assert_allclose(file['features'][0], file['features'][1], rtol=1e-6)
    (tmp_path / 'a.jpg').unlink()
    (tmp_path / 'c.jpg').unlink()
    assert main([*words, '-o', str(tmp_path / 'g.npz')]) == 2
    assert 'none of the images can be read' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('out', 'images', 'message'), [('f.txt', '', 'the suffix'), ('f.npz', 'none', 'does not exist')]
)
def test_extract_refuses(work, people, tmp_path, capsys, out, images, message):
    checkpoint = str(work / 'run/checkpoints/last.pt')
    source = str(people / images) if images else str(people)
    assert main(['extract', checkpoint, source, '-o', str(tmp_path / out), *PLUGIN]) == 2
    assert message in capsys.readouterr().err
