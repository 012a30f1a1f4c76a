"""The tracks of a folder of crops: which images show one walk of one person."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from vireid.boundary.names import camera_number, plain_name
from vireid.boundary.paths import is_inside
from vireid.boundary.reading import reads
from vireid.boundary.tables import read_csv
from vireid.console.wording import counted
from vireid.core.types import MODALITIES, Modality
from vireid.errors import MissingKey, UnsafeFile, WrongContent
from vireid.search.entries import Entry, time_of
from vireid.search.gallery import GalleryImage, find_gallery
from vireid.search.index import Index

TABLE = 'crops.csv'
GUESSES = ('file time', '')  # sources of a time that may be that of a copy


@dataclass(frozen=True)
class Track:
    """Images that show one person.

    Attributes:
        name: its name, unique in the folder.
        modality: its modality.
        camera: its camera; empty if unknown.
        images: its images, in the order of their times and paths.
    """

    name: str
    modality: Modality
    camera: str
    images: tuple[Entry, ...]

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """The times of its first and last image; None if the time of one is unknown or only that of its file."""
        times = [time_of(image) for image in self.images if image.time_from not in GUESSES]
        known = [time for time in times if time is not None]
        return (min(known), max(known)) if len(known) == len(self.images) else None


def find_crops(folder: Path, modality: Modality | None = None) -> tuple[list[GalleryImage], dict[str, str], list[str]]:
    """Finds the crops of a folder.

    With `crops.csv`, these are the images that it lists. Without, the folder that holds an image is its track, unless
    that is a folder of a modality or a camera, or the folder itself: then each image is a track.

    Args:
        folder: the folder.
        modality: modality of all images.

    Returns:
        The images; the name of the track of each image, by its path relative to the folder; notes about images that
        are left out.

    Raises:
        VireidError: if there are no images, or `crops.csv` is malformed or leads out of the folder.
    """
    table = folder / TABLE
    if not table.exists():
        _, images = find_gallery(folder, modality)
        return images, {path: _track_of(path) for path in (relative(image.path, folder) for image in images)}, []
    _, images = find_gallery(table, modality)
    tracks = _read_tracks(table)
    outside = next((image.path for image in images if not is_inside(image.path, folder)), None)
    if outside is not None:
        raise UnsafeFile(f'{table} lists {outside}', allowed=f'images below {folder}')
    listed = {relative(image.path, folder) for image in images}
    more = sum(relative(image.path, folder) not in listed for image in find_gallery(folder)[1])
    notes = [f'{counted(more, "image")} of {folder} not in {TABLE} and left out'] if more else []
    return images, tracks, notes


def relative(path: str | Path, folder: Path) -> str:
    """Returns a path relative to a folder, with `/`, as in an index."""
    return os.path.relpath(os.path.abspath(path), folder.absolute()).replace(os.sep, '/')


def _track_of(path: str) -> str:
    folder, _, _ = path.rpartition('/')
    last = folder.rpartition('/')[2]
    return folder if folder and last.lower() not in MODALITIES and camera_number(last) is None else path


@reads('a table of crops', TABLE, allowed='a table written by `vireid crops`')
def _read_tracks(path: Path) -> dict[str, str]:
    """Returns the name of the track of each image, by its path."""
    columns, rows = read_csv(path)
    if missing := [name for name in ('path', 'track') if name not in columns]:
        raise MissingKey(f'{path} has no column {missing[0]}', allowed='a table written by `vireid crops`')
    tracks: dict[str, str] = {}
    for line, row in rows:
        image, track = (row['path'] or '').strip(), plain_name(row['track'] or '')
        if not track:
            raise WrongContent(f'{path}, line {line}: the track is empty', allowed='a track in each line')
        tracks[relative(path.parent / image, path.parent)] = track
    return tracks


def make_tracks(index: Index, names: dict[str, str]) -> tuple[list[Track], np.ndarray]:
    """Returns the tracks of an index of crops, in the order of their names, and the features of each.

    A folder with images of both modalities is not a track; each of its images is one.

    Args:
        index: the index.
        names: the name of the track of each image, by its path relative to the folder.

    Returns:
        T tracks, and (T, D) float32 means of norm 1 of the embeddings of their images.

    Raises:
        WrongContent: if a track has images of two cameras.
    """
    parts: dict[str, list[Entry]] = {}
    for entry in index.entries.all():
        if entry.path in names:
            parts.setdefault(names[entry.path], []).append(entry)
    for name in [name for name, images in parts.items() if _is_mixed(name, images)]:
        parts |= {image.path: [image] for image in parts.pop(name)}
    tracks = [_track(name, parts[name]) for name in sorted(parts)]
    vectors = index.vectors
    means = np.stack([np.asarray(vectors[[e.row for e in t.images]], dtype=np.float32).mean(axis=0) for t in tracks])
    return tracks, means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def _is_mixed(name: str, images: Sequence[Entry]) -> bool:
    """Returns whether a folder taken for a track has images of both modalities, beyond a few wrong guesses."""
    rarest = min(sum(image.modality == modality for image in images) for modality in MODALITIES)
    return rarest > len(images) / 5 and all(image.path.startswith(f'{name}/') for image in images)


def _track(name: str, images: Sequence[Entry]) -> Track:
    cameras = sorted({image.camera for image in images})
    if len(cameras) > 1:
        raise WrongContent(
            f'the track {name} has images of the cameras {cameras[0]} and {cameras[1]}',
            allowed='images of one camera in a track',
            todo=f'correct {TABLE}, or put them into different folders',
        )
    modality = Counter(image.modality for image in images).most_common(1)[0][0]  # each may have been guessed
    return Track(name, modality, cameras[0], tuple(sorted(images, key=lambda image: (image.time, image.path))))


def overlapping(tracks: Sequence[Track]) -> np.ndarray:
    """Returns a (T, T) bool matrix: whether two tracks of one camera overlap in time, so that they show two people."""
    apart = np.zeros((len(tracks), len(tracks)), dtype=bool)
    spans: dict[tuple[Modality, str], list[tuple[datetime, datetime, int]]] = {}
    for row, track in enumerate(tracks):
        if track.camera and track.span is not None:
            spans.setdefault((track.modality, track.camera), []).append((*track.span, row))
    for own in spans.values():
        own.sort()
        for place, (_, end, row) in enumerate(own):
            for start, other_end, other in own[place + 1 :]:
                if start >= end:
                    break
                if other_end > start:  # an image without duration overlaps nothing
                    apart[row, other] = apart[other, row] = True
    return apart
