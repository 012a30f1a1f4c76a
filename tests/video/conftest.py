"""A video of synthetic people who walk past, a detector that knows the truth, and small videos of anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from walking import frames, random_walks, write_video

SIZE, SECONDS, PEOPLE = (480, 270), 7, 4


@pytest.fixture(scope='session')
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven seconds of four people, with `walks.mp4.json`, the truth."""
    path = tmp_path_factory.mktemp('walks') / 'walks.mp4'
    write_video(path, frames(random_walks(PEOPLE, SECONDS, SIZE), SECONDS, SIZE))
    return path


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a video of gray frames with a bright block that moves to the right by four pixels per frame."""

    def write(
        name: str = 'video.mkv',
        times: Iterable[int | None] = range(25),
        size: tuple[int, int] = (96, 64),
        created: str | None = None,
        color: tuple[int, int, int] = (250, 250, 250),
    ) -> Path:
        path = tmp_path / name
        codec = 'mjpeg' if name.endswith(('.mkv', '.avi')) else 'libx264'  # the times of B-frames cannot be odd
        with av.open(str(path), 'w') as container:
            if created:
                container.metadata['creation_time'] = created
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height = size
            stream.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
            stream.time_base = Fraction(1, 25)
            for number, time in enumerate(times):
                pixels = np.full((size[1], size[0], 3), 100, dtype=np.uint8)
                pixels[20:52, 4 * number % 80 : 4 * number % 80 + 16] = color
                frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
                frame.pts, frame.time_base = (number if codec != 'mjpeg' else time), Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write
