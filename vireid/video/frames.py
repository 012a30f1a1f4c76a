"""Decodes the frames of a video with their times, past damaged packets and odd time stamps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.reading import open_regular, reads
from vireid.errors import DamagedFile, MissingPackage, VireidError
from vireid.search.times import find_time, parse_time

ALLOWED = 'a video file such as MP4, MKV, AVI, MOV or MPEG-TS'
NAMES = ('*.mp4', '*.mkv', '*.avi', '*.mov', '*.ts')
# Containers that contain their frames. Playlists (HLS, DASH, concat) name other files and servers.
CONTAINERS = 'mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,mjpeg,flv,asf,ogg,mxf,dv'
MAX_PIXELS = 8192 * 8192  # of a frame; a header of a few bytes may declare any size
BUFFER = 2**20  # bytes read at once
RATE = 25.0  # frames per second if the video does not say
BACK = 1.0  # seconds; the clock of a camera that jumps back further was reset
FORWARD = 3600.0  # seconds without a frame; a larger jump is a wrong time stamp
YEARS = range(2000, 2200)  # of a creation time; cameras without a clock write 1904 or 1970
SMALL = (64, 36)  # width and height of a thumbnail


@dataclass
class Frame:
    """A decoded frame; its pixels are converted when they are read.

    Attributes:
        number: its index in the video, from 0.
        seconds: its time after the first frame, never less than that of the frame before.
        damaged: whether the decoder had to fill in missing parts.
    """

    number: int
    seconds: float
    damaged: bool
    _decoded: Any = field(repr=False)

    def pixels(self) -> np.ndarray:
        """Returns the image as (H, W, 3) uint8, rotated upright if the video records how the camera was held."""
        pixels = self._decoded.to_ndarray(format='rgb24')
        turns = round(getattr(self._decoded, 'rotation', 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels

    def thumbnail(self) -> np.ndarray:
        """Returns the image in gray as (36, 64) uint8."""
        width, height = SMALL
        return self._decoded.reformat(width, height, 'gray', interpolation='AREA').to_ndarray()


class Video:
    """The frames of a video file, in order. Use it as a context manager.

    Args:
        path: the file.

    Attributes:
        path: the file.
        rate: frames per second, as declared, 25 if it is not.
        duration: seconds, as declared; None if it is not.
        damaged: number of packets and frames that could not be decoded completely, so far.
        odd_times: number of frames without a usable time stamp, so far.
        ended_early: whether the file ended, or became unreadable, before its declared end.

    Raises:
        VireidError: if PyAV is not installed, or the file is not a video.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.damaged, self.odd_times, self.ended_early = path, 0, 0, False
        self._container, self._file = _open(path)
        self._stream = self._container.streams.video[0]
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = float(rate) if rate and 0.01 <= rate <= 1000 else RATE
        self.duration = self._declared()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()
        self._file.close()

    def _declared(self) -> float | None:
        stream, container = self._stream, self._container
        counted = stream.frames / self.rate  # what is left of a truncated AVI still counts all frames
        if stream.duration and stream.time_base:
            return max(float(stream.duration * stream.time_base), counted)
        return max(container.duration / 1e6 if container.duration else 0.0, counted) or None

    def frames(self) -> Iterator[Frame]:
        """Yields every frame that can be decoded.

        The time of a frame without a time stamp, or with a wrong one, follows from the frames around it.
        """
        step = 1 / self.rate
        last: float | None = None
        offset: float | None = None  # is added to time stamps
        for number, decoded in enumerate(self._decoded()):
            stamp = None if decoded.pts is None or not decoded.time_base else float(decoded.pts * decoded.time_base)
            damaged = bool(decoded.is_corrupt)
            if last is None:
                seconds, odd = 0.0, stamp is None
                offset = None if stamp is None else -stamp
            elif stamp is None:
                seconds, odd = last + step, True
            else:
                if offset is None:
                    offset = last + step - stamp
                seconds, odd = stamp + offset, False
                if last - BACK < seconds <= last:  # frames in the wrong order, or two with one time
                    seconds, odd = last, True
                elif not last < seconds <= last + FORWARD:  # another clock from here on
                    offset, seconds, odd = last + step - stamp, last + step, True
            self.damaged += damaged
            self.odd_times += odd
            last = seconds
            yield Frame(number, seconds, damaged, decoded)
        if self.duration and last is not None and last + 2 * step + 1 < self.duration:
            self.ended_early = True

    def _decoded(self) -> Iterator[Any]:
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError, ValueError):  # no packet can be found after this
                self.damaged += 1
                self.ended_early = True
                return
            try:
                yield from packet.decode()
            except (av.error.FFmpegError, ValueError):
                self.damaged += 1

    def start(self) -> tuple[datetime, str]:
        """Returns the time of the first frame, and its source: `container`, `name` or `file time`.

        The file time is that of the end of the recording, from which the declared duration is subtracted.
        """
        written = str(self._container.metadata.get('creation_time', ''))
        try:
            created = parse_time(written, 'creation_time')
            if created.year in YEARS:
                return created, 'container'
        except (VireidError, ValueError, OverflowError, OSError):
            pass
        time, source = find_time(self.path)
        if source != 'name':
            time -= timedelta(seconds=min(self.duration or 0.0, 1e8))
        return time, source


@reads('a video', *NAMES, allowed=ALLOWED)
def _open(path: Path) -> tuple[Any, Any]:
    try:
        import av
    except ImportError as error:
        raise MissingPackage(
            'videos are read by PyAV, which is not installed', todo='pip install "vireid[video]"'
        ) from error
    # damage is counted, not printed; with any other level, a decoder thread that logs something waits for the
    # interpreter, and the interpreter for that thread when the decoder is closed
    av.logging.set_level(None)
    try:
        file = open_regular(path)
    except OSError as error:
        raise DamagedFile(f'{path} cannot be read: {error.strerror}', allowed=ALLOWED) from error
    try:
        if not os.fstat(file.fileno()).st_size:
            raise ValueError('it is empty')
        # as a file object, so that a name such as http:... or concat:... is only a name
        options = {'format_whitelist': CONTAINERS, 'protocol_whitelist': 'none'}
        try:
            container = av.open(file, options=options, buffer_size=BUFFER, metadata_errors='replace')
        except av.error.FFmpegError as error:
            raise ValueError('its format is not supported, or it is incomplete') from error
        if not container.streams.video:
            container.close()
            raise ValueError('it has no video stream')
        stream = container.streams.video[0]
        stream.thread_type = 'AUTO'
        stream.codec_context.options = {'max_pixels': str(MAX_PIXELS)}
    except BaseException:
        file.close()
        raise
    return container, file


@reads('a video', *NAMES, allowed=ALLOWED)
def first_frame(path: Path) -> np.ndarray:
    """Returns the first undamaged frame of a video as (H, W, 3) uint8, or the first if all are damaged.

    Raises:
        VireidError: if no frame can be decoded.
    """
    first = None
    with Video(path) as video:
        for frame in video.frames():
            if first is None or not frame.damaged:
                first = frame
            if not frame.damaged or frame.number >= 100:
                break
        if first is None:
            raise ValueError('no frame can be decoded')
        return first.pixels()
