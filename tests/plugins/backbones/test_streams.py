"""TwoStreams with stages that can be computed by hand, and first convolutions with other numbers of channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vireid.core.types import INFRARED, VISIBLE, FeatureSpec
from vireid.errors import Mismatch, UnknownName, WrongValue
from vireid.plugins.backbones.streams import TwoStreams, with_channels


class Add(nn.Module):
    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x):
        return x + self.number


class Sums(TwoStreams):
    """Stage s adds 10 ** s times the index of its copy: 1 for the first copy built, 2 for the second, ..."""

    def __init__(self, shared_from: int, out_stages=(4,), **arguments) -> None:
        super().__init__(shared_from, out_stages, **arguments)
        self.built: list[int] = []
        self.add_stages(self._build)

    def _build(self, channels: int) -> dict[str, nn.Module]:
        self.built.append(channels)
        return {f'stage{s}': Add(10.0**s * len(self.built)) for s in range(5)}


IMAGES = {VISIBLE: torch.zeros(1, 3, 1, 1), INFRARED: torch.zeros(2, 3, 1, 1)}


def values(made) -> list[float]:
    return made[:, 0, 0, 0].tolist()


def test_one_network_for_all():
    assert values(Sums(0)(IMAGES)['stage4']) == [33333] * 3  # the third copy is the shared one


def test_streams_then_shared_stages():
    made = Sums(2, (1, 3))(IMAGES)
    assert {m: values(x) for m, x in made['stage1'].items()} == {VISIBLE: [11], INFRARED: [22, 22]}
    assert values(made['stage3']) == [3311, 3322, 3322]


def test_nothing_shared():
    made = Sums(5)(IMAGES)['stage4']
    assert {m: values(x) for m, x in made.items()} == {VISIBLE: [11111], INFRARED: [22222] * 2}


def test_joint_maps_are_in_joint_order_whatever_the_order_of_the_images():
    assert values(Sums(2)(dict(reversed(IMAGES.items())))['stage4']) == [33311, 33322, 33322]


def test_a_modality_without_a_stream_takes_another_ones():
    network = Sums(1, modalities={VISIBLE: 3, INFRARED: 3, 'x': 3}, streams={'x': INFRARED})
    assert len(network.built) == 3
    assert values(network({**IMAGES, 'x': torch.zeros(1, 3, 1, 1)})['stage4']) == [33331, 33332, 33332, 33332]


@pytest.mark.parametrize('shared_from', [0, 2, 5])
def test_a_copy_is_built_for_each_stream_and_one_to_share(shared_from):
    channels = {VISIBLE: 3, INFRARED: 3 if shared_from == 0 else 1}
    network = Sums(shared_from, (3,), modalities=channels)
    assert network.built == [channels[VISIBLE], channels[INFRARED], channels[VISIBLE]]
    assert set(network.streams) == ({VISIBLE, INFRARED} if shared_from else set())
    assert set(network.shared) == {f'stage{s}' for s in range(shared_from, 4)}


def test_maps_that_are_made_otherwise_are_turned_as_they_are_handed_on_and_not_in_between():
    class Negated(Sums):
        def as_map(self, stage, made):
            return -made

    made = Negated(2, (1, 4))(IMAGES)
    assert values(made['stage1'][VISIBLE]) == [-11]
    assert values(made['stage4']) == [-33311, -33322, -33322]


def test_a_stage_is_joint_from_where_weights_are_shared():
    network = Sums(3)
    assert network.spec(2, 8, (4, 2)) == FeatureSpec(8, 'map', 'paired', (4, 2))
    assert network.spec(3, 8, None) == FeatureSpec(8, 'map', 'joint')


@pytest.mark.parametrize(
    ('arguments', 'kind', 'fact'),
    [
        ({'shared_from': 6}, WrongValue, 'shared_from.*6'),
        ({'shared_from': 1, 'out_stages': (0,)}, WrongValue, r'out_stages.*\(0,\)'),
        ({'shared_from': 1, 'modalities': {VISIBLE: 5}}, WrongValue, "'visible': 5"),
        ({'shared_from': 1, 'streams': {'x': VISIBLE}}, UnknownName, "streams: 'x'"),
        ({'shared_from': 0, 'modalities': {VISIBLE: 3, INFRARED: 1}}, Mismatch, 'shared_from=1'),
    ],
)
def test_what_does_not_exist_is_refused(arguments, kind, fact):
    with pytest.raises(kind, match=fact):
        Sums(**arguments)


@pytest.mark.parametrize('channels', [1, 2, 4])
def test_a_first_convolution_of_another_width_gives_for_gray_images_what_it_gave(channels):
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 5, 3)
    gray = torch.randn(2, 1, 6, 4)
    expected = convolution(gray.expand(-1, 3, -1, -1))
    with_channels(convolution, channels)
    assert convolution.weight.shape == (5, channels, 3, 3)
    assert torch.allclose(convolution(gray.expand(-1, channels, -1, -1)), expected, atol=1e-6)


def test_by_hand_it_is_the_sum_for_one_channel_half_of_it_for_two_and_colors_with_their_mean_for_four():
    for channels, weights in ((1, [6.0]), (2, [3.0, 3.0]), (3, [1.0, 2.0, 3.0]), (4, [0.75, 1.5, 2.25, 1.5])):
        convolution = nn.Conv2d(3, 1, 1, bias=False)
        with torch.no_grad():
            convolution.weight.copy_(torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1))
        with_channels(convolution, channels)
        assert convolution.weight.flatten().tolist() == weights
