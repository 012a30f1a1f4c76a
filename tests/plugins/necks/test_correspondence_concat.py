"""CorrespondenceConcat: DMCF Eq. 1-3."""

from __future__ import annotations

import torch

from vireid.core.types import INFRARED, VISIBLE, Context, FeatureSpec
from vireid.plugins.necks.correspondence_concat import CorrespondenceConcat


def test_visible_images_come_first_whatever_the_order_of_the_streams():
    neck = CorrespondenceConcat([FeatureSpec(3, 'map', 'paired')])
    visible, infrared = torch.ones(2, 3, 4, 4), torch.zeros(5, 3, 4, 4)
    joint = neck({INFRARED: infrared, VISIBLE: visible}, context=Context({}))
    assert torch.equal(joint, torch.cat([visible, infrared]))
    assert neck.output == FeatureSpec(3, 'map', 'joint')


def test_one_modality_is_passed_on():
    neck = CorrespondenceConcat([FeatureSpec(3, 'vector', 'paired')])
    infrared = torch.randn(2, 3)
    assert torch.equal(neck({INFRARED: infrared}, context=Context({})), infrared)
