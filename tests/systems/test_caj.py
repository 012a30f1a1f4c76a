"""CAJ's config: the view, its stream, the loss over three modalities, and the parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.types import INFRARED, VISIBLE, Batch, HeadOutput
from vireid.errors import UnknownName
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.losses.enhanced_squared_difference import EnhancedSquaredDifference
from vireid.runtime.randomness import seeded

CAJ = Path(__file__).parents[2] / 'configs' / 'systems' / 'caj.py'


def experiment(*overrides: str) -> Experiment:
    read = config.load(CAJ, ['model.backbone.weights=None', 'dataset.root=/none', *overrides])
    return Experiment.from_config(read, create_manager())


def test_the_view_shares_the_visible_stream_and_costs_no_parameters():
    with torch.device('meta'):
        model = experiment().build_model(395)
    assert set(model.backbone.streams) == {VISIBLE, INFRARED}
    assert model.backbone.stream_of['channel'] == VISIBLE
    # ResNet-50, a second stem, five non-local blocks, BNNeck, classifier, GeM's exponent
    parameters = 23_508_032 + (9_408 + 128) + 7_354_368 + 2 * 2048 + 2048 * 395 + 1
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_a_misspelled_stream_is_refused():
    with pytest.raises(UnknownName, match=r"'channel' .*'visble'"):
        experiment('model.backbone.streams={"channel": "visble"}').build_model(3)


@pytest.mark.parametrize('seed', range(4))
def test_the_view_is_gray_the_visible_image_is_not_and_the_infrared_one_changes(seed):
    made = experiment('images.size=[32, 16]')
    train, (of, view) = made.build_transform('train'), made.build_views()['channel']
    assert of == VISIBLE
    image = torch.randint(256, (3, 40, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    with seeded(seed):
        seen = view(image.clone())
        shown = train(image.clone(), modality=VISIBLE)
    assert seen.shape == shown.shape == (3, 32, 16)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(shown[0], shown[1])


def test_infrared_images_of_equal_channels_vary():
    """`Normalize` gives equal channels different values, of which one is copied, unless the image stays as it is."""
    made = experiment('images.size=[8, 4]')
    train, image = made.build_transform('train'), torch.full((3, 8, 4), 99, dtype=torch.uint8)
    with seeded(0):
        found = [train(image.clone(), modality=INFRARED)[:, 4, 2] for _ in range(200)]
    levels = {tuple(round(v, 3) for v in value.tolist()) for value in found}
    wanted = [(99 / 255 - mean) / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    copied = {(round(v, 3),) * 3 for v in wanted}
    assert copied < levels
    assert tuple(round(v, 3) for v in wanted) in levels


def test_the_loss_is_over_the_images_of_all_three():
    torch.manual_seed(0)
    small = ['model.backbone.depth=18', 'images.size=[48, 16]', 'model.backbone.out_stages=[4]']
    model = experiment(*small).build_model(3).double().train()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    names = (VISIBLE, INFRARED, 'channel')
    images = {m: torch.randn(6, 3, 48, 16, dtype=torch.float64) for m in names}
    outputs: list[HeadOutput] = []
    model.tasks['stage4'].head.register_forward_hook(lambda *hooked: outputs.append(hooked[2]))
    loss = model(Batch(images, dict.fromkeys(names, labels), {}))['stage4']
    every = labels.repeat(3)
    feature, logits = outputs[0].feature, outputs[0].logits
    assert feature.shape == (18, 512)
    assert logits is not None
    expected = torch.nn.functional.cross_entropy(logits, every) + EnhancedSquaredDifference()(outputs[0], every)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    assert experiment().evaluation.flip
