"""The table of the named people, in the format of the dataset `Manifest`, with times and a split."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vireid.boundary.names import camera_number
from vireid.boundary.writing import open_whole
from vireid.console.wording import counted
from vireid.core.types import MODALITIES
from vireid.errors import WriteFailed
from vireid.labeling.people import People
from vireid.labeling.tracks import Track
from vireid.plugin_manager.manager import create_manager

FILE = 'manifest.csv'
COLUMNS = ('path', 'identity', 'camera', 'modality', 'split', 'time')
MIN_PEOPLE = 4  # people to split: two to train on and two to test on
TEST = 0.5
MAX_NAMES = 5


@dataclass
class Summary:
    """What a table contains.

    Attributes:
        people: number of people with both modalities.
        images: number of their images.
        lacking: names of the people with a single modality, whom the table omits, with that modality.
        split: how the people were split.
        notes: further lines.
    """

    people: int = 0
    images: int = 0
    lacking: list[tuple[str, str]] = field(default_factory=list)
    split: str = ''
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Returns the summary, one line per fact."""
        lines = [f'{counted(self.people, "person", "people")} of both modalities, {counted(self.images, "image")}']
        if self.lacking:
            some = ', '.join(f'{name} (only {modality})' for name, modality in self.lacking[:MAX_NAMES])
            lines.append(f'left out, with one modality: {some}{", ..." if len(self.lacking) > MAX_NAMES else ""}')
        return [*lines, *([self.split] if self.split else []), *self.notes]


def write_manifest(people: People, folder: Path) -> Summary:
    """Writes `manifest.csv` of everybody who was confirmed and has images of both modalities.

    If the times of all their images are known, the half of the people who were seen first is for training, and the
    others are for testing. Otherwise they are split as by `vireid data split`.

    Args:
        people: who is who.
        folder: the folder of the crops.

    Returns:
        What was written.

    Raises:
        WriteFailed: if the file cannot be written.
    """
    summary = Summary()
    named: dict[str, list[Track]] = {}
    for rows in people.members():
        name = people.name(rows)
        if not name:
            continue
        tracks = [people.tracks[row] for row in rows]
        modalities = {track.modality for track in tracks}
        if len(modalities) == len(MODALITIES):
            named[name] = tracks
        else:
            summary.lacking.append((name, modalities.pop()))
    cameras, renamed = _number_cameras(people.tracks)
    lines: list[list[Any]] = [
        [image.path, name, cameras[track.modality, track.camera], track.modality, '', image.time]
        for name, tracks in sorted(named.items()) for track in tracks for image in track.images
    ]  # fmt: skip
    summary.people, summary.images = len(named), len(lines)
    summary.notes += [renamed] if renamed else []
    summary.notes += _twice(named)
    splits, summary.split = _split(named, lines, folder)
    for line in lines:
        line[4] = splits[line[1]]
    _write(folder / FILE, lines)
    return summary


def _write(path: Path, lines: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerows([COLUMNS, *lines])
    try:
        with open_whole(path, sync=True) as file:
            file.write(text.getvalue().encode('utf-8', 'surrogateescape'))
    except OSError as error:
        raise WriteFailed(f'{path} cannot be written: {error.strerror}', todo='free some space') from error


def _split(
    named: Mapping[str, Sequence[Track]], lines: Sequence[Sequence[Any]], folder: Path
) -> tuple[dict[str, str], str]:
    """Returns the split of each person, and a description of it."""
    if len(named) < MIN_PEOPLE:
        everybody = dict.fromkeys(named, 'train')
        return everybody, f'no test split yet: that takes at least {MIN_PEOPLE} people' if named else ''
    spans = {name: [track.span for track in tracks] for name, tracks in named.items()}
    if all(span is not None for own in spans.values() for span in own):
        first = {name: min(span[0] for span in own if span) for name, own in spans.items()}
        order = sorted(named, key=lambda name: (first[name], name))
        train = order[: len(order) - max(2, int(TEST * len(order)))]
        times = [f'{first[name]:%Y-%m-%d %H:%M}' for name in (train[0], train[-1], order[len(train)], order[-1])]
        how = (
            f'split by time: {len(train)} people first seen from {times[0]} to {times[1]} for training, '
            f'{len(order) - len(train)} from {times[2]} to {times[3]} for testing'
        )
        return {name: 'train' if name in train else 'test' for name in order}, how
    _write(folder / FILE, [[*line[:4], 'train', line[5]] for line in lines])
    dataset = create_manager().components.build('datasets', {'type': 'Manifest', 'root': str(folder)}, where='dataset')
    splits = {dataset.names[number]: split for number, split in dataset.divide(TEST).items()}
    return splits, 'split as by vireid data split, since not all times are known'


def _number_cameras(tracks: Sequence[Track]) -> tuple[dict[tuple[str, str], int], str]:
    """Returns a number for each modality and camera, and a note if cameras without a number were assigned one."""
    cameras = sorted({(track.modality, track.camera) for track in tracks})
    numbers: dict[tuple[str, str], int] = {}
    others = []
    for modality, camera in cameras:
        number = int(camera) if camera.isascii() and camera.isdecimal() and len(camera) < 10 else camera_number(camera)
        if number is None:
            others.append((modality, camera))
        else:
            numbers[modality, camera] = number
    last = max(numbers.values(), default=0)
    for place, key in enumerate(others, last + 1):
        numbers[key] = place
    text = ', '.join(f'{camera or "unknown"} ({modality}) {numbers[modality, camera]}' for modality, camera in others)
    return numbers, f'cameras without a number were assigned one: {text}' if others else ''


def _twice(named: Mapping[str, Sequence[Track]]) -> list[str]:
    """Returns a line for each pair of people who have the same image."""
    owner: dict[bytes, str] = {}
    messages: dict[tuple[str, str], str] = {}
    for name, tracks in sorted(named.items()):
        for image in (image for track in tracks for image in track.images):
            other = owner.setdefault(image.digest, name)
            if other != name:
                messages.setdefault((other, name), f'{other} and {name} have the same image, {image.path}: merge them')
    return list(messages.values())[:MAX_NAMES]
