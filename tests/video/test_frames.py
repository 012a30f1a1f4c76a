"""Frames and their times, in sound and in damaged videos."""

from __future__ import annotations

import os
from datetime import datetime

import av
import numpy as np
import pytest

from vireid.errors import DamagedFile
from vireid.video.frames import Frame, Video, first_frame


def times(path):
    with Video(path) as video:
        return [round(frame.seconds * 25, 3) for frame in video.frames()], video


def test_frames_come_in_order_with_their_times(write):
    path = write('a.mp4', range(10))
    with Video(path) as video:
        found = [(frame.number, frame.seconds, frame.pixels().shape) for frame in video.frames()]
    assert [number for number, _, _ in found] == list(range(10))
    assert [seconds for _, seconds, _ in found] == pytest.approx([n / 25 for n in range(10)])
    assert {shape for _, _, shape in found} == {(64, 96, 3)}
    assert (video.rate, video.damaged, video.odd_times, video.ended_early) == (25, 0, 0, False)


def test_time_starts_with_the_first_frame(write):
    assert times(write(times=[50, 51, 53]))[0] == [0, 1, 3]


class Decoded:
    """A decoded frame with any time stamp."""

    is_corrupt, time_base = False, 1 / 25

    def __init__(self, pts):
        self.pts = pts


@pytest.mark.parametrize(
    ('stamps', 'expected', 'odd'),
    [
        ([0, 1, 3, 2, 4], [0, 1, 3, 3, 4], 1),  # swapped
        ([0, 1, 1, 2], [0, 1, 1, 2], 1),  # one time twice
        ([0, 1, None, 3], [0, 1, 2, 3], 1),  # missing
        ([None, None, 90, 91], [0, 1, 2, 3], 2),
        ([None, None, None], [0, 1, 2], 3),
        ([100, 101, 0, 1, 2], [0, 1, 2, 3, 4], 1),  # the clock was set back
        ([0, 1, 10**9, 10**9 + 1], [0, 1, 2, 3], 1),  # and forward
        ([0, 250, 251], [0, 250, 251], 0),  # a pause is none
        ([-5, -4, -3], [0, 1, 2], 0),
    ],
)
def test_odd_time_stamps_are_replaced_and_counted(write, monkeypatch, stamps, expected, odd):
    path = write()
    monkeypatch.setattr(Video, '_decoded', lambda self: map(Decoded, stamps))
    found, video = times(path)
    assert found == expected
    assert video.odd_times == odd


def test_damaged_packets_are_counted_and_the_others_read(write):
    path = write(times=range(50))
    content = bytearray(path.read_bytes())
    middle = content.find(b'\xff\xd8', len(content) // 2) + 100  # in the header of a JPEG
    end = content.find(b'\xff\xd9', middle)  # of that JPEG: the next bytes are the container's
    content[middle:end] = bytes(end - middle)
    path.write_bytes(content)
    found, video = times(path)
    assert (len(found), video.damaged) == (49, 1)
    assert not video.ended_early


def test_a_video_that_ends_early_is_read_to_there(write):
    path = write('a.avi', range(100))
    os.truncate(path, path.stat().st_size // 2)
    found, video = times(path)
    assert 30 < len(found) < 60
    assert video.ended_early


def test_half_an_mp4_has_no_frames(write):
    path = write('a.mp4', range(100))
    os.truncate(path, path.stat().st_size // 2)  # its table of contents is at the end
    with pytest.raises(DamagedFile, match=r'a\.mp4'):
        Video(path)


@pytest.mark.parametrize('content', [b'', b'hello', b'#EXTM3U\n#EXTINF:9,\nother.ts\n#EXT-X-ENDLIST'])
def test_what_is_no_video_is_refused(tmp_path, content):
    """A playlist names other files, and servers."""
    path = tmp_path / 'a.mp4'
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r'a\.mp4'):
        Video(path)


def test_sound_alone_is_refused(tmp_path):
    path = tmp_path / 'a.mkv'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), layout='mono')
        sound.rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(DamagedFile, match=r'a\.mkv'):
        Video(path)


def test_the_first_frame_is_that_of_the_video(write):
    assert first_frame(write('a.mp4', color=(250, 0, 0)))[30, 8, 0] > 200


def start(path):
    with Video(path) as video:
        return video.start()


def test_the_video_says_when_it_starts(write):
    path = write('2025-01-02_030405.mp4', created='2026-11-29T22:41:05')
    assert start(path) == (datetime(2026, 11, 29, 22, 41, 5), 'container')


@pytest.mark.parametrize('created', [None, '1970-01-01T00:00:00', 'yesterday'])
def test_or_its_name(write, created):
    assert start(write('lobby_2025-01-02_030405.mp4', created=created)) == (datetime(2025, 1, 2, 3, 4, 5), 'name')


def test_or_its_file_which_was_written_when_it_ended(write):
    path = write('lobby.mp4', range(50))
    os.utime(path, (1.8e9, 1.8e9))
    time, source = start(path)
    assert (datetime.fromtimestamp(1.8e9) - time).total_seconds() == pytest.approx(2.0, abs=0.1)
    assert source == 'file time'


class Sideways:
    """A decoded frame of a camera that was held sideways: red at the left, to be turned by 90 degrees."""

    rotation = 90  # counterclockwise

    def to_ndarray(self, format):
        pixels = np.zeros((2, 3, 3), dtype=np.uint8)
        pixels[:, 0, 0] = 255
        return pixels


def test_a_video_held_sideways_is_turned_upright():
    pixels = Frame(0, 0.0, False, Sideways()).pixels()
    assert pixels.shape == (3, 2, 3)
    assert pixels[..., 0].tolist() == [[0, 0], [0, 0], [255, 255]]  # left has become below


def test_decoders_have_no_log_callback(write):
    """A decoder thread that logs waits for the interpreter, which waits for that thread when it closes the decoder."""
    av.logging.set_level(av.logging.ERROR)
    with Video(write()) as video:
        list(video.frames())
        assert av.logging.get_level() is None
