"""What a component is given, must have and may have is stated once."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from vireid.core.registry.contracts import require_interface
from vireid.errors import Mismatch
from vireid.interfaces import INTERFACES, Dataset, Head, Loss, Model, Neck, Step, given

ROOT = Path(__file__).parents[1]


def test_an_optional_part_is_the_component_s_own_or_the_default():
    class Mine:
        train_only = True

    assert Neck.train_only(Mine()) is True
    assert Neck.layout(Mine()) == 'joint'
    assert Neck.layout(Mine) == 'joint'  # a class may be asked before it is built
    assert Loss.reads_parts(object()) is True
    assert Step.epoch_ended(object())(None) is None


def test_whoever_inherits_has_the_defaults_and_replaces_them():
    class Mine(Dataset):
        split_name = 'split 3'

        def split(self, name):
            return ()

    mine = Mine()
    assert (mine.split_name, mine.own_images, mine.root) == ('split 3', False, None)
    require_interface('datasets', mine, 'Mine', 'dataset')


def test_what_is_inherited_and_not_replaced_is_missing():
    class Mine(Dataset):
        pass

    with pytest.raises(Mismatch, match='split of Mine') as caught:
        require_interface('datasets', Mine(), 'Mine', 'dataset')
    assert caught.value.path == 'dataset'
    assert 'split(name: str)' in caught.value.allowed


def test_a_head_that_embeds_nothing_needs_no_embedding():
    import torch

    class Mine(torch.nn.Module):
        train_only = True

    require_interface('heads', Mine(), 'Mine', 'model.heads.a')
    assert set(Head.required()) == {'embed', 'embedding_dim'}


def test_every_kind_is_described_and_knows_what_it_is_given():
    for kind, interface in INTERFACES.items():
        assert interface.__doc__, kind
        assert 'build_part' in given(kind)
    assert given('losses') == {*Model.given, 'inputs', 'build_part'}


@pytest.mark.parametrize('tool', ['interface_table', 'settings_page'])
def test_the_pages_list_interfaces_and_settings_as_they_are(tool):
    spec = importlib.util.spec_from_file_location(tool, ROOT / 'tools' / f'{tool}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.document(), 'run `make docs`'
