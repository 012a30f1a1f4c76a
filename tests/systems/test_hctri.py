"""HcTri's config: its loss as a sum over stripes, its parameters, and RegDB's settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.types import INFRARED, VISIBLE, Batch
from vireid.errors import Mismatch
from vireid.plugin_manager.manager import create_manager

HCTRI = Path(__file__).parents[2] / 'configs' / 'systems' / 'hctri.py'
SMALL = ['model.backbone.depth=18', 'images.size=[96, 16]']
REGDB = [
    'sampler.identities=8', 'sampler.visible=4', 'sampler.infrared=4',
    'model.heads.stage4.pool.p=10', 'model.heads.stage4.pool.eps=0.063',
    'model.heads.stage4.losses.tri.weight=2', 'model.heads.stage4.losses.id.label_smoothing=0.1',
]  # fmt: skip


def experiment(*overrides: str) -> Experiment:
    read = config.load(HCTRI, ['model.backbone.weights=None', 'dataset.root=/none', *overrides])
    return Experiment.from_config(read, create_manager())


def test_parameters():
    with torch.device('meta'):
        model = experiment().build_model(395)
    # ResNet-50, a second stem and stage 1; the stripes are counted in the test of StripeHead; GeM's exponent
    parameters = 23_508_032 + 9_536 + 215_808 + 3_757_890 + 1
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.embedding_dim == 1536


def hetero_center(feature: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """For rows of K visible, then K infrared images of each identity, by chunks as in the paper's batches."""
    half = len(labels)
    centers = [feature[start:][:half][labels == i].mean(dim=0) for start in (0, half) for i in labels.unique()]
    persons = [i for _ in range(2) for i in labels.unique().tolist()]
    terms = []
    for own, center in enumerate(centers):
        distances = [(center - other).norm() for other in centers]
        positive = distances[(own + len(centers) // 2) % len(centers)]
        negative = min(d for d, person in zip(distances, persons, strict=True) if person != persons[own])
        terms.append((0.3 + positive - negative).clamp_min(0))
    return torch.stack(terms).mean()


@pytest.mark.parametrize(('overrides', 'weight', 'smoothing'), [([], 1, 0.0), (REGDB, 2, 0.1)], ids=['SYSU', 'RegDB'])
def test_the_loss_is_that_of_the_stripes_and_of_their_concatenation(overrides, weight, smoothing):
    torch.manual_seed(0)
    model = experiment(*SMALL, *overrides).build_model(3).double().train()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    images = {m: torch.randn(6, 3, 96, 16, dtype=torch.float64) for m in (VISIBLE, INFRARED)}
    outputs = []
    model.tasks['stage4'].head.register_forward_hook(lambda *hooked: outputs.append(hooked[2]))
    loss = model(Batch(images, dict.fromkeys(images, labels), {}))['stage4']
    parts, whole = outputs[0]['parts'], outputs[0]['whole'].feature
    assert parts.feature.shape == (12, 6, 256)
    assert whole.shape == (12, 1536)
    every = labels.repeat(2)
    identity = sum(
        torch.nn.functional.cross_entropy(parts.logits[:, p], every, label_smoothing=smoothing) for p in range(6)
    )
    centers = sum(hetero_center(parts.feature[:, p], labels) for p in range(6))
    expected = identity + weight * centers + hetero_center(whole, labels)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)


def test_a_batch_of_one_modality_or_one_identity_trains_the_classifiers_alone():
    torch.manual_seed(0)
    model = experiment(*SMALL).build_model(3).train()
    images = torch.randn(6, 3, 96, 16)
    for batch in (
        Batch({VISIBLE: images}, {VISIBLE: torch.tensor([0, 0, 1, 1, 2, 2])}, {}),
        Batch(
            {VISIBLE: images[:3], INFRARED: images[3:]}, dict.fromkeys((VISIBLE, INFRARED), torch.zeros(3).long()), {}
        ),
    ):
        model.tasks['stage4'].weights.update(id=0.0)
        assert model(batch)['stage4'].item() == 0


def test_stripes_share_rows_in_small_images_and_without_it_the_error_says_so():
    small = ['images.size=[96, 48]', 'model.backbone.depth=18', 'model.backbone.last_stride=2']
    assert experiment(*small).build_model(3).embedding_dim == 1536
    with pytest.raises(Mismatch, match=r'model\.heads\.stage4: parts is 6, .* 3 rows'):
        experiment(*small, 'model.heads.stage4.share_rows=False').build_model(3)
