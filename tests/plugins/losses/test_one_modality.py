"""OneModality computes a loss on the rows of a modality."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugin_manager.manager import create_manager


def build(**config):
    return create_manager().components.build('losses', {'type': 'OneModality', **config}, where='loss')


def test_it_is_the_loss_of_these_rows_alone():
    torch.manual_seed(0)
    output = HeadOutput(torch.randn(5, 2), torch.randn(5, 3))
    identities = torch.tensor([0, 1, 2, 0, 1])
    context = Context({VISIBLE: 2, INFRARED: 3}, identities)
    for modality, rows in ((VISIBLE, slice(0, 2)), (INFRARED, slice(2, 5))):
        wanted = torch.nn.functional.cross_entropy(output.logits[rows], identities[rows])
        assert torch.allclose(build(modality=modality)(output, identities, context), wanted)


def test_a_loss_with_context_gets_that_of_these_rows():
    output = HeadOutput(torch.randn(6, 2))
    identities = torch.tensor([0, 1, 0, 0, 1, 1])
    context = Context({VISIBLE: 2, INFRARED: 4}, identities)
    loss = {'type': 'CrossModalCosineTriplet', 'among': [INFRARED]}
    own = build(modality=INFRARED, loss=loss)(output, identities, context)
    alone = create_manager().components.build('losses', loss, where='loss')
    assert torch.equal(
        own, alone(HeadOutput(output.feature[2:]), identities[2:], Context({INFRARED: 4}, identities[2:]))
    )


def test_a_batch_without_the_modality_is_refused():
    output = HeadOutput(torch.randn(2, 2), torch.randn(2, 3))
    with pytest.raises(Mismatch, match=r'OneModality .*infrared'):
        build(modality=INFRARED)(output, torch.tensor([0, 1]), Context({VISIBLE: 2}, torch.tensor([0, 1])))
