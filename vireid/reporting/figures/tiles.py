"""Lays out images on a sheet, with positions in inches from the upper left corner, so that sizes are exact."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Circle, Rectangle

from vireid.errors import WrongValue
from vireid.reporting import thumbnails
from vireid.reporting.evidence import Evidence
from vireid.reporting.figures.style import AGAIN, GREEN, INK, LETTER, ORANGE, SMALL, choose_evidence, new_figure
from vireid.reporting.record import RunRecord

MARGIN, GAP = 0.06, 0.07
LINE = SMALL * 1.35 / 72  # inches, the height of a line of small text
Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]  # from an image and its map to the image to show


class Sheet:
    """A figure that grows downwards.

    Attributes:
        figure: the figure.
        axes: cover the figure; their units are inches.
        y: the position of the next item.
    """

    def __init__(self, width: float) -> None:
        self.figure = new_figure(width, 1.0)
        self.figure.set_layout_engine('none')
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.width, self.y = width, MARGIN

    def write(self, x: float, y: float, text: str, size: float = SMALL, **look: Any) -> None:
        """Writes one line with its upper edge at `y`.

        Args:
            x: left edge, in inches.
            y: upper edge, in inches from the top.
            text: the line.
            size: font size in points.
            **look: other settings of matplotlib's `text`.
        """
        self.axes.text(x, y, text, fontsize=size, va='top', **look)

    def heading(self, text: str) -> None:
        """Writes a heading."""
        self.write(MARGIN, self.y, _fitting(text, self.width - 2 * MARGIN, 8), 8, fontweight='bold')
        self.y += 0.2

    def image(self, x: float, y: float, size: tuple[float, float], image: np.ndarray | None) -> None:
        """Draws an image undistorted into a box; without an image, the box says `missing`.

        Args:
            x: left edge of the box, in inches.
            y: upper edge, in inches from the top.
            size: width and height of the box, in inches.
            image: (H, W, 3) uint8, or None.
        """
        width, height = size
        if image is None:
            self.axes.add_patch(Rectangle((x, y), width, height, facecolor='#888888', alpha=0.25, edgecolor='none'))
            self.axes.text(
                x + width / 2, y + height / 2, 'missing', fontsize=min(SMALL, width * 72 / 5), ha='center', va='center'
            )
            return
        scale = min(width / image.shape[1], height / image.shape[0])
        half = scale * image.shape[1] / 2, scale * image.shape[0] / 2
        middle = x + width / 2, y + height / 2
        extent = (middle[0] - half[0], middle[0] + half[0], middle[1] + half[1], middle[1] - half[1])
        self.axes.imshow(image, extent=extent, aspect='auto', interpolation='bilinear')

    def frame(self, x: float, y: float, size: tuple[float, float], right: bool | None) -> None:
        """Draws a frame for correct, wrong or, with None, neither: by color, line style and sign.

        Args:
            x: left edge, in inches.
            y: upper edge, in inches from the top.
            size: width and height, in inches.
            right: True for correct, False for wrong.
        """
        color = INK if right is None else GREEN if right else ORANGE
        line = '--' if right is False else '-'
        self.axes.add_patch(
            Rectangle((x, y), *size, fill=False, edgecolor=color, linestyle=line, linewidth=min(1.4, 4 * size[0]))
        )
        if right is None:
            return
        radius = min(0.075, 0.2 * size[0])
        middle = np.array([x + size[0] - radius * 1.25, y + radius * 1.25])
        self.axes.add_patch(Circle(tuple(middle), radius, facecolor='white', edgecolor=color, linewidth=0.5))
        tick = [[(-0.5, 0.05), (-0.1, 0.45), (0.5, -0.4)]]
        cross = [[(-0.4, -0.4), (0.4, 0.4)], [(-0.4, 0.4), (0.4, -0.4)]]
        for stroke in tick if right else cross:
            points = middle + radius * np.array(stroke)
            self.axes.plot(*points.T, color=color, linewidth=16 * radius, solid_capstyle='round')

    def finish(self, notes: Sequence[str]) -> None:
        """Writes notes at the end and sets the height of the figure."""
        letters = max(20, int((self.width - 2 * MARGIN) * 72 / (SMALL * LETTER)))
        for line in (line for note in notes for line in textwrap.wrap(note, letters)):
            self.write(MARGIN, self.y, line)
            self.y += LINE
        height = self.y + MARGIN
        self.figure.set_size_inches(self.width, height)
        self.axes.set(xlim=(0, self.width), ylim=(height, 0))


def decode(evidence: Evidence, index: int) -> np.ndarray | None:
    """Returns image `index` of the evidence as (H, W, 3) uint8; None if it could not be read."""
    return thumbnails.decode(evidence.thumbs[index]) if 0 <= index < len(evidence.thumbs) else None


def aspect_of(images: Sequence[np.ndarray | None]) -> float:
    """Returns the median ratio of height to width; 2 without images."""
    shares = [image.shape[0] / image.shape[1] for image in images if image is not None]
    return float(np.clip(np.median(shares), 0.5, 3)) if shares else 2.0


def draw_pairs(runs: Sequence[RunRecord], kind: str, paint: Paint, note: str, pairs: int, width: float) -> Sheet:
    """Draws maps of pairs of images: rows are pairs, columns are stages, and each cell has both images.

    Args:
        runs: with evidence; drawn one below the other.
        kind: kind of maps, such as `cam`.
        paint: returns the image to show, given an image (H, W, 3) uint8 and its map in 0..1, (h, w) or
            (h, w, 3).
        note: written at the end; may be empty.
        pairs: the maximum number.
        width: in inches.

    Raises:
        VireidError: if `pairs` is below 1, or no run has such maps.
    """
    if pairs < 1:
        raise WrongValue(f'pairs is {pairs}', allowed='1 or more')
    todo = 'draw a run of a model with translators' if kind == 'translations' else AGAIN  # others never have any
    kept, notes = choose_evidence(runs, lambda evidence: _stages(evidence, kind), f'{kind} maps', todo)
    sheet = Sheet(width)
    for run in kept:
        assert run.evidence is not None
        if len(kept) > 1:
            sheet.heading(run.label)
        _draw_run(sheet, run.evidence, kind, paint, pairs)
    sheet.finish([*filter(None, [note]), *notes])
    return sheet


def _stages(evidence: Evidence, kind: str) -> list[str]:
    names = [key.partition(' ')[2] for key, maps in evidence.maps.items() if key.startswith(f'{kind} ') and len(maps)]
    return names if evidence.about.get('pairs') else []


def _draw_run(sheet: Sheet, evidence: Evidence, kind: str, paint: Paint, pairs: int) -> None:
    stages, about = _stages(evidence, kind), evidence.about
    chosen = _spread(about['pairs'], pairs)
    images = [[decode(evidence, index) for index in about['pairs'][row]['images']] for row in chosen]
    columns = 1 + len(stages)
    room = (sheet.width - 2 * MARGIN - (columns - 1) * 2.5 * GAP) / columns  # of a cell
    tile = min(0.85, (room - GAP / 2) / 2)
    size = (tile, tile * aspect_of([image for both in images for image in both]))
    cell = 2 * tile + 3 * GAP
    for column, title in enumerate(['images', *stages]):
        middle = MARGIN + column * cell + tile + GAP / 4
        sheet.write(middle, sheet.y, _fitting(title, 2 * tile, 7), 7, ha='center')
    sheet.y += 0.15
    for row, both in zip(chosen, images, strict=True):
        for side, image in enumerate(both):
            x = MARGIN + side * (tile + GAP / 2)
            sheet.image(x, sheet.y, size, image)
            for column, stage in enumerate(stages, 1):
                heat = np.asarray(evidence.maps[f'{kind} {stage}'][row][side], dtype=float)
                shown = np.full((128, 64, 3), 128, dtype=np.uint8) if image is None else image
                sheet.image(x + column * cell, sheet.y, size, paint(shown, heat))
        sheet.y += size[1] + 0.03
        sheet.write(MARGIN, sheet.y, _fitting(_caption(evidence, row), sheet.width - 2 * MARGIN, SMALL))
        sheet.y += LINE + GAP


def _spread(pairs: Sequence[dict[str, Any]], count: int) -> list[int]:
    """Selects pairs, alternating correct and wrong ones, and returns their indices in order."""
    sides = [[i for i, pair in enumerate(pairs) if bool(pair.get('right')) is right] for right in (True, False)]
    turns = [(place, side, i) for side, own in enumerate(sides) for place, i in enumerate(own)]
    return sorted(i for _, _, i in sorted(turns)[:count])


def _caption(evidence: Evidence, row: int) -> str:
    about = evidence.about
    pair = about['pairs'][row]
    sides = [about['images'][index] for index in pair['images']]
    both = ', '.join(f'{modality} of {evidence.name_of(identity)}' for _, identity, _, modality in sides)
    same = 'same identity' if pair['right'] else 'different identities'
    return f'{both}: {same}, similarity {pair["similarity"]:.2f}'


def _fitting(text: str, width: float, size: float) -> str:
    """Truncates a line to a width in inches."""
    letters = max(3, int(width * 72 / (size * LETTER)))
    return text if len(text) <= letters else text[: letters - 1] + '…'
