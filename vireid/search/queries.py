"""Searches an index for several query images, and reports what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.image_files import RawImage
from vireid.boundary.names import camera_name
from vireid.boundary.showing import one_line, printable
from vireid.console.wording import aligned
from vireid.core.types import VISIBLE, Modality
from vireid.search.confidence import Confidence, judge, percent
from vireid.search.entries import Where
from vireid.search.index import Hit, Index
from vireid.search.modality import guess_modality
from vireid.search.times import parse_end, parse_time


@dataclass(frozen=True)
class Answer:
    """What was found for a query.

    Attributes:
        query: the image.
        modality: its modality.
        guessed: whether that was guessed.
        hits: the most similar images, the most similar first.
        confidence: how sure they are.
    """

    query: Path
    modality: Modality
    guessed: bool
    hits: Sequence[Hit]
    confidence: Confidence

    def text(self, rate: float) -> str:
        """Returns a table of the hits, and whether the person is probably absent; `rate` as in `judge`."""
        sure, guessed = self.confidence, ' (guessed; --modality sets it)' if self.guessed else ''
        known = any(p is not None for p in sure.probabilities)
        rows = [['rank', 'score', *(['same person'] if known else []), 'camera', 'time', 'image']]
        for rank, (hit, p) in enumerate(zip(self.hits, sure.probabilities, strict=True), 1):
            time = f'{hit.time:%Y-%m-%d %H:%M:%S} ({hit.time_from})' if hit.time else '-'
            same = [] if not known else ['-'] if p is None else [percent(p)]
            rows.append([str(rank), f'{hit.score:.3f}', *same, one_line(hit.camera) or '-', time, one_line(hit.path)])
        lines = aligned(rows) if self.hits else ['no image of the index matches the filters']
        absent = [sure.text(rate)] if sure.absent else []
        return '\n'.join([printable(f'{self.query}, {self.modality}{guessed}'), *lines, *absent])

    def to_dict(self) -> dict[str, Any]:
        """Returns what `vireid search --json` prints."""
        hits = [
            {**vars(hit), 'time': hit.time.isoformat(' ') if hit.time else None, 'probability': p}
            for hit, p in zip(self.hits, self.confidence.probabilities, strict=True)
        ]
        about = {'query': str(self.query), 'modality': self.modality, 'guessed': self.guessed}
        return {**about, 'absent': self.confidence.absent, 'hits': hits}


def read_filter(
    index: Index, cameras: Sequence[str], after: str | None, before: str | None, modality: Modality | None
) -> Where:
    """Returns the filter that flags describe.

    Args:
        index: the index.
        cameras: names of cameras as the index or a person writes them; empty for all.
        after: not before this time.
        before: not after this time; includes the whole day or minute that it names.
        modality: only this modality.

    Raises:
        VireidError: for a time that cannot be read, or what the index does not have.
    """
    start = parse_time(after, '--after') if after else None
    end = parse_end(before, '--before') if before else None
    recorded = index.cameras()
    chosen = tuple(name if name in recorded else camera_name(name) for name in cameras)
    where = Where(chosen, start, end, modality)
    index.require_known(where)
    return where


def search_images(
    index: Index,
    images: Sequence[Path],
    modality: Modality | None,
    top: int,
    where: Where,
    rate: float,
    warn: Callable[[str], None],
) -> list[Answer]:
    """Finds the images of an index that are most similar to each query.

    Args:
        index: the index.
        images: the queries.
        modality: their modality; None guesses it.
        top: number of hits for each.
        where: which images to search.
        rate: see `judge`.
        warn: called with a line for each query whose colors contradict the modality, and for a missing gallery.

    Raises:
        VireidError: if an image cannot be read, or `top` is wrong.
    """
    if not index.root.is_dir():
        warn(
            f'the gallery {index.root} does not exist, so its images cannot be opened; if it is elsewhere now: '
            f'vireid index GALLERY -o {index.folder}'
        )
    embedded: list[tuple[Path, Modality, np.ndarray]] = []
    for path in images:
        pixels = _pixels(index, path)
        guess = guess_modality(pixels)
        if modality and guess != modality:
            looks = 'has colors' if guess == VISIBLE else 'has no colors'
            warn(f'{printable(str(path))} {looks}, but is embedded as {modality}')
        embedded.append((path, modality or guess, index.embedder.embed(pixels, modality or guess)))
    results = index.search(np.concatenate([vector for *_, vector in embedded]), top, where)
    return [
        Answer(path, own, modality is None, hits, judge(index, own, hits, where, rate))
        for (path, own, _), hits in zip(embedded, results, strict=True)
    ]


def _pixels(index: Index, path: Path) -> np.ndarray:
    """Decodes a query to (H, W, 3) uint8."""
    try:
        return index.embedder.pixels(path)
    except RawImage as error:  # its advice names a flag that only the commands that build an index have
        todo = 'save it as a gray image of 8 bits, or build the index with --cfg-options images.scale_raw=...'
        raise error.reworded(error.given, allowed=error.allowed, todo=todo) from error
