"""StripeHead: the part features of HcTri."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import batch_norm

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch
from vireid.plugin_manager.manager import create_manager

COMPONENTS = create_manager().components


def head(*inputs: FeatureSpec, identities: int = 5, **arguments: Any) -> Any:
    return COMPONENTS.build(
        'heads', {'type': 'StripeHead', **arguments}, where='model.heads.stage4', inputs=inputs,
        num_identities=identities,
    )  # fmt: skip


@pytest.mark.parametrize('training', [True, False])
def test_equals_the_definition_stripe_by_stripe(training):
    torch.manual_seed(0)
    made = head(FeatureSpec(4, 'map', size=(6, 2)), parts=3, channels=5, pool='Max').double().train(training)
    feature = torch.randn(7, 4, 6, 2, dtype=torch.float64)
    norms = [(reduction[1].running_mean.clone(), reduction[1].running_var.clone()) for reduction in made.reductions]
    found = made(feature)
    vectors, logits = [], []
    for part in range(3):
        pooled = feature[:, :, 2 * part : 2 * part + 2].amax(dim=(2, 3))
        reduction, classifier = made.reductions[part], made.classifiers[part]
        reduced = batch_norm(pooled @ reduction[0].weight.T, *norms[part], training=training)
        vectors.append(reduced.clamp_min(0))
        logits.append(vectors[-1] @ classifier.weight.T + classifier.bias)
    assert torch.allclose(found['parts'].feature, torch.stack(vectors, dim=1), rtol=0, atol=1e-10)
    assert torch.allclose(found['parts'].logits, torch.stack(logits, dim=1), rtol=0, atol=1e-10)
    assert torch.allclose(found['whole'].feature, torch.cat(vectors, dim=1), rtol=0, atol=1e-10)
    assert found['whole'].logits is None
    assert made.outputs == {'parts': 3, 'whole': 0}


def test_embeds_the_concatenated_stripes():
    made = head(FeatureSpec(4, 'map', size=(6, 2)), parts=3, channels=5).eval()
    feature = torch.rand(2, 4, 6, 2)
    assert made.embedding_dim == 15
    assert torch.equal(made.embed(feature), made(feature)['whole'].feature)


def test_the_papers_parameters():
    made = head(FeatureSpec(2048, 'map', size=(18, 9)), identities=395, pool={'type': 'GeM', 'learn': False})
    # six times: 2048 x 256 weights, 256 scales and shifts each, a classifier of 256 x 395 weights and 395 biases
    assert sum(p.numel() for p in made.parameters() if p.requires_grad) == 6 * (524_288 + 512 + 101_120 + 395)
    assert made.embedding_dim == 1536


@given(height=st.integers(1, 40), parts=st.integers(1, 12))
def test_shared_rows(height, parts):
    stripes = head(FeatureSpec(1, 'map', size=(height, 1)), parts=parts, channels=1, share_rows=True)._stripes(height)
    rows = [list(range(first, last)) for first, last in stripes]
    assert len(rows) == parts
    assert {row for stripe in rows for row in stripe} == set(range(height))
    if height % parts == 0:
        assert [row for stripe in rows for row in stripe] == list(range(height))
    # as torch's adaptive pooling, which has the same cells
    image = torch.arange(height, dtype=torch.float64)[None, None, :, None]
    means = torch.nn.functional.adaptive_avg_pool2d(image, (parts, 1)).flatten()
    assert means.tolist() == pytest.approx([sum(stripe) / len(stripe) for stripe in rows])


@pytest.mark.parametrize(
    ('height', 'allowed'),
    [(17, ': 1, 17'), (16, ': 1, 2, 4, 8, 16'), (3, ': 1, 3')],
)
def test_a_height_that_six_does_not_divide_is_refused(height, allowed):
    with pytest.raises(Mismatch, match=rf'parts is 6, .* {height} rows[\s\S]*{allowed}\n.*share_rows'):
        head(FeatureSpec(4, 'map', size=(height, 2)))
    unknown = head(FeatureSpec(4, 'map'))
    with pytest.raises(Mismatch, match=f'parts is 6, .* {height} rows'):
        unknown(torch.rand(2, 4, height, 2))


def test_a_vector_is_refused():
    with pytest.raises(Mismatch, match=r'StripeHead .*vector of 4'):
        head(FeatureSpec(4))
