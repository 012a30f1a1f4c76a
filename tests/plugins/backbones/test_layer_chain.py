"""Networks as chains of modules: the links, the end of the chain, and the split into stages."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from vireid.plugins.backbones.layer_chain import LayerChain, Link, find_chain, quarters


def halve(channels: int, given: int = 4) -> nn.Conv2d:
    return nn.Conv2d(given, channels, 3, 2, 1)


class Network(nn.Module):
    """Strides 2, 4 and 8; the argument is inserted between the last two."""

    def __init__(self, between=lambda x: x, head=lambda x: x) -> None:
        super().__init__()
        self.stem = nn.Sequential(halve(4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.body = nn.Sequential(nn.Sequential(halve(4), nn.Dropout(0.5)))
        self.last = halve(6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 2)
        self.between, self.head = between, head

    def forward(self, x):
        x = self.last(self.between(self.body(self.stem(x))))
        return self.fc(self.pool(self.head(x)).flatten(1))


def chain_of(network: nn.Module, height: int = 64, width: int = 32) -> LayerChain:
    return find_chain(network, torch.zeros(1, 3, height, width))


def names(chain: LayerChain) -> list[str]:
    return [link.name for link in chain.links]


WHOLE = ['stem.0', 'stem.1', 'stem.2', 'body.0.0', 'body.0.1', 'last']


def test_sequentials_are_opened_and_it_ends_before_pooling():
    found = chain_of(Network())
    assert names(found) == WHOLE
    assert found.broken is None
    assert [link.octave for link in found.links] == [1, 1, 1, 2, 2, 3]
    assert [link.channels for link in found.links] == [4, 4, 4, 4, 4, 6]


@pytest.mark.parametrize(
    'between',
    [lambda x: x + 1, functional.relu, lambda x: x.relu_(), lambda x: x.add_(1), lambda x: x[:]],
    ids=['plus', 'relu', 'relu in place', 'plus in place', 'a view'],
)
def test_anything_between_two_modules_breaks_it_even_in_place(between):
    found = chain_of(Network(between))
    assert names(found) == WHOLE[:-1]
    assert found.broken == 'last'


def test_what_functions_do_to_the_last_map_does_not_break_it():
    assert chain_of(Network(head=functional.relu)).broken is None


def test_a_module_given_two_tensors_is_no_link():
    class Two(nn.Module):
        def forward(self, x, other):
            return x + other

    class Skip(Network):
        def __init__(self):
            super().__init__()
            self.add = Two()

        def forward(self, x):
            x = self.stem(x)
            return self.last(self.add(x, x))

    found = chain_of(Skip())
    assert (names(found), found.broken) == (WHOLE[:3], 'add')


def test_a_sequential_with_a_forward_of_its_own_is_a_link_as_a_whole():
    class Residual(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    network = nn.Sequential(halve(4, 3), Residual(nn.Conv2d(4, 4, 1)))
    assert names(chain_of(network)) == ['0', '1']


def test_maps_with_channels_last_are_recognized():
    class Permuted(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    network = nn.Sequential(halve(24, 3), Permuted(), nn.LayerNorm(24))
    assert [(link.channels, link.channels_last) for link in chain_of(network).links] == [
        (24, False),
        (24, True),
        (24, True),
    ]


def test_tokens_behind_the_last_map_break_it():
    class Tokens(nn.Module):
        def forward(self, x):
            return x.flatten(2).transpose(1, 2)

    found = chain_of(nn.Sequential(halve(4, 3), Tokens(), nn.LayerNorm(4)))
    assert (names(found), found.broken) == (['0'], '1')


def test_neither_random_numbers_nor_statistics_nor_the_mode_move():
    network = Network()
    before, state = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    chain_of(network)
    assert network.training
    assert all(module.training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_it_is_found_on_shapes_alone():
    with torch.device('meta'):
        assert chain_of(Network()) == find_chain(Network(), torch.zeros(1, 3, 64, 32))


def links(*octaves: int, holder: str = '') -> tuple[Link, ...]:
    return tuple(Link(f'{holder}{number}', octave, 8, False) for number, octave in enumerate(octaves))


def cut(chain: LayerChain) -> dict[int, list[str]]:
    return {s: [link.name for link in part] for s, part in chain.stages().items()}


def test_stages_end_with_the_last_link_of_their_stride():
    found = cut(LayerChain(links(0, 1, 1, 2, 2, 3, 4, 4, 5), None))
    assert found == {0: ['0', '1', '2'], 1: ['3', '4'], 2: ['5'], 3: ['6', '7'], 4: ['8']}


def test_a_stride_that_is_left_out_is_a_stage_that_is_not_there():
    assert list(cut(LayerChain(links(1, 2, 4), None))) == [0, 1, 3]


def test_the_stage_in_which_it_breaks_is_not_there():
    assert list(cut(LayerChain(links(1, 2, 3, 4), 'more'))) == [0, 1, 2]
    assert list(cut(LayerChain(links(1, 2, 3, 4), None))) == [0, 1, 2, 3]


def test_patches_with_their_norm_are_stage_0():
    embedding = links(2, 2, holder='stem.')
    assert cut(LayerChain(embedding + links(2, 3), None)) == {0: ['stem.0', 'stem.1'], 1: ['0'], 2: ['1']}
    assert cut(LayerChain(links(2, 2, 3), None)) == {0: ['0'], 1: ['1'], 2: ['2']}


def test_maps_of_one_stride_are_cut_into_four_equal_parts():
    assert cut(LayerChain(links(4, 4, 4, 4, 4, 4, 4), None)) == {
        0: ['0'],
        1: ['1', '2'],
        2: ['3'],
        3: ['4', '5'],
        4: ['6'],
    }
    assert cut(LayerChain(links(4, 4), None)) == {0: ['0'], 3: ['1']}  # too few links


def test_no_links_no_stages():
    assert cut(LayerChain((), 'first')) == {0: []}


@given(st.lists(st.integers(), min_size=4, max_size=60))
def test_quarters_keep_order_and_differ_by_one_at_most(items):
    parts = quarters(items)
    assert [x for part in parts for x in part] == items
    assert len(parts) == 4
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert min(map(len, parts)) >= 1
