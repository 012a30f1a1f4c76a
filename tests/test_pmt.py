"""The schedule of PMT: what is gray, which losses are computed, and the learning rate, epoch by epoch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.types import INFRARED, VISIBLE, Batch, Context, HeadOutput, Progress
from vireid.launch.fabric import make_fabric
from vireid.plugin_manager.manager import create_manager

pytest.importorskip('timm')
PMT = Path(__file__).parents[1] / 'configs' / 'systems' / 'pmt.py'
OPTIONS = [
    'model.backbone.network=test_vit', 'model.backbone.weights=None', 'images.size=[64,32]', 'dataset.root=/none',
    'training.accelerator=cpu', 'training.precision=32-true',
]  # fmt: skip


@pytest.fixture(scope='module')
def made() -> Experiment:
    return Experiment.from_config(config.load(PMT, OPTIONS), create_manager())


@pytest.fixture(scope='module')
def model(made: Experiment) -> Any:
    torch.manual_seed(0)
    return made.build_model(4)


def at(epoch: int) -> Progress:
    return Progress(epoch, 10 * epoch, 10, 240)


def test_visible_images_are_gray_in_the_first_six_epochs(made: Experiment) -> None:
    transform = made.build_transform('train')
    shade = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    image = torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None].expand(3, 64, 32)
    for epoch, gray in ((0, True), (5, True), (6, False), (23, False)):
        found = transform(image, modality=VISIBLE, progress=at(epoch)) * shade[1] + shade[0]
        # the median pixel, as up to 40% of the image is erased
        spread = (found.amax(dim=0) - found.amin(dim=0)).median().item()
        assert spread == pytest.approx(0 if gray else 150 / 255, abs=1e-5)


def test_losses_change_with_the_epoch(model: Any) -> None:
    task = model.tasks['stage4']
    assert [task.active(None, at(epoch)) for epoch in (0, 5)] == [('id', 'within')] * 2
    assert [task.active(None, at(epoch)) for epoch in (6, 23)] == [('id', 'tri', 'msel', 'dcl')] * 2
    torch.manual_seed(0)
    labels = torch.arange(4).repeat_interleave(2)
    images = {m: torch.randn(8, 3, 64, 32) for m in (VISIBLE, INFRARED)}
    model.eval()  # no dropout
    joint = model.backbone(images)['stage4'].detach()
    output: HeadOutput = task.head(joint)
    for epoch in (5, 6):
        (total,) = model(Batch(images, dict.fromkeys(images, labels), progress=at(epoch))).values()
        cross = torch.nn.functional.cross_entropy
        expected = cross(output.logits[:8], labels) + cross(output.logits[8:], labels)
        both = torch.cat([labels, labels])
        triplet, context = task.losses['tri'], Context({VISIBLE: 8, INFRARED: 8}, both)
        if epoch == 5:
            expected = expected + sum(triplet(HeadOutput(joint[rows]), labels) for rows in (slice(8), slice(8, 16)))
        else:
            expected = expected + triplet(HeadOutput(joint), both) + 0.5 * task.losses['dcl'](HeadOutput(joint), both)
            expected = expected + 0.5 * task.losses['msel'](HeadOutput(joint), both, context)
        assert total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_learning_rates_are_within_nine_percent_of_the_released_schedule(made: Experiment, model: Any) -> None:
    own = made.build_step(model, make_fabric(made.training)).optimization
    optimizer, schedules = own.optimizer, own.schedules['epoch']
    names = {id(p): n for n, p in model.named_parameters()}
    groups = [{names[id(p)] for p in group['params']} for group in optimizer.param_groups]
    assert groups[0] == {name for name in names.values() if '.patch_embed.' in name}
    assert groups[1] == {name for name in names.values() if '.blocks_' in name}
    for epoch in range(24):
        t, least = epoch + 1, 3e-6
        for group, base in zip(optimizer.param_groups, (1.5e-4, 1.5e-4, 3e-4), strict=True):
            released = (
                least + t * (base - least) / 3
                if t < 3
                else least + (base - least) / 2 * (1 + math.cos(math.pi * t / 24))
            )
            assert group['lr'] == pytest.approx(released, rel=0.09)
        optimizer.step()
        for schedule in schedules:
            schedule.step()
