"""Cuts people out of the videos of one camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from vireid.boundary.names import camera_number
from vireid.console.wording import counted
from vireid.core.config.overrides import override
from vireid.core.types import Modality
from vireid.errors import Conflict, MissingFile, UnknownKey, VireidError, WrongValue
from vireid.search.modality import guess_modality
from vireid.search.times import parse_time
from vireid.video.cropping import Detect, Report, Settings, crop_video
from vireid.video.folder import Folder
from vireid.video.frames import first_frame


def parse_camera(text: str) -> int:
    """Returns the number of a camera, given as `3` or `cam3`.

    Raises:
        WrongValue: if it is not one.
    """
    number = camera_number(text if text.lower().startswith('cam') else f'cam{text}') if text[:1].isalnum() else None
    if number is None:
        raise WrongValue(f'--camera is {text!r}', allowed='the number of a camera, such as 3')
    return number


def parse_start(text: str | None, videos: Sequence[Path]) -> datetime | None:
    """Returns the time of the first frame; None without a text.

    Raises:
        VireidError: if it is not a time, or a video is missing or not the only one.
    """
    if text and len(videos) > 1:
        raise Conflict('--start was given for several videos', todo='call the command once for each of them')
    start = parse_time(text, '--start') if text else None
    if missing := [path for path in videos if not path.is_file()]:
        raise MissingFile(f'{missing[0]} is not a file', allowed='video files')
    return start


def detector_config(kind: str, options: Sequence[str]) -> dict[str, Any]:
    """Returns the config of a detector of this type.

    Raises:
        UnknownKey: for an option that is not `detector.NAME=...`.
    """
    if wrong := [option for option in options if not option.startswith('detector.')]:
        raise UnknownKey(f'--cfg-options {wrong[0]}', allowed='detector.NAME=...')
    config = {'detector': {'type': kind}}
    for option in options:
        override(config, option)
    return config['detector']


@dataclass
class CameraReport:
    """What became of the videos of a camera.

    Attributes:
        reports: what was done, for each video that was cropped.
        failed: the videos that could not be cropped.
    """

    reports: list[Report] = field(default_factory=list)
    failed: list[Path] = field(default_factory=list)

    @property
    def crops(self) -> int:
        """The number of crops."""
        return sum(report.counts.crops for report in self.reports)


def crops_text(folder: Folder) -> str:
    """Returns the numbers of crops and tracks in a folder, from all videos and calls."""
    crops, tracks = (sum(record.counts.get(name, 0) for record in folder.records) for name in ('crops', 'tracks'))
    return f'{counted(crops, "crop")} in {counted(tracks, "track")}'


def crop_videos(
    videos: Sequence[Path],
    folder: Folder,
    detect: Detect,
    settings: Settings,
    start: datetime | None,
    on_progress: Callable[..., None],
    log: Callable[[str], None] = print,
) -> CameraReport:
    """Cuts people out of each video; one that fails does not stop the others, unless it is the only one.

    Args:
        videos: the videos.
        folder: the folder of crops, opened.
        detect: the detector.
        settings: what determines the crops; without a modality, it is guessed from the first frame of each video.
        start: time of the first frame; None takes it from the file.
        on_progress: called with the frames done, all frames, and `what`, the name of the video.
        log: called for each video with what was kept, what was dropped, and why.

    Returns:
        What became of the videos.

    Raises:
        VireidError: if the only video cannot be cropped.
    """
    report = CameraReport()
    for path in dict.fromkeys(videos):
        own, guessed = settings, ''
        try:
            if not own.modality:
                modality: Modality = guess_modality(first_frame(path))
                own, guessed = replace(own, modality=modality), ' (guessed from the first frame)'
            done = crop_video(path, folder, detect, own, start, partial(on_progress, what=path.name))
        except VireidError as error:
            if len(videos) == 1:
                raise
            report.failed.append(path)
            log(f'{path}\nerror: {error}\n')
            continue
        report.reports.append(done)
        log(f'{path}\nmodality  {own.modality}{guessed}\n{done.text()}\n')
    return report
