"""GSM ranks by the measure of training, whatever the roles of the modalities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Context, FeatureSpec, Sample, Trial
from vireid.errors import Mismatch
from vireid.plugins.necks.generalized_similarity import GeneralizedSimilarity, generalized_similarity
from vireid.plugins.similarities.gsm import GSM

COUNTS = {VISIBLE: 5, INFRARED: 3}
SAMPLES = {m: tuple(Sample(f'{m}{i}', i, 1, m) for i in range(COUNTS[m])) for m in MODALITIES}


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    neck = GeneralizedSimilarity([FeatureSpec(4)], dict.fromkeys(MODALITIES, 3))
    for parameter in neck.parameters():
        nn.init.normal_(parameter)
    return nn.ModuleDict({'gsm': neck}).eval()


def embed(model: nn.Module) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {m: model['gsm'](torch.randn(COUNTS[m], 4), Context({m: COUNTS[m]})) for m in MODALITIES}


def compare(model: nn.Module, rows: dict[str, torch.Tensor], query: str, gallery: str) -> np.ndarray:
    trial = Trial(f'{query} to {gallery}', 0, SAMPLES[query], SAMPLES[gallery])
    unit = {m: nn.functional.normalize(of, dim=1).numpy() for m, of in rows.items()}  # as the evaluator does
    return GSM(model).similarity(unit[query], unit[gallery], trial)(slice(None))


def test_is_minus_the_measure_of_training(model):
    rows = embed(model)
    found = compare(model, rows, INFRARED, VISIBLE)
    assert found.shape == (3, 5)
    wanted = -generalized_similarity(rows[VISIBLE].double(), rows[INFRARED].double()).T.numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_exchanging_query_and_gallery_transposes_it(model):
    rows = embed(model)
    np.testing.assert_allclose(
        compare(model, rows, INFRARED, VISIBLE), compare(model, rows, VISIBLE, INFRARED).T, rtol=1e-6
    )


def test_a_flipped_image_is_averaged_with_its_mirror_image_before_it_is_compared(model):
    rows, mirrored = embed(model), embed(model)
    mean = {m: (rows[m] + mirrored[m]) / 2 for m in MODALITIES}
    both = {m: rows[m] + mirrored[m] for m in MODALITIES}
    np.testing.assert_allclose(
        compare(model, both, INFRARED, VISIBLE), compare(model, mean, INFRARED, VISIBLE), rtol=1e-5
    )


def test_equal_gallery_images_tie_and_slices_change_nothing(model):
    rows = embed(model)
    rows[VISIBLE][4] = rows[VISIBLE][1]
    found = compare(model, rows, INFRARED, VISIBLE)
    assert (found[:, 4] == found[:, 1]).all()
    chosen = GSM(model).similarity(rows[INFRARED].numpy(), rows[VISIBLE].numpy())(slice(1, 3))
    np.testing.assert_allclose(chosen, found[1:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('modality', MODALITIES)
def test_one_modality_as_query_and_gallery_is_refused(model, modality):
    with pytest.raises(Mismatch, match=rf'GSM .*\b{modality} images\n'):
        compare(model, embed(model), modality, modality)


def test_embeddings_of_another_kind_are_refused(model):
    unit = np.ones((2, 12), dtype=np.float32)
    with pytest.raises(Mismatch, match=r'GSM .*length 12 .*GeneralizedSimilarity'):
        GSM(model).similarity(unit, unit)
    with pytest.raises(Mismatch, match=r'GSM .*GeneralizedSimilarity.* 0\n'):
        GSM(nn.Linear(2, 2))
