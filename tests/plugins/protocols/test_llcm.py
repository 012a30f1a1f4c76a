"""LLCM: the directions as named, and those of the released code."""

from __future__ import annotations

import random

import numpy as np
import pytest

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.protocols.llcm import LLCMProtocol, drop_same_camera
from vireid.plugins.protocols.llcm_released import LLCMReleased


class Pictures:
    """Identities 2 and 11 on visible cameras 1, 2, 3 and infrared cameras 1, 2; three images each."""

    def split(self, name: str) -> tuple[Sample, ...]:
        assert name == 'test'
        return tuple(
            Sample(f'{modality}/cam{camera}/{identity:04d}/{number}.jpg', identity, camera, modality)
            for modality, cameras in ((VISIBLE, (1, 2, 3)), (INFRARED, (1, 2)))
            for identity in (11, 2)
            for camera in cameras
            for number in (3, 1, 2)
        )


def test_queries_are_all_of_one_modality_and_the_gallery_one_of_each_identity_and_camera_of_the_other() -> None:
    trials = LLCMProtocol(trials=3).trials(Pictures())
    assert [(t.name, t.index, len(t.query), len(t.gallery)) for t in trials] == [
        *(('visible to infrared', index, 18, 4) for index in range(3)),
        *(('infrared to visible', index, 12, 6) for index in range(3)),
    ]
    assert {s.modality for s in trials[0].query} == {VISIBLE}
    assert {s.modality for s in trials[0].gallery} == {INFRARED}
    assert {(t.cmc, t.drop) for t in trials} == {('identity', drop_same_camera)}


def test_the_draw_is_a_choice_from_its_own_stream_by_identity_then_camera() -> None:
    random.seed(5)
    before = random.getstate()
    trial = LLCMProtocol(['infrared to visible'], 4).trials(Pictures())[3]
    assert random.getstate() == before
    stream = random.Random(3)
    cells = [(2, 1), (2, 2), (2, 3), (11, 1), (11, 2), (11, 3)]
    wanted = [f'visible/cam{c}/{i:04d}/{stream.choice([1, 2, 3])}.jpg' for i, c in cells]
    assert [s.path for s in trial.gallery] == wanted


def test_the_same_identity_by_the_same_camera_number_is_dropped() -> None:
    dropped = drop_same_camera(
        np.array([[2], [11]]), np.array([[1], [3]]), np.array([[2, 2, 11, 11]]), np.array([[1, 2, 1, 3]])
    )
    assert dropped.tolist() == [[True, False, False, False], [False, False, False, True]]


def test_the_released_code_searches_all_visible_with_drawn_infrared_images() -> None:
    declared, released = (p(trials=2).trials(Pictures()) for p in (LLCMProtocol, LLCMReleased))
    for one, other in zip(declared, released, strict=True):
        assert (one.name, one.index) == (other.name, other.index)
        if one.name == 'visible to infrared':
            assert (one.query, one.gallery) == (other.gallery, other.query)
        else:
            assert one == other
    assert (LLCMProtocol.name, LLCMReleased.name) == ('llcm', 'llcm-released')


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(WrongValue, match='directions'):
        LLCMProtocol([], 10)
    for kind in ('llcm', 'llcm-released'):
        for trials in (0, 1001):
            with pytest.raises(WrongValue, match=f'trials is {trials} '):
                create_manager().components.build('protocols', {'type': kind, 'trials': trials}, where='protocol')
    with pytest.raises(WrongValue, match=r"directions .*'visible to infrared'"):
        LLCMProtocol(['visible to infrared', 'visible to infrared'])
