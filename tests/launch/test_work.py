"""What a step takes, against numbers worked out by hand, and against a step that is really computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from vireid.core.config.overrides import Overrides
from vireid.launch.resolve import resolve
from vireid.launch.work import Counter, Work, count_work
from vireid.plugin_manager.manager import create_manager

CONFIGS = Path(__file__).parents[2] / 'configs'
SMALL = ['model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[48,24]']


def work_of(config: str, *options: str) -> Work:
    overrides = Overrides(options=[*SMALL, *options])
    return count_work(resolve(CONFIGS / f'{config}.py', overrides, manager=create_manager()), 10)


@pytest.fixture(scope='module')
def tffn() -> Work:
    return work_of('tffn_sysu')


@pytest.mark.parametrize('skip', [False, True])
class TestCounter:
    def test_a_convolution_and_a_product_by_hand(self, skip):
        convolution, linear = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Linear(8, 5, bias=False)
        images = torch.randn(2, 3, 6, 4, requires_grad=True)
        with Counter(nn.ModuleList([convolution, linear]), skip) as counter:
            linear(convolution(images).mean(dim=(2, 3))).sum().backward()
        forward = 2 * (2 * 6 * 4) * 8 * 3 * 9  # 2 operations at each of 6 x 4 places of 2 images
        product = 2 * 2 * 8 * 5
        assert counter.convolutions == 3 * forward  # backward: to the input and to the weights
        assert counter.operations == 3 * (forward + product)

    def test_attention_on_a_cpu_by_hand(self, skip):
        queries, keys, values = torch.randn(3, 1, 2, 7, 4, requires_grad=True)  # 2 heads of 4, 7 places
        with Counter(nn.Module(), skip) as counter:
            scaled_dot_product_attention(queries, keys, values).sum()
        assert counter.operations == 2 * 2 * (2 * 7 * 7 * 4)  # similarities and weighted sums, of 2 heads

    def test_views_are_no_kernels(self, skip):
        images = torch.randn(2, 3)
        with Counter(nn.Module(), skip) as counter:
            (images.view(6).t() + 1).relu()
        assert counter.kernels == 2


def test_skipped_outputs_have_the_shapes_of_the_real_ones():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4))
    images = torch.randn(2, 3, 9, 7)
    with Counter(layers, skip=True):
        skipped = layers(images)
    assert skipped.shape == layers(images).shape
    assert not skipped.any()


class TestStep:
    def test_a_step_takes_about_three_forward_passes(self, tffn):
        assert tffn.images == 32
        # embedding needs no classifier; the gradient of the first convolution's input is not computed
        assert tffn.convolutions + tffn.products == pytest.approx(3 * tffn.embedding, rel=0.05)

    def test_a_larger_batch_takes_more_of_everything_but_weights(self, tffn):
        more = work_of('tffn_sysu', 'sampler.identities=8')
        assert more.images == 2 * tffn.images
        assert more.operations == pytest.approx(2 * tffn.operations)
        assert more.weights == tffn.weights
        assert more.memory - more.weights == pytest.approx(2 * (tffn.memory - tffn.weights))

    def test_weights_gradients_and_momentum_are_counted(self, tffn):
        adam = work_of('tffn_sysu', 'step.optimizer={"type": "Adam", "lr": 0.001}')
        assert adam.weights == pytest.approx(tffn.weights * 4 / 3, rel=0.01)  # two moments instead of one momentum

    def test_a_loss_of_later_epochs_counts_for_its_share_of_the_run(self, tffn):
        triplets = 'model.heads.mlfm.losses.tri.epochs=({},None)'
        half, rarely = (work_of('tffn_sysu', triplets.format(n), 'training.epochs=100') for n in (50, 99))
        assert half.operations == pytest.approx(tffn.operations, rel=0.001)
        assert rarely.kernels < half.kernels

    def test_bf16_keeps_fewer_bytes(self, tffn):
        half = work_of('tffn_sysu', 'training.precision=bf16-mixed')
        assert half.activations < 0.8 * tffn.activations
        assert half.weights == pytest.approx(tffn.weights * (1 + 0.5 / 3), rel=0.01)  # with a copy in 16 bits

    def test_a_model_without_training_only_embeds(self):
        options = Overrides(options=['images.size=[48,24]'])
        work = count_work(resolve(CONFIGS / 'systems/hog.py', options, manager=create_manager()), 10)
        assert work.images == work.operations == 0
