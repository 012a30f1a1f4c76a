"""Videos become a folder of crops: who is in it, what is dropped, and what a kill leaves."""

from __future__ import annotations

import csv
import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import crops as benchmark
import numpy as np
import pytest
import torch
import walking
from PIL import Image

from vireid.cli import main
from vireid.errors import AlreadyExists, Changed, InUse, Mismatch, UnsafeFile
from vireid.video import cropping, folder
from vireid.video.cropping import Settings, crop_video
from vireid.video.folder import open_folder

SETTINGS = Settings('visible', 3, 1, False, 20, {'type': 'Stub'})
START = datetime(2026, 11, 29, 22, 41, 5)
PLUGIN = Path(walking.__file__)


def detect(images, box=(4, 4, 30, 60)):
    """One box in each frame."""
    return [(torch.tensor([box], dtype=torch.float32), torch.ones(1)) for _ in images]


def follow(images):
    """The bright block of the small videos."""
    found = []
    for image in images:
        ys, xs = torch.nonzero(image[0] > 180, as_tuple=True)
        box = torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).float()
        found.append((box[None], torch.ones(1)))
    return found


def nobody(images):
    return [(torch.zeros(0, 4), torch.zeros(0)) for _ in images]


def crop(path: Path, out: Path, detector: Any = detect, settings: Settings = SETTINGS, start: datetime | None = START):
    with open_folder(out) as opened:
        return crop_video(path, opened, detector, settings, start)


def table(out: Path) -> list[dict[str, str]]:
    with (out / 'crops.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob('*.jpg'))}


@pytest.fixture(scope='module')
def whole(walks, tmp_path_factory):
    """The crops of the walks, by the command."""
    out = tmp_path_factory.mktemp('whole') / 'crops'
    assert main(command(walks, out)) == 0
    return out


def command(video: Path, out: Path) -> list[str]:
    arguments = ['crops', str(video), '-o', str(out), '--camera', '3', '--modality', 'visible', '--start', str(START)]
    detector = ['--detector', 'Truth', '--plugin', str(PLUGIN), '--cfg-options', f'detector.truth={video}.json']
    return [*arguments, *detector, '--min-height', '40']


def test_people_are_found_and_a_track_is_one_person(walks, whole):
    score = benchmark.score(walks, whole, min_height=40)
    assert score['recall'] >= 0.9
    assert score['purity'] >= 0.95
    assert score['crops'] >= 2 * score['walks']


def test_every_crop_is_in_the_table_with_what_is_known(whole):
    rows = table(whole)
    assert {row['path'] for row in rows} == set(files(whole))
    for row in rows:
        assert re.fullmatch(r'visible/cam3/walks/\d{6}/20261129-2241\d\d_f\d{7}\.jpg', row['path'])
        folder, name = Path(row['path']).parts[-2:]
        assert row['track'] == f'cam3/walks/{folder}'
        assert (row['modality'], row['camera'], row['video']) == ('visible', '3', 'walks.mp4')
        passed = datetime.fromisoformat(row['time']) - START
        assert passed.total_seconds() == pytest.approx(int(row['frame']) / 25, abs=0.001)
        assert name.endswith(f'_f{int(row["frame"]):07}.jpg')


def test_a_crop_is_the_box(write, tmp_path):
    crop(write('a.mp4'), tmp_path / 'out', follow)
    name = next(iter(files(tmp_path / 'out')))
    with Image.open(tmp_path / 'out' / name) as image:
        assert image.size == (16, 32)
        assert np.asarray(image).mean() > 200


@pytest.mark.parametrize(
    ('box', 'counted'),
    [((4, 4, 30, 23), 'tiny'), ((0, 4, 30, 60), 'cut_off'), ((40, 4, 96, 60), 'cut_off'), ((4, 4, 30, 64), 'cut_off')],
)
def test_tiny_and_cut_off_boxes_are_dropped_and_counted(write, tmp_path, box, counted):
    report = crop(write(), tmp_path / 'out', lambda images: detect(images, box))
    assert getattr(report.counts, counted) == report.counts.people == 25
    assert 'no crop was kept' in report.text()
    assert table(tmp_path / 'out') == []


def test_near_copies_are_dropped(write, tmp_path):
    """The block passes through the box in the first 30 pixels only."""
    report = crop(write(times=range(20)), tmp_path / 'out')
    assert report.counts.crops + report.counts.near_copies == report.counts.people == 20
    assert 1 <= report.counts.crops <= 2


def test_frames_without_motion_are_not_examined(write, tmp_path):
    moving = crop(write(), tmp_path / 'moving', settings=Settings('visible', 3, 1, True, 20, {'type': 'Stub'}))
    assert (moving.counts.examined, moving.counts.still) == (25, 0)
    path = tmp_path / 'still.mkv'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mjpeg', rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, 'yuvj420p'
        for _ in range(75):
            gray = np.full((64, 96, 3), 100, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format='rgb24')))
    still = crop(path, tmp_path / 'still', settings=Settings('visible', 3, 1, True, 20, {'type': 'Stub'}))
    assert (still.counts.examined, still.counts.still, still.counts.tracks) == (1, 74, 1)


def test_a_video_without_people(write, tmp_path):
    report = crop(write(), tmp_path / 'out', nobody)
    assert 'no people found' in report.text()
    assert table(tmp_path / 'out') == []


def test_a_video_that_ends_early_keeps_its_crops_and_says_so(write, tmp_path):
    path = write('a.avi', range(100))
    os.truncate(path, path.stat().st_size // 2)
    report = crop(path, tmp_path / 'out', follow)
    assert re.search(r'warning: the video ends early, after [12]\.\d s of 4\.0 s', report.text())
    assert report.counts.crops > 0


def test_a_change_of_the_frame_size_ends_all_tracks(write, tmp_path, monkeypatch):
    parts = [write('a.ts', size=(96, 64)), write('b.ts', size=(128, 96))]
    joined = tmp_path / 'joined.ts'
    joined.write_bytes(b''.join(part.read_bytes() for part in parts))
    report = crop(joined, tmp_path / 'out')
    assert report.counts.sizes == 1
    assert len({row['track'] for row in table(tmp_path / 'out')}) == 2
    assert 'the frame size changes 1 time; all tracks end there' in report.text()
    assert 'time stamp' in report.text()  # the second part begins at 0 again


def test_a_video_is_cropped_once(write, tmp_path):
    path, out = write(), tmp_path / 'out'
    crop(path, out)
    before = files(out), table(out)
    copy = path.with_name('renamed.mkv')
    path.rename(copy)
    assert crop(copy, out).done_before
    assert (files(out), table(out)) == before


def test_videos_of_one_name_have_folders_and_tracks_of_their_own(write, tmp_path):
    out = tmp_path / 'out'
    crop(write('lobby.mkv', range(20)), out)
    crop(write('lobby.avi', range(30)), out, settings=Settings('infrared', 3, 1, False, 20, {'type': 'Stub'}))
    assert {row['track'] for row in table(out)} == {'cam3/lobby/000001', 'cam3/lobby-2/000001'}


@pytest.mark.parametrize('name', ['=1+1.mkv', 'ä ö.mkv', 'con.mkv', '-.mkv', f'{"x" * 200}.mkv', 'a;b|c.mkv'])
def test_any_file_name(write, tmp_path, name):
    crop(write(name), tmp_path / 'out')
    rows = table(tmp_path / 'out')
    assert rows
    assert {row['path'] for row in rows} == set(files(tmp_path / 'out'))
    assert not any(row['video'].startswith('=') for row in rows)


def test_other_settings_for_one_video_are_refused(write, tmp_path):
    path, out = write(), tmp_path / 'out'
    crop(path, out)
    with pytest.raises(Changed, match=r'camera 3, .*4'):
        crop(path, out, settings=Settings('visible', 4, 1, False, 20, {'type': 'Stub'}))
    with pytest.raises(Changed, match=r'start 2026-11-29T22:41:05, .*2027'):
        crop(path, out, start=START.replace(year=2027))
    write(times=range(30))
    with pytest.raises(Changed, match=re.escape(str(path))):
        crop(path, out)


def test_a_table_that_was_changed_is_refused(write, tmp_path):
    path, out = write(), tmp_path / 'out'
    crop(path, out)
    (out / 'crops.csv').write_text((out / 'crops.csv').read_text().replace('visible', 'infrared'))
    with pytest.raises(Changed, match=r'crops\.csv'):
        crop(path, out)


def test_a_folder_with_another_table_is_refused(write, tmp_path):
    (tmp_path / 'crops.csv').write_text('path,name\n')
    with pytest.raises(AlreadyExists, match=r'crops\.csv'):
        crop(write(), tmp_path)


@pytest.mark.parametrize(
    ('bad', 'fact'),
    [
        (lambda images: [], r'\b0 results'),
        (lambda images: detect(images, (4, 4, float('nan'), 60)), r'\(1, 4\)'),
        (lambda images: [(torch.ones(1, 5), torch.ones(1)) for _ in images], r'\(1, 5\)'),
    ],
)
def test_a_detector_that_returns_something_else(write, tmp_path, bad, fact):
    with pytest.raises(Mismatch, match=fact):
        crop(write(), tmp_path / 'out', bad)


def crop_and_die(path: Path, out: Path, write_number: int, after: bool) -> None:
    """Kills this process before, or after, a write of a crop, the table or the state."""
    writes = itertools.count(1)

    def dying(write):
        def call(*args, **more):
            number = next(writes)
            if number == write_number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            done = write(*args, **more)
            if number == write_number:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return call

    cropping.open_whole = dying(cropping.open_whole)
    folder.open_to_append, folder.write_whole = dying(folder.open_to_append), dying(folder.write_whole)
    crop(path, out, follow)


@pytest.fixture
def uninterrupted(write, tmp_path, monkeypatch):
    """A video of a hundred frames, committed often, and its crops."""
    for name, value in {'COMMIT': 16, 'SOON': 0.0, 'ALIKE': 0.0}.items():
        monkeypatch.setattr(cropping, name, value)
    path = write('walk.mp4', range(60))
    report = crop(path, tmp_path / 'whole', follow)
    assert report.counts.crops == 57
    return path, tmp_path / 'whole', report


@pytest.mark.long
def test_a_killed_call_continues_with_nothing_lost_and_nothing_twice(uninterrupted, tmp_path):
    path, whole, report = uninterrupted
    moments = [(number, after) for number in (1, 2, 3, 4, 20, 21, 40) for after in (False, True)]
    resumed = []
    for number, after in moments:
        out = tmp_path / f'{number}{after}'
        child = multiprocessing.get_context('fork').Process(target=crop_and_die, args=(path, out, number, after))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        again = crop(path, out, follow)
        resumed.append(again.resumed)
        assert again.counts == report.counts
        assert files(out) == files(whole)
        assert (out / 'crops.csv').read_text() == (whole / 'crops.csv').read_text()
        assert {path.name for path in out.iterdir()} == {'visible', 'crops.csv', '.crops.json'}
        assert crop(path, out, follow).done_before
    assert resumed[0] == 0
    assert resumed[-1] == 32


def test_a_table_cut_in_a_row_is_restored(uninterrupted, tmp_path):
    path, whole, _ = uninterrupted
    with (whole / 'crops.csv').open('a') as file:
        file.write('visible/cam3/wa')
    before = (whole / 'crops.csv').read_text()
    crop(path, whole, follow)
    assert (whole / 'crops.csv').read_text() == before.removesuffix('visible/cam3/wa')


def test_other_files_and_links_in_the_folder_stay(write, tmp_path):
    """Only crops without a row are removed, and nothing outside."""
    path, out, away = write('walk.mp4', range(100)), tmp_path / 'out', tmp_path / 'away'
    child = multiprocessing.get_context('fork').Process(target=crop_and_die, args=(path, out, 6, True))
    child.start()
    child.join()
    away.mkdir()
    (away / '20261129-224105_f0000099.jpg').write_bytes(b'x')
    place = out / 'visible/cam3/walk'
    (place / 'link').symlink_to(away)
    (place / 'notes.txt').write_text('x')
    crop(path, out, follow)
    assert (place / 'notes.txt').exists()
    assert (away / '20261129-224105_f0000099.jpg').exists()


def test_one_process_writes_to_a_folder(tmp_path):
    with open_folder(tmp_path), pytest.raises(InUse, match=re.escape(str(tmp_path))), open_folder(tmp_path):
        pass


def test_the_command_says_what_it_did(walks, whole, capsys):
    assert main(command(walks, whole)) == 0
    said = capsys.readouterr().out
    counts = json.loads((whole / '.crops.json').read_text())['videos'][0]['counts']
    assert f'crops     {counts["crops"]} kept; dropped: {counts["tiny"]} too small' in said
    assert 'cropped by an earlier call; nothing was done' in said
    assert 'start     2026-11-29T22:41:05 (from --start)' in said
    assert f'{counts["crops"]} crops in {counts["tracks"]} tracks' in said


def test_the_last_line_counts_the_crops_of_all_calls(whole, write, tmp_path, capsys):
    out = Path(shutil.copytree(whole, tmp_path / 'out'))
    counts = json.loads((out / '.crops.json').read_text())['videos'][0]['counts']
    path = write('gray.mp4')
    (tmp_path / 'gray.mp4.json').write_text(json.dumps([[]] * 2**5))
    assert main(command(path, out)) == 0
    assert f'{out}: {counts["crops"]} crops in {counts["tracks"]} tracks' in capsys.readouterr().out


def test_the_modality_is_guessed_and_said(write, tmp_path, capsys):
    path = write('gray.mp4')
    (tmp_path / 'gray.mp4.json').write_text(json.dumps([[]] * 2**5))
    arguments = command(path, tmp_path / 'out')
    del arguments[arguments.index('--modality') : arguments.index('--modality') + 2]
    assert main(arguments) == 0
    assert 'modality  infrared (guessed from the first frame)' in capsys.readouterr().out


def test_one_bad_video_does_not_stop_the_others(write, tmp_path, capsys):
    good, bad = write('good.mp4'), tmp_path / 'bad.mp4'
    bad.write_bytes(b'no video')
    (tmp_path / 'good.mp4.json').write_text(json.dumps([[]] * 2**5))
    arguments = command(good, tmp_path / 'out')
    del arguments[arguments.index('--start') : arguments.index('--start') + 2]
    arguments.insert(1, str(bad))
    assert main(arguments) == 1
    said = capsys.readouterr().out
    assert 'bad.mp4 is damaged or is not a video' in said
    assert 'frames    25 read' in said
    assert '1 of 2 videos could not be cropped' in said


@pytest.mark.parametrize(
    ('flags', 'said'),
    [
        (['--camera', 'x'], "--camera is 'x'"),
        (['--every', '0'], '--every is 0'),
        (['--min-height', '-1'], '--min-height is -1'),
        (['--start', 'noon'], "--start is 'noon'"),
        (['--detector', 'Truht'], "did you mean 'Truth'"),
        (['--cfg-options', 'model.x=1'], '--cfg-options model.x=1'),
    ],
)
def test_wrong_flags(write, tmp_path, capsys, flags, said):
    path = write('a.mp4')
    (tmp_path / 'a.mp4.json').write_text('[]')
    assert main([*command(path, tmp_path / 'out'), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_nothing_is_written_through_a_link_in_a_received_folder(write, tmp_path):
    out, elsewhere = tmp_path / 'out', tmp_path / 'elsewhere'
    out.mkdir()
    elsewhere.mkdir()
    (out / 'visible').symlink_to(elsewhere)
    with pytest.raises(UnsafeFile, match='visible'):
        crop(write('a.mp4'), out, follow)
    assert not list(elsewhere.rglob('*.jpg'))
