"""A config that is changed at random is refused with a path, or means what it says; none is silently accepted."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment, sections
from vireid.errors import VireidError
from vireid.launch.preflight import find_problems
from vireid.plugin_manager.manager import create_manager

pytestmark = pytest.mark.usefixtures('narrow_resnet')

CONFIGS = Path(__file__).parents[1] / 'configs'
MANAGER = create_manager()
ON_CPU = [
    'training.precision=32-true',
    'training.accelerator=cpu',
    'model.backbone.weights=None',
    'model.backbone.depth=18',
    'images.size=[64,32]',
]
NAMES = ('tffn_demo', 'dmcf_demo', 'hybrid_tffn_parts', 'hybrid_tffn_uncertainty', 'tffn_sysu_validated', 'dmcf_regdb')
WHOLE = {name: {**config.load(CONFIGS / f'{name}.py', ON_CPU), 'name': name} for name in NAMES}
for whole in WHOLE.values():
    whole['dataset']['root'] = 'data'

Place = tuple[str | int, ...]
# dicts whose keys are names of the user's own
NAMED = re.compile(r'model\.(necks|heads|heads\.\w+\.losses)|step\.groups')
# a text, a number or a list may each stand here
OPEN = {'inputs', 'embedding', 'weights', 'root', 'devices', 'padding', 'pool', 'name', 'accelerator', 'interpolation'}
# the first words of an error: a path in the config, or a section that is missing
SECTIONS = '|'.join(sections().parameters)
PLACED = re.compile(rf"(\w+: the config has no section|the config needs the section '|({SECTIONS})\b)")


def places(value: Any, at: Place = ()) -> list[Place]:
    """Returns the path of every value below `value`."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, (list, tuple)) else ()
    return [place for key in keys for place in ((*at, key), *places(value[key], (*at, key)))]


def inside(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


def as_lists(value: Any) -> Any:
    """Returns a copy with lists for tuples, so that every item can be set."""
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    return [as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def dotted(place: Place) -> str:
    return '.'.join(map(str, place))


def refusals(changed: dict[str, Any]) -> list[VireidError]:
    """Returns what is said against a config."""
    return find_problems(changed, MANAGER)


def require_places(found: list[VireidError]) -> None:
    for error in found:
        for line in str(error).splitlines():
            if not line.startswith('  '):
                assert PLACED.match(line), line


def shapes(changed: dict[str, Any]) -> list[tuple[int, ...]]:
    with torch.device('meta'):
        model = Experiment.from_config(changed, MANAGER).build_model(3, pretrained=False)
    return sorted(tuple(p.shape) for p in model.parameters())


chosen = st.sampled_from([(name, place) for name, whole in WHOLE.items() for place in places(as_lists(whole))])
# others each time, and more: VIREID_MUTANTS=5000 pytest --hypothesis-profile=random tests/test_mutated_configs.py
MUTANTS = os.environ.get('VIREID_MUTANTS')
thorough = settings(max_examples=int(MUTANTS or 24))


def test_the_configs_themselves_are_sound():
    for whole in WHOLE.values():
        assert refusals(as_lists(whole)) == []


@thorough
@given(chosen, st.sampled_from(['x', '_', 's', '2', '.y']))
def test_a_renamed_key_is_refused_unless_it_is_a_name_of_the_users_own(where, more):
    name, place = where
    changed = copy.deepcopy(as_lists(WHOLE[name]))
    holder = inside(changed, place[:-1])
    if not isinstance(holder, dict):
        return
    new = f'{place[-1]}{more}'
    items = [(new if key == place[-1] else key, value) for key, value in holder.items()]
    holder.clear()
    holder.update(items)
    found = refusals(changed)
    require_places(found)
    if not found:
        assert NAMED.fullmatch(dotted(place[:-1])), (dotted(place), new)
        assert shapes(changed) == shapes(as_lists(WHOLE[name]))


@thorough
@given(chosen)
def test_without_a_key_a_config_is_refused_or_takes_its_default(where):
    name, place = where
    changed = copy.deepcopy(as_lists(WHOLE[name]))
    holder = inside(changed, place[:-1])
    del holder[place[-1]]
    found = refusals(changed)
    require_places(found)
    required = {
        'type',
        'heads',
        'backbone',
        'embedding',
        'optimizer',
        'size',
        'train',
        'test',
    }
    if not found and isinstance(holder, dict) and place[-1] in required:
        # the size of a transform is the images', and a model has a default type
        assert place in [('model', 'type')] or (place[0] == 'images' and len(place) > 2), dotted(place)


@thorough
@given(chosen, st.sampled_from(['text', 7, 2.5, True, None, [], ['text'], {}, {'type': 'Nothing'}]))
@example(('tffn_demo', ('model', 'necks', 's2', 'channels')), True)
@example(('tffn_demo', ('step', 'optimizer', 'lr')), '8e-4')
@example(('tffn_demo', ('model', 'heads', 's2', 'losses', 'id', 'type')), ['CrossEntropy'])
def test_a_value_of_another_type_is_refused(where, value):
    name, place = where
    changed = copy.deepcopy(as_lists(WHOLE[name]))
    old = inside(changed, place)
    inside(changed, place[:-1])[place[-1]] = value
    found = refusals(changed)
    require_places(found)
    if found or type(old) is type(value):
        return
    number = isinstance(old, (int, float)) and isinstance(value, (int, float)) and not isinstance(value, bool)
    absent = value is None or old is None  # by signature, or a neck, head or loss that is taken away
    assert number or absent or OPEN & set(map(str, place[-2:])), (dotted(place), value)


@thorough
@given(chosen, st.sampled_from(['x', 'type', 'same']))
def test_a_value_that_is_wrapped_in_a_dict_is_refused(where, key):
    name, place = where
    changed = copy.deepcopy(as_lists(WHOLE[name]))
    holder = inside(changed, place[:-1])
    holder[place[-1]] = {str(place[-1]) if key == 'same' else key: holder[place[-1]]}
    found = refusals(changed)
    require_places(found)
    # a component's name alone may become dict(type=name); nothing else
    assert found or (key == 'type' and place[-1] == 'pool'), dotted(place)


@thorough
@given(chosen, chosen)
def test_two_mistakes_are_both_told(first, second):
    """Unknown keys, wherever they are put: each is named by its own path, in one answer."""
    name, place = first
    changed = copy.deepcopy(as_lists(WHOLE[name]))
    other = second[1] if second[0] == name else ('training', 'steps')
    wanted = []
    for at in {place[:-1], other[:-1]}:
        holder = inside(changed, at)
        if isinstance(holder, dict) and not NAMED.fullmatch(dotted(at)) and at[-1:] != ('tasks',):
            holder['unheard_of'] = 1
            wanted.append(dotted((*at, 'unheard_of')))
    text = '\n'.join(map(str, refusals(changed)))
    for path in wanted:
        assert f'{path}: ' in text, text
