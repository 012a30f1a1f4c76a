"""All images of one modality against all images of the other."""

from __future__ import annotations

import pytest

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import Mismatch, WrongValue
from vireid.plugins.protocols.cross import Cross
from vireid.plugins.protocols.llcm import drop_same_camera


class Pictures:
    def split(self, name: str) -> tuple[Sample, ...]:
        return (Sample('v1', 1, 1, VISIBLE), Sample('v2', 2, 1, VISIBLE), Sample('i1', 1, 2, INFRARED))


def test_both_directions_once() -> None:
    there, back = Cross().trials(Pictures())
    assert [s.path for s in there.query] == ['v1', 'v2']
    assert [s.path for s in there.gallery] == ['i1']
    assert (back.query, back.gallery) == (there.gallery, there.query)
    assert (there.name, back.name) == ('visible to infrared', 'infrared to visible')
    assert (there.cmc, there.drop) == ('identity', None)


def test_options_are_in_its_name() -> None:
    class Shared(Pictures):
        def split(self, name: str) -> tuple[Sample, ...]:
            return (*super().split(name), Sample('i2', 2, 1, INFRARED))

    protocol = Cross(['infrared to visible'], drop_same_camera=True, cmc='image')
    (trial,) = protocol.trials(Shared())
    assert (trial.cmc, trial.drop) == ('image', drop_same_camera)
    assert protocol.name == 'cross, CMC by image, same camera dropped'
    assert Cross().name == 'cross, CMC by identity'


def test_no_direction_or_one_twice_is_refused() -> None:
    with pytest.raises(WrongValue, match='directions'):
        Cross([])
    with pytest.raises(WrongValue, match=r"directions .*'infrared to visible'"):
        Cross(['infrared to visible'] * 2)


def test_a_drop_that_drops_nothing_is_refused() -> None:
    with pytest.raises(Mismatch, match='drop_same_camera'):
        Cross(drop_same_camera=True).trials(Pictures())
