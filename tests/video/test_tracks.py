"""Boxes become tracks: one person each."""

from __future__ import annotations

import numpy as np
import pytest

from vireid.video.tracks import Tracker, has_moved, overlaps


def boxes(*lefts: float, top: float = 0.0) -> np.ndarray:
    """Boxes of people 40 pixels wide and 100 high, which overlap as if they were 80 wide."""
    return np.array([[left, top, left + 40, top + 100] for left in lefts]).reshape(-1, 4)


def numbers(tracker: Tracker, found: np.ndarray, seconds: float) -> list[int]:
    return [track.number for track in tracker.update(found, seconds)]


def test_overlap_is_that_of_boxes_as_wide_as_people_who_walk():
    # 80 wide, moved by 40: 40 of 120 columns are common
    assert overlaps(boxes(0), boxes(0, 40, 80), wide=0.8) == pytest.approx(np.array([[1, 1 / 3, 0]]))
    assert overlaps(boxes(0), boxes(0, 20, 40), wide=0.4) == pytest.approx(np.array([[1, 1 / 3, 0]]))


def test_a_box_that_is_wide_already_stays():
    square = np.array([[0.0, 0.0, 100.0, 100.0]])
    assert overlaps(square, square + np.array([50, 0, 50, 0]), wide=0.8) == pytest.approx(np.array([[1 / 3]]))


def test_someone_who_walks_keeps_their_track():
    tracker = Tracker()
    assert [numbers(tracker, boxes(30 * n), n * 0.2) for n in range(5)] == [[1]] * 5


def test_their_speed_is_expected():
    """Boxes 40 wide that move by 34: from the second on, they are looked for where the person goes."""
    tracker = Tracker()
    assert [numbers(tracker, boxes(34 * n), n * 0.2) for n in range(6)] == [[1]] * 6
    assert numbers(tracker, boxes(34 * 5), 1.2) == [2]  # not where they were


def test_a_speed_is_that_of_the_middle_and_smoothed():
    tracker = Tracker()
    (track,) = tracker.update(np.array([[0.0, 0.0, 40.0, 100.0]]), 0.0)
    tracker.update(np.array([[10.0, 2.0, 70.0, 102.0]]), 1.0)  # wider by 20
    assert track.speed.tolist() == [20, 2, 20, 2]
    tracker.update(np.array([[20.0, 2.0, 80.0, 102.0]]), 2.0)
    assert track.speed.tolist() == [15, 1, 15, 1]


def test_someone_much_taller_is_someone_else():
    tracker = Tracker()
    numbers(tracker, np.array([[0.0, 0.0, 40.0, 100.0]]), 0.0)
    assert numbers(tracker, np.array([[0.0, 0.0, 40.0, 70.0]]), 0.2) == [2]


def test_two_people_apart_have_two_tracks_in_any_order_of_boxes():
    tracker = Tracker()
    assert numbers(tracker, boxes(0, 300), 0.0) == [1, 2]
    assert numbers(tracker, boxes(310, 10), 0.2) == [2, 1]


def test_who_is_hidden_for_a_moment_keeps_their_track_and_who_has_left_does_not():
    tracker = Tracker(gap=1.0)
    numbers(tracker, boxes(0), 0.0)
    assert numbers(tracker, boxes(), 0.5) == []
    assert numbers(tracker, boxes(0), 0.9) == [1]
    assert numbers(tracker, boxes(0), 2.0) == [2]


def test_both_tracks_end_where_it_is_not_clear_who_is_who():
    tracker = Tracker()
    assert numbers(tracker, boxes(0, 20), 0.0) == [1, 2]
    assert numbers(tracker, boxes(10), 0.2) == [3]  # in the middle between them
    assert [track.number for track in tracker.active] == [3]


def test_nobody_leaves_while_nothing_moves():
    tracker = Tracker(gap=1.0)
    numbers(tracker, boxes(0), 0.0)
    tracker.still(30.0)
    assert numbers(tracker, boxes(0), 30.5) == [1]


def test_all_tracks_can_be_ended():
    tracker = Tracker()
    numbers(tracker, boxes(0), 0.0)
    tracker.end_all()
    assert numbers(tracker, boxes(0), 0.1) == [2]


def test_motion_is_a_few_pixels_that_differ_clearly():
    before = np.full((36, 64), 100, dtype=np.uint8)
    noise, moved = before.copy(), before.copy()
    noise[::2] += 5
    moved[10, 10:12] = 200
    assert not has_moved(before, noise)
    assert has_moved(before, moved)
