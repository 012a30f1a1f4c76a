"""What `synthesize` and `draw` refuse, keep and leave behind."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import pytest

from vireid.errors import AlreadyExists, UnknownName, WriteFailed, WrongValue
from vireid.synth import draw, generate, person, synthesize


def test_the_same_set_is_kept(sysu):
    before = {path: path.stat().st_mtime_ns for path in sysu.rglob('*')}
    summary = synthesize(sysu, layout='sysu', ids=8, seed=3, images=2)
    assert summary.reused
    assert (summary.visible, summary.infrared) == (
        sum(len(list(sysu.glob(f'cam{camera}/*/*.jpg'))) for camera in (1, 2, 4, 5)),
        sum(len(list(sysu.glob(f'cam{camera}/*/*.jpg'))) for camera in (3, 6)),
    )
    assert {path: path.stat().st_mtime_ns for path in sysu.rglob('*')} == before


@pytest.mark.parametrize(
    'change', [{'seed': 4}, {'ids': 9}, {'images': 3}, {'layout': 'regdb'}], ids=lambda change: next(iter(change))
)
def test_another_set_is_refused_and_named(sysu, change):
    same = {'layout': 'sysu', 'ids': 8, 'seed': 3, 'images': 2}
    ((name, value),) = change.items()
    with pytest.raises(AlreadyExists, match=rf'\b{name} {same[name]} .*\b{value}\b'):
        synthesize(sysu, **{**same, **change})


@pytest.mark.parametrize('stamp', [None, 'no json', '[]', '{"layout": "sysu"}'])
def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path, stamp):
    (tmp_path / 'notes.txt').write_text('mine')
    if stamp is not None:
        (tmp_path / 'synth.json').write_text(stamp)
    with pytest.raises(AlreadyExists, match=re.escape(str(tmp_path))) as caught:
        synthesize(tmp_path, ids=5, images=1)
    assert 'seed' not in caught.value.given  # it is compared with no other dataset
    assert (tmp_path / 'notes.txt').read_text() == 'mine'


def test_an_empty_folder_is_used_and_progress_told(tmp_path):
    told = []
    summary = synthesize(tmp_path, ids=5, images=1, workers=1, on_progress=lambda *now: told.append(now))
    assert told == [(done, 5) for done in range(6)]
    assert not summary.reused
    stamp = json.loads((tmp_path / 'synth.json').read_text())
    assert (stamp['layout'], stamp['ids'], stamp['seed'], stamp['images']) == ('sysu', 5, 0, 1)


@pytest.mark.parametrize(
    ('arguments', 'kind', 'fact'),
    [
        ({'layout': 'sysy'}, UnknownName, r"'sysy'.*'sysu'"),
        ({'ids': 4}, WrongValue, r'(?s)\b4\b.*\b5 to 9999'),
        ({'ids': 3, 'layout': 'regdb'}, WrongValue, r'(?s)\b3\b.*\b4 to 9999'),
        ({'seed': -1}, WrongValue, 'seed -1'),
        ({'images': 0}, WrongValue, r'(?s)\b0\b.*\b1 to 9999'),
        ({'workers': 0}, WrongValue, '0 worker'),
    ],
)
def test_arguments_out_of_range(tmp_path, arguments, kind, fact):
    with pytest.raises(kind, match=fact):
        synthesize(tmp_path / 'set', **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('workers', [1, 2])
def test_an_interrupted_call_leaves_nothing(tmp_path, workers):
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / 'set', ids=5, images=1, workers=workers, on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_nothing_left(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(generate, 'draw_all', full)
    with pytest.raises(WriteFailed, match=r'(?s)/set\b.*--ids.*--images'):
        synthesize(tmp_path / 'set', ids=5, images=1)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_cannot_write_says_why(tmp_path, monkeypatch):
    real = generate.draw_all

    def into_a_file(folder: Path, *rest: object):
        (folder / 'cam1').write_text('in the way')
        return real(folder, *rest)

    monkeypatch.setattr(generate, 'draw_all', into_a_file)
    with pytest.raises(WriteFailed, match=r'/set\b'):
        synthesize(tmp_path / 'set', ids=8, images=1, workers=2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    for out, kind in ((tmp_path / 'file', AlreadyExists), (tmp_path / 'file' / 'set', WriteFailed)):
        with pytest.raises(kind, match=re.escape(f'{out} ')):
            synthesize(out, ids=5, images=1, workers=1)


def test_draw_refuses_unknown_sensors_and_cameras():
    look = person(0, 0)
    with pytest.raises(UnknownName, match=r"'infrred'.*'infrared'"):
        draw(look, modality='infrred', camera=1, shot=0, seed=0)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match='camera 9'):
        draw(look, modality='visible', camera=9, shot=0, seed=0)
