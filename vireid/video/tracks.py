"""Links the boxes of people in successive frames to tracks: one walk past the camera is one track."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# A person who walks past moves by more than their own width between two frames. Boxes as wide as this fraction of their
# height still overlap then.
WIDE = 0.8
LEAST_OVERLAP = 0.25  # intersection over union of two such boxes of one person
AMBIGUOUS = 0.8  # a box that fits a second track nearly as well could be either person: both tracks end
LONGEST_GAP = 1.0  # seconds that a person may be hidden


@dataclass
class Track:
    """A person who is followed.

    Attributes:
        number: the number of the track, from 1.
        box: (4,) float, the last box: left, top, right, bottom in pixels.
        seconds: time of the last box.
        speed: (4,) float, change of the box in pixels per second.
        kept: time and thumbnail of the last crop that was kept; None if there is none.
    """

    number: int
    box: np.ndarray
    seconds: float
    speed: np.ndarray = field(default_factory=lambda: np.zeros(4))
    kept: tuple[float, np.ndarray] | None = None

    def at(self, seconds: float) -> np.ndarray:
        """Returns where the box is expected."""
        return self.box + self.speed * (seconds - self.seconds)


class Tracker:
    """Assigns boxes to tracks, the pairs with the largest overlap first.

    If it is not clear who is who after two people have crossed, both get new tracks: a label page can merge tracks, but
    cannot see that one has two people.

    Args:
        gap: seconds after which a person who is not seen has left.
    """

    def __init__(self, gap: float = LONGEST_GAP) -> None:
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
        overlap = overlaps(np.array([t.at(seconds) for t in self.active]).reshape(-1, 4), boxes)  # (T, N)
        overlap[overlap < LEAST_OVERLAP] = 0
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
            passed = seconds - track.seconds
            if passed > 0:
                track.speed = (boxes[column] - track.box) / passed
                track.speed[1] = track.speed[3] = track.speed[[1, 3]].mean()  # it moves, its size stays
                track.speed[0] = track.speed[2] = track.speed[[0, 2]].mean()
            track.box, track.seconds = boxes[column], seconds
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

    def still(self, seconds: float) -> None:
        """Notes that nothing has moved since the last frame: everybody stays where they were."""
        for track in self.active:
            track.seconds, track.speed = seconds, np.zeros(4)

    def end_all(self) -> None:
        """Ends all tracks: the next boxes are those of other people."""
        self.active = []


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of every two boxes, each widened to `WIDE` of its height.

    Args:
        first: (T, 4) float, left, top, right, bottom.
        second: (N, 4) float.

    Returns:
        (T, N) float, 0 to 1.
    """
    one, two = _widened(first)[:, None], _widened(second)[None]
    sides = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    common = np.clip(sides, 0, None).prod(axis=2)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=2) for boxes in (one, two)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)


def _widened(boxes: np.ndarray) -> np.ndarray:
    wide = boxes.astype(np.float64).reshape(-1, 4)
    missing = np.clip(WIDE * (wide[:, 3] - wide[:, 1]) - (wide[:, 2] - wide[:, 0]), 0, None) / 2
    wide[:, 0] -= missing
    wide[:, 2] += missing
    return wide


def has_moved(before: np.ndarray, now: np.ndarray, levels: int = 12, pixels: int = 2) -> bool:
    """Returns whether something has moved between two frames: some pixels of their thumbnails differ.

    Args:
        before: (H, W) uint8, in gray.
        now: the same of the other frame.
        levels: gray levels by which a pixel differs.
        pixels: how many have to differ.
    """
    return int((np.abs(before.astype(np.int16) - now) >= levels).sum()) >= pixels
