"""Links the boxes of people in successive frames to tracks: one walk past the camera is one track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Boxes are compared as if they were at least this wide, as a share of their height. Someone who walks past moves by
# more than their own width between two frames, and where they go is known only from their second box on.
WIDE_AT_FIRST, WIDE = 0.8, 0.4
MIN_OVERLAP = 0.4  # intersection over union of two such boxes of one person
MIN_RATIO = 0.8  # of the heights of two boxes of one person
SMOOTH = 0.5  # weight of the newest speed
AMBIGUOUS = 0.8  # a box that fits a second track nearly as well could be either person: both tracks end
MAX_GAP = 1.0  # seconds that a person may be hidden


@dataclass
class Track:
    """A person who is followed.

    Attributes:
        number: the number of the track, from 1.
        box: (4,) float, the last box: left, top, right, bottom in pixels.
        seconds: time of the last box.
        speed: (4,) float, change of the box in pixels per second; None if it has one box only.
        kept: time and thumbnail of the last crop that was kept; None if there is none.
    """

    number: int
    box: np.ndarray
    seconds: float
    speed: np.ndarray | None = None
    kept: tuple[float, np.ndarray] | None = None

    def at(self, seconds: float) -> np.ndarray:
        """Returns where the box is expected."""
        return self.box if self.speed is None else self.box + self.speed * (seconds - self.seconds)

    def add(self, box: np.ndarray, seconds: float) -> None:
        """Continues the track with a box, and learns from it how the person moves."""
        if seconds > self.seconds:
            speed = (box - self.box) / (seconds - self.seconds)
            speed = (speed + speed[[2, 3, 0, 1]]) / 2  # the box moves, its size stays
            self.speed = speed if self.speed is None else SMOOTH * speed + (1 - SMOOTH) * self.speed
        self.box, self.seconds = box, seconds


class Tracker:
    """Assigns boxes to tracks, the pairs with the largest overlap first.

    If it is not clear who is who after two people have crossed, both get new tracks: a label page can merge tracks, but
    cannot see that one has two people.

    Args:
        gap: seconds after which a person who is not seen has left.
    """

    def __init__(self, gap: float = MAX_GAP) -> None:
        self.gap, self.count = gap, 0
        self.active: list[Track] = []

    def restore(self, tracks: list[Track], count: int) -> None:
        """Continues with these tracks, as before an interruption; `count` tracks have begun so far."""
        self.active, self.count = list(tracks), count

    def update(self, boxes: np.ndarray, seconds: float) -> list[Track]:
        """Returns the track of each box.

        Args:
            boxes: (N, 4) float, left, top, right, bottom in pixels.
            seconds: time of the frame, not before the last one.
        """
        self.active = [track for track in self.active if seconds - track.seconds <= self.gap]
        overlap = self._overlap(boxes, seconds)  # (T, N)
        assigned: dict[int, Track] = {}
        ended: set[int] = set()
        for flat in np.argsort(-overlap, axis=None, kind='stable'):
            row, column = divmod(int(flat), len(boxes))
            best = overlap[row, column]
            if not best:
                break
            if column in assigned or row in ended:
                continue
            rivals = [*np.delete(overlap[:, column], row), *np.delete(overlap[row], column)]
            if max(rivals, default=0.0) > AMBIGUOUS * best:
                ended |= {row, *np.flatnonzero(overlap[:, column] > AMBIGUOUS * best).tolist()}
                continue
            track = self.active[row]
            track.add(boxes[column], seconds)
            assigned[column] = track
            ended.add(row)  # it has its box of this frame
        used = {id(track) for track in assigned.values()}
        self.active = [t for row, t in enumerate(self.active) if row not in ended or id(t) in used]
        for column in range(len(boxes)):
            if column not in assigned:
                self.count += 1
                assigned[column] = Track(self.count, boxes[column], seconds)
                self.active.append(assigned[column])
        return [assigned[column] for column in range(len(boxes))]

    def _overlap(self, boxes: np.ndarray, seconds: float) -> np.ndarray:
        """Returns how much each box overlaps with the expected box of each track, (T, N) float; 0 for others."""
        expected = np.array([track.at(seconds) for track in self.active]).reshape(-1, 4)
        new = np.array([track.speed is None for track in self.active], dtype=bool)
        overlap = np.where(
            new[:, None], overlaps(expected, boxes, WIDE_AT_FIRST), overlaps(expected, boxes, WIDE)
        )  # fmt: skip
        before, now = (expected[:, 3] - expected[:, 1])[:, None], (boxes[:, 3] - boxes[:, 1])[None]
        ratio = np.minimum(before, now) / np.maximum(np.maximum(before, now), 1e-9)
        return np.where((overlap >= MIN_OVERLAP) & (ratio >= MIN_RATIO), overlap, 0.0)

    def still(self, seconds: float) -> None:
        """Notes that nothing has moved since the last frame: everybody stays where they were."""
        for track in self.active:
            track.seconds, track.speed = seconds, np.zeros(4)

    def end_all(self) -> None:
        """Ends all tracks: the next boxes are those of other people."""
        self.active = []


def overlaps(first: np.ndarray, second: np.ndarray, wide: float) -> np.ndarray:
    """Returns the intersection over union of every two boxes, each widened if it is narrow.

    Args:
        first: (T, 4) float, left, top, right, bottom.
        second: (N, 4) float.
        wide: least width of a box, as a share of its height.

    Returns:
        (T, N) float, 0 to 1.
    """
    one, two = _widened(first, wide)[:, None], _widened(second, wide)[None]
    sides = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    common = np.clip(sides, 0, None).prod(axis=2)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=2) for boxes in (one, two)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)


def _widened(boxes: np.ndarray, wide: float) -> np.ndarray:
    boxes = boxes.astype(np.float64).reshape(-1, 4)
    missing = np.clip(wide * (boxes[:, 3] - boxes[:, 1]) - (boxes[:, 2] - boxes[:, 0]), 0, None) / 2
    boxes[:, 0] -= missing
    boxes[:, 2] += missing
    return boxes


def has_moved(before: np.ndarray, now: np.ndarray, levels: int = 12, pixels: int = 2) -> bool:
    """Returns whether something has moved between two frames: some pixels of their thumbnails differ.

    Args:
        before: (H, W) uint8, in gray.
        now: the same of the other frame.
        levels: gray levels by which a pixel differs.
        pixels: how many have to differ.
    """
    return int((np.abs(before.astype(np.int16) - now) >= levels).sum()) >= pixels
