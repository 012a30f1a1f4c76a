"""ContrastiveCorrelation ranks, in chunks, by the same similarity as in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.heads.correlation_head import CorrelationHead
from vireid.plugins.similarities import contrastive_correlation
from vireid.plugins.similarities.contrastive_correlation import ContrastiveCorrelation


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    head = CorrelationHead([FeatureSpec(7, 'map', size=(3, 2))], num_identities=3, channels=5, kernels=2)
    return nn.ModuleDict({'head': head}).eval()


def embed(model: nn.Module, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return nn.functional.normalize(model['head'].embed(images), dim=1).numpy()


def test_is_what_the_head_compares_in_training(model):
    images = torch.randn(9, 7, 3, 2)
    embeddings = embed(model, images)
    found = ContrastiveCorrelation(model).similarity(embeddings[:4], embeddings[4:])(slice(None))
    with torch.no_grad():
        wanted = model['head'](images)['pairs'].feature[:4, 4:].numpy()
    assert found.shape == (4, 5)
    assert np.allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize('chunk', [1, 100, 10**6])
def test_chunks_change_nothing(model, monkeypatch, chunk):
    embeddings = embed(model, torch.randn(20, 7, 3, 2))
    whole = ContrastiveCorrelation(model).similarity(embeddings[:9], embeddings[9:])(slice(None))
    sizes = []
    own = contrastive_correlation.contrast

    def counted(*parts):
        sizes.append(len(parts[0]))
        return own(*parts)

    monkeypatch.setattr(contrastive_correlation, 'CHUNK', chunk)
    monkeypatch.setattr(contrastive_correlation, 'contrast', counted)
    rows = ContrastiveCorrelation(model).similarity(embeddings[:9], embeddings[9:])
    assert np.allclose(np.concatenate([rows(slice(0, 4)), rows(slice(4, 9))]), whole, atol=1e-5)
    # 2 kernels x 6 cells x 11 gallery images are 132 numbers per query
    assert max(sizes) == max(1, min(5, chunk // 132))
    assert rows(slice(3, 3)).shape == (0, 11)


def test_equal_gallery_images_tie(model):
    embeddings = embed(model, torch.randn(12, 7, 3, 2))
    gallery = embeddings[[4, 7, 4, 9, 11, 7]]
    found = ContrastiveCorrelation(model).similarity(embeddings[:4], gallery)(slice(None))
    assert (found[:, 0] == found[:, 2]).all()
    assert (found[:, 1] == found[:, 5]).all()
    assert len(set(found[0])) == 4


def test_sizes_may_be_given_instead_of_a_model_with_the_head(model):
    embeddings = embed(model, torch.randn(6, 7, 3, 2))
    of_head = ContrastiveCorrelation(model).similarity(embeddings[:2], embeddings[2:])(slice(None))
    given = ContrastiveCorrelation(nn.Module(), channels=5, kernels=2).similarity(embeddings[:2], embeddings[2:])
    assert np.array_equal(given(slice(None)), of_head)


def test_what_cannot_be_compared_is_refused(model):
    with pytest.raises(Mismatch, match=r'CorrelationHead.* 0\n'):
        ContrastiveCorrelation(nn.Linear(2, 2))
    for length in (10, 21):  # no cell is left; not a multiple of 5
        with pytest.raises(Mismatch, match=f' {length}\n'):
            ContrastiveCorrelation(model).similarity(np.ones((1, length), np.float32), np.ones((1, length), np.float32))
