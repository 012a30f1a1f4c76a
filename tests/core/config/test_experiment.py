"""An experiment has typed sections, cannot be changed, and gives others with other values."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from vireid.core.config import files
from vireid.core.config.experiment import Experiment
from vireid.core.config.frozen import Frozen, freeze, thaw
from vireid.errors import Conflict, UnknownKey
from vireid.plugin_manager.manager import create_manager


@pytest.fixture(scope='module')
def tffn() -> Experiment:
    return Experiment.from_config(files.load('configs/tffn_sysu.py'), create_manager())


def test_sections_are_typed_and_have_their_defaults(tffn: Experiment):
    assert tffn.images.size == (288, 144)
    assert (tffn.training.epochs, tffn.training.steps, tffn.training.keep) == (70, None, 2)
    assert tffn.evaluation.ties == 'mean'
    assert tffn.losses.across_ranks is False


def test_what_is_written_is_what_was_given(tffn: Experiment):
    config = files.load('configs/tffn_sysu.py')
    assert {key: tffn.to_config()[key] for key in config} == config
    assert 'keep' not in tffn.to_config()['training']


@pytest.mark.parametrize(
    'change',
    [
        lambda e: setattr(e, 'seed', 5),
        lambda e: setattr(e.training, 'steps', 5),
        lambda e: delattr(e.images, 'size'),
        lambda e: e.model['backbone'].update(depth=18),
        lambda e: e.model['backbone'].__setitem__('depth', 18),
        lambda e: e.images.train.append({'type': 'ToFloat'}),
        lambda e: e.images.train[0].pop('type'),
        lambda e: e.given['training'].clear(),
    ],
)
def test_nothing_can_be_changed_in_place(tffn: Experiment, change: Any):
    before = copy.deepcopy(tffn.to_config())
    with pytest.raises(Frozen, match='with_overrides') as caught:
        change(tffn)
    assert isinstance(caught.value, (AttributeError, TypeError))
    assert tffn.to_config() == before


def test_another_experiment_has_other_values(tffn: Experiment):
    other = tffn.with_overrides({'training.epochs': 5, 'evaluation.flip': True, 'images.train.0.type': 'Resize'})
    assert (other.training.epochs, other.evaluation.flip, tffn.training.epochs) == (5, True, 70)
    assert other != tffn
    assert other.with_overrides({'training.epochs': 70, 'evaluation.flip': False}) == tffn
    with pytest.raises(UnknownKey, match=r"'epoch'.* 'epochs'\?") as caught:
        tffn.with_overrides({'training.epoch': 5})
    assert caught.value.path == 'training.epoch'
    with pytest.raises(Conflict, match=r'epochs is 70 .*steps is 5'):
        tffn.with_overrides({'training.steps': 5})


def test_copies_and_pickles_are_plain():
    frozen = freeze({'a': [1, {'b': (2,)}]})
    for plain in (copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen)), thaw(frozen)):
        assert plain == {'a': [1, {'b': (2,)}]}
        assert (type(plain), type(plain['a']), type(plain['a'][1])) == (dict, list, dict)
        plain['a'].append(3)
    assert frozen == {'a': [1, {'b': (2,)}]}


def test_a_section_cannot_be_replaced_behind_the_back_of_the_config(tffn: Experiment):
    for changed in ({'seed': 5}, {'model': {}}, {'training': dataclasses.replace(tffn.training, epochs=1)}):
        with pytest.raises(Frozen, match=next(iter(changed))):
            dataclasses.replace(tffn, **changed)


def test_what_moved_says_where_to(tffn: Experiment):
    with pytest.raises(Frozen, match=r'training_settings(.|\n)*experiment\.training'):
        _ = tffn.training_settings
    with pytest.raises(Frozen, match=r"'steps'(.|\n)*settings\.steps"):
        _ = tffn.training['steps']
    with pytest.raises(ImportError, match=r'vireid\.interfaces'):
        from vireid.core.types import Dataset  # noqa: F401
    assert not hasattr(tffn, 'anything')
    assert not hasattr(tffn, 'image_settings')
