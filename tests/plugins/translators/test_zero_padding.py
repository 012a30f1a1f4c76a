"""Deep zero-padding puts each modality into its own channel."""

from __future__ import annotations

import torch

from vireid.core.types import INFRARED, VISIBLE, Batch
from vireid.plugins.translators.zero_padding import ZeroPadding


def test_gray_in_ones_own_channel_and_zeros_in_the_other():
    padding = ZeroPadding({VISIBLE: 3, INFRARED: 3})
    assert padding.modalities == {VISIBLE: 2, INFRARED: 2}
    visible = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)
    infrared = torch.tensor([4.0, 4.0, 4.0]).view(1, 3, 1, 1)
    identities = {VISIBLE: torch.tensor([0]), INFRARED: torch.tensor([0])}
    found = padding(Batch({VISIBLE: visible, INFRARED: infrared}, identities))
    assert found.images[VISIBLE].flatten().tolist() == [3.0, 0.0]
    assert found.images[INFRARED].flatten().tolist() == [0.0, 4.0]
    assert found.identities is identities


def test_one_modality_alone_is_padded_alike():
    padding = ZeroPadding({VISIBLE: 3, INFRARED: 3})
    found = padding(Batch({INFRARED: torch.ones(2, 3, 4, 2)}, {}))
    assert found.images[INFRARED].shape == (2, 2, 4, 2)
    assert not found.images[INFRARED][:, 0].any()
