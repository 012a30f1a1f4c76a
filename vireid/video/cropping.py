"""Cuts people out of videos into a folder of crops; after an interruption, it continues where it stopped."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vireid.boundary.paths import inside
from vireid.boundary.writing import open_whole
from vireid.console.wording import counted
from vireid.errors import DamagedFile, Mismatch, WrongValue
from vireid.video.folder import CropRow, Folder, Record
from vireid.video.frames import Frame, Video
from vireid.video.tracks import MAX_GAP, Track, Tracker, has_moved

PER_SECOND = 5  # frames that are examined by default; someone who walks past still overlaps with their last box
AT_ONCE = 8  # frames given to the detector together
COMMIT = 64  # sampled frames between two commits: at most this work is lost if the process is killed
EDGE = 2  # pixels; a box this close to the border is cut off
SOON = 0.39  # seconds: a crop sooner after the last one of its track is a near copy
ALIKE = 6.0  # mean difference in gray levels of two near copies
THUMBNAIL = (16, 32)  # width and height of the crops that are compared
QUALITY = 92  # of the JPEG files


@dataclass
class Counts:
    """Counts of what was detected in a video, and of what was kept.

    Attributes:
        frames: number of frames that were decoded.
        examined: number of frames given to the detector.
        still: number of frames that were skipped since nothing had moved.
        people: number of boxes of people.
        tracks: number of tracks with at least one crop.
        crops: number of crops that were kept.
        tiny: number of boxes below the least height.
        cut_off: number of boxes at the border of the frame.
        near_copies: number of crops that were nearly the same as the last one of their track.
        damaged: number of packets and frames that could not be decoded completely.
        odd_times: number of frames without a usable time stamp.
        sizes: number of changes of the frame size.
    """

    frames: int = 0
    examined: int = 0
    still: int = 0
    people: int = 0
    tracks: int = 0
    crops: int = 0
    tiny: int = 0
    cut_off: int = 0
    near_copies: int = 0
    damaged: int = 0
    odd_times: int = 0
    sizes: int = 0


@dataclass
class Report:
    """What `crop_video` did.

    Attributes:
        record: the record of the video in the folder.
        counts: numbers of frames, boxes and crops, those of interrupted calls included.
        declared: seconds that the video declares; None if it does not.
        done_before: whether an earlier call had finished it.
        resumed: the frame at which the call continued; 0 if it began.
    """

    record: Record
    counts: Counts
    declared: float | None
    done_before: bool
    resumed: int

    def text(self) -> str:
        """Returns a summary, one line per fact."""
        c, record = self.counts, self.record
        dropped = [(c.tiny, 'too small'), (c.cut_off, 'cut off at the border'), (c.near_copies, 'near copies')]
        lines = [
            f'start     {record.start} (from {SOURCES[record.start_source]})',
            f'frames    {c.frames:,} read, {c.examined:,} examined'
            + (f', {c.still:,} skipped because nothing had moved' if c.still else ''),
            f'people    {c.people:,} found in {counted(c.tracks, "track")} with crops',
            f'crops     {c.crops:,} kept; dropped: {", ".join(f"{number:,} {why}" for number, why in dropped)}',
        ]
        if self.done_before:
            lines.append('note: cropped by an earlier call; nothing was done')
        elif self.resumed:
            lines.append(f'note: continued at frame {self.resumed:,}, where an earlier call had stopped')
        if record.ended_early:
            of = f' of {self.declared:.1f} s' if self.declared else ''
            lines.append(f'warning: the video ends early, after {record.seconds:.1f} s{of}')
        if c.damaged:
            lines.append(f'warning: {counted(c.damaged, "damaged frame")} not used')
        if c.odd_times:
            lines.append(f'warning: {counted(c.odd_times, "frame")} without a usable time stamp; times are estimated')
        if c.sizes:
            lines.append(f'warning: the frame size changes {counted(c.sizes, "time")}; all tracks end there')
        if not c.people:
            lines.append('warning: no people found')
        elif not c.crops:
            lines.append('warning: no crop was kept; --min-height sets the least height of a person')
        return '\n'.join(lines)


SOURCES = {
    'container': 'the creation time that the file contains',
    'name': 'the file name',
    'file time': 'the modification time of the file; --start sets it',
    '--start': '--start',
}


@dataclass(frozen=True)
class Settings:
    """What determines the crops of a video.

    Attributes:
        modality: its modality.
        camera: number of its camera.
        every: number of frames of which one is examined; None means about five per second.
        motion: examine only frames in which something has moved.
        min_height: least height of a person in pixels.
        detector: config of the detector.

    Raises:
        WrongValue: for a number below 1.
    """

    modality: str
    camera: int
    every: int | None
    motion: bool
    min_height: int
    detector: dict[str, Any]

    def __post_init__(self) -> None:
        for flag, value in (('--every', self.every), ('--min-height', self.min_height)):
            if value is not None and value < 1:
                raise WrongValue(f'{flag} is {value}', allowed='1 or more')


Detect = Callable[[Sequence[torch.Tensor]], Sequence[tuple[torch.Tensor, torch.Tensor]]]


def crop_video(
    path: Path,
    folder: Folder,
    detect: Detect,
    settings: Settings,
    start: datetime | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Cuts the people out of a video.

    After every 64 sampled frames, it commits its crops and its position; after a kill, the same call continues there.

    Args:
        path: the video.
        folder: the folder of crops, opened.
        detect: the detector.
        settings: what determines the crops.
        start: time of the first frame; None takes it from the file.
        on_progress: called with the number of frames decoded and of all frames as declared, 0 if unknown.

    Raises:
        VireidError: if it is not a video, was cropped with other settings, or the detector returns something else.
    """
    record = folder.find(path, asdict(settings), start)
    with Video(path) as video:
        if record is None:
            time, source = (start, '--start') if start else video.start()
            record = folder.begin(path, asdict(settings), time, source)
        report = Report(record, Counts(**record.counts), video.duration, record.done, record.position)
        if not record.done:
            _Cropping(video, folder, detect, settings, report).run(on_progress)
    return report


class _Cropping:
    """The work on one video: examines its frames, follows people, and keeps crops."""

    def __init__(self, video: Video, folder: Folder, detect: Detect, settings: Settings, report: Report) -> None:
        self.video, self.folder, self.detect, self.settings = video, folder, detect, settings
        self.record, self.counts = report.record, report.counts
        self.every = settings.every or max(1, round(video.rate / PER_SECOND))
        self.tracker = Tracker(max(MAX_GAP, 2.5 * self.every / video.rate))
        self.tracker.restore(copy.deepcopy(self.record.tracks), self.record.count)
        self.seen = self.record.seen  # thumbnail of the last sampled frame, to see motion
        self.size, self.seconds = self.record.size, self.record.seconds
        self.rows: list[CropRow] = []

    def run(self, on_progress: Callable[[int, int], None]) -> None:
        """Goes through the frames, from the position of the record to the end."""
        frames, sampled = self._sampled(on_progress), 0
        while batch := list(islice(frames, AT_ONCE)):
            self._examine(batch)
            sampled += len(batch)
            if sampled % COMMIT == 0:
                self._commit()
        if not self.counts.frames:
            raise DamagedFile(f'{self.video.path}: no frame can be decoded', todo='record or copy it again')
        self.record.ended_early, self.record.done = self.video.ended_early, True
        self.tracker.end_all()
        self.seen = None
        self._commit()

    def _sampled(self, on_progress: Callable[[int, int], None]) -> Iterator[Frame]:
        """Yields every n-th frame; skips those before the position."""
        total = round(self.video.duration * self.video.rate) if self.video.duration else 0
        for frame in self.video.frames():
            on_progress(frame.number + 1, max(total, frame.number + 1))
            if frame.number < self.record.position:
                continue
            self.counts.frames, self.seconds = frame.number + 1, frame.seconds
            if frame.number % self.every == 0 and not frame.damaged:
                yield frame

    def _commit(self) -> None:
        # after resuming, the frames before the position are decoded again, and their damage is counted again
        self.counts.damaged, self.counts.odd_times = self.video.damaged, self.video.odd_times
        record = self.record
        record.position, record.counts = self.counts.frames, asdict(self.counts)
        # a copy: after an error in this video, the record is committed again with the next one
        record.tracks, record.count = copy.deepcopy(self.tracker.active), self.tracker.count
        record.seen, record.size, record.seconds = self.seen, self.size, self.seconds
        self.folder.commit(record, self.rows)
        self.rows = []

    def _examine(self, batch: list[Frame]) -> None:
        moved = [self._has_moved(frame) for frame in batch]
        images = [frame.pixels() for frame, use in zip(batch, moved, strict=True) if use]
        people = iter(self._people(images))
        pixels = iter(images)
        for frame, use in zip(batch, moved, strict=True):
            if use:
                self._follow(frame, next(pixels), next(people))
            else:
                self.counts.still += 1
                self.tracker.still(frame.seconds)

    def _has_moved(self, frame: Frame) -> bool:
        if not self.settings.motion:
            return True
        before, self.seen = self.seen, frame.thumbnail()
        return before is None or has_moved(before, self.seen)

    def _people(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the (N, 4) float boxes of the people in each image, inside the image."""
        if not images:
            return []
        detections = self.detect([torch.from_numpy(image).permute(2, 0, 1) for image in images])
        name = self.settings.detector['type']
        if len(detections) != len(images):
            raise Mismatch(f'the detector {name} returned {len(detections)} results for {len(images)} frames')
        people = []
        for image, (boxes, _) in zip(images, detections, strict=True):
            array = np.asarray(boxes, dtype=np.float64)
            if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
                raise Mismatch(
                    f'the detector {name} returned boxes of shape {array.shape}, or not finite',
                    allowed='for each frame (N, 4) boxes (left, top, right, bottom) and (N,) scores',
                )
            height, width = image.shape[:2]
            array = np.clip(array, 0, (width, height, width, height))
            people.append(array[(array[:, 2:] - array[:, :2] >= 1).all(axis=1)])
        return people

    def _follow(self, frame: Frame, pixels: np.ndarray, boxes: np.ndarray) -> None:
        """Assigns the boxes of a frame to tracks, and keeps their crops or counts why not."""
        counts, size = self.counts, (pixels.shape[1], pixels.shape[0])
        if self.size not in (None, size):
            counts.sizes += 1
            self.tracker.end_all()
        self.size = size
        counts.examined += 1
        counts.people += len(boxes)
        for box, track in zip(boxes, self.tracker.update(boxes, frame.seconds), strict=True):
            left, top, right, bottom = box
            if bottom - top < self.settings.min_height:
                counts.tiny += 1
            elif left < EDGE or top < EDGE or right > size[0] - EDGE or bottom > size[1] - EDGE:
                counts.cut_off += 1
            else:
                crop = Image.fromarray(pixels[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))])
                self._keep(crop, track, frame)

    def _keep(self, crop: Image.Image, track: Track, frame: Frame) -> None:
        small = np.asarray(crop.convert('L').resize(THUMBNAIL, Image.Resampling.BOX))
        if track.kept is not None:
            time, last = track.kept
            if frame.seconds - time < SOON or np.abs(small.astype(np.int16) - last).mean() < ALIKE:
                self.counts.near_copies += 1
                return
        else:
            self.counts.tracks += 1
        track.kept = frame.seconds, small
        self.counts.crops += 1
        time_taken = datetime.fromisoformat(self.record.start) + timedelta(seconds=frame.seconds)
        path = f'{self.record.place}/{track.number:06}/{time_taken:%Y%m%d-%H%M%S}_f{frame.number:07}.jpg'
        with open_whole(inside(self.folder.root, path)) as file:
            crop.save(file, 'JPEG', quality=QUALITY)
        name = f'cam{self.settings.camera}/{self.record.name}/{track.number:06}'
        self.rows.append(
            CropRow(
                path,
                self.settings.modality,
                self.settings.camera,
                time_taken.isoformat(timespec='milliseconds'),
                name,
                self.video.path.name,
                frame.number,
            )
        )
