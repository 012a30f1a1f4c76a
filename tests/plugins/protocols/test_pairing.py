"""A protocol rejects the images of another dataset instead of scoring them under the wrong name."""

from __future__ import annotations

import pytest

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import Mismatch
from vireid.plugins.protocols.cross import Cross
from vireid.plugins.protocols.llcm import LLCMProtocol
from vireid.plugins.protocols.llcm_released import LLCMReleased
from vireid.plugins.protocols.regdb_agw import RegDBAgw
from vireid.plugins.protocols.regdb_official import RegDBOfficial
from vireid.plugins.protocols.sysu_agw import SYSUAgw


class Pictures:
    """Two identities, seen by these cameras."""

    def __init__(self, visible: list[int], infrared: list[int]) -> None:
        self.samples = [
            Sample(f'{modality}{identity}{camera}', identity, camera, modality)
            for modality, cameras in ((VISIBLE, visible), (INFRARED, infrared))
            for identity in (1, 2)
            for camera in cameras
        ]

    def split(self, name: str) -> list[Sample]:
        assert name == 'test'
        return self.samples


CAMERAS = {
    'SYSU-MM01': ([1, 2, 4, 5], [3, 6]),
    'RegDB': ([1], [2]),
    'LLCM': ([1, 2, 3], [1, 2, 4]),
}
FITTING = {'SYSU-MM01': [SYSUAgw], 'RegDB': [RegDBAgw, RegDBOfficial], 'LLCM': [LLCMProtocol, LLCMReleased]}


@pytest.mark.parametrize('dataset', CAMERAS)
@pytest.mark.parametrize('protocol', [p for found in FITTING.values() for p in found])
def test_each_protocol_takes_its_own_dataset_only(dataset: str, protocol: type) -> None:
    images = Pictures(*CAMERAS[dataset])
    if protocol in FITTING[dataset]:
        assert protocol().trials(images)
    else:
        with pytest.raises(Mismatch, match=r"protocol\.type='cross'"):
            protocol().trials(images)


@pytest.mark.parametrize('dataset', CAMERAS)
def test_cross_takes_any(dataset: str) -> None:
    assert len(Cross().trials(Pictures(*CAMERAS[dataset]))) == 2
