"""The check before a run: everything that needs no data is built, on `meta` where that can be."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vireid.core.config import files as config
from vireid.errors import Conflict, Mismatch, UnknownComponent, VireidError, WrongValue, raise_all
from vireid.launch.launch import prepare
from vireid.launch.preflight import attempt_all, find_problems, on_meta, preflight
from vireid.plugin_manager.manager import create_manager

CONFIG = Path(__file__).parents[2] / 'configs' / 'tffn_demo.py'


def read(*options: str) -> dict:
    return {**config.load(CONFIG, options), 'name': 'x'}


class ComputesWithValues(nn.Module):
    """A loss whose constructor needs values: on `meta` there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = len(np.unique(torch.arange(4).numpy()))

    def forward(self, output, identities):
        return output.logits.sum()


def test_a_sound_config_has_no_problem_and_nothing_is_left_on_meta():
    torch.manual_seed(7)
    before = torch.default_generator.get_state()
    assert find_problems(read('dataset.root=data'), create_manager()) == []
    assert torch.equal(before, torch.default_generator.get_state())
    assert torch.empty(1).device.type == 'cpu'


def test_a_constructor_that_computes_with_values_is_built_on_the_cpu():
    manager = create_manager()
    manager.components.add('losses', 'ComputesWithValues', ComputesWithValues)
    changed = read('dataset.root=data', "model.heads.s2.losses.id={'type': 'ComputesWithValues'}")
    assert find_problems(changed, manager) == []
    assert on_meta(ComputesWithValues).steps == 4
    with pytest.raises(TypeError):
        on_meta(ComputesWithValues, retry=False)


def test_names_types_and_wiring_are_told_at_once():
    found = find_problems(read('model.backbone.depth="50"', 'model.embedding=s9', 'seed=-1'), create_manager())
    assert [error.path for error in found] == ['model.backbone.depth', 'seed', 'model.embedding']


def test_what_is_not_there_is_told_once():
    (error,) = find_problems(read('dataset.root=data', 'model.heads.s2.losses.id.type=CrossEntropi'), create_manager())
    assert (type(error), error.path) == (UnknownComponent, 'model.heads.s2.losses.id')
    assert "'CrossEntropy'?" in error.given


def test_a_folder_whose_name_is_no_text_and_an_integer_of_thousands_of_digits():
    config_of = read('dataset.root=data')
    config_of['dataset']['root'] = '/tmp/\udcff'
    assert find_problems(config_of, create_manager()) == []
    config_of['seed'] = 10**5000
    assert find_problems(config_of, create_manager())


@pytest.mark.parametrize('section', ['name', 'requires'])
def test_not_a_number_is_no_text(section):
    nan = float('nan')
    changed = {**read('dataset.root=data'), section: nan if section == 'name' else [nan]}
    assert find_problems(changed, create_manager())[0].path == section


def test_the_transforms_of_a_view_are_tried_like_the_others(make_small, tmp_path):
    view = 'images.views={"dark": {"of": "visible", "train": [{"type": "ToFloat"}]}}'
    with pytest.raises(VireidError) as caught:
        preflight(make_small(tmp_path, view))
    error = caught.value.errors[0]
    assert (type(error), error.path) == (Mismatch, 'images.views.dark.train')
    assert re.search(r'3 x \d+ x \d+ float32', error.given)
    wrong = view.replace('visible', 'thermal')
    with pytest.raises(WrongValue, match=r"images\.views\.dark\.of is 'thermal'"):
        make_small(tmp_path, wrong)
    with pytest.raises(WrongValue, match=r'images\.views\.infrared'):
        make_small(tmp_path, view.replace('dark', 'infrared'))
    reader = 'images.reader={"type": "ImageCache", "folder": "x"}'
    with pytest.raises(Conflict, match=r'images\.views\.dark\.train\.0 .*images\.reader'):
        make_small(tmp_path, view, reader)


def test_what_stops_a_run_before_its_first_step_is_told_at_once(make_tiny, tmp_path):
    """A checkpoint, weights, a package and a data folder that are all not there."""
    small = make_tiny(tmp_path / 'nowhere', 'model.backbone={"type": "TwoStreamResNet", "weights": "none.pth"}')
    small = small.with_overrides({'loggers': [{'type': 'TensorBoard', 'folder': '../x'}]})
    small = small.with_overrides({'training.init': str(tmp_path / 'init.pt'), 'training.init_partial': True})
    with pytest.raises(VireidError) as caught:
        prepare(small, tmp_path / 'run')
    told = str(caught.value)
    for fact in ('init.pt', "'none.pth'", "folder is '../x'", 'nowhere'):
        assert fact in told
    assert len(caught.value.errors) == 4
    assert not (tmp_path / 'run').exists()


def test_errors_of_several_steps_are_raised_as_one():
    def fail(*texts: str) -> None:
        raise_all([VireidError(text) for text in texts])

    assert attempt_all(lambda: 1, lambda: 2) == [1, 2]
    with pytest.raises(VireidError) as caught:
        attempt_all(lambda: fail('a', 'b'), lambda: 2, lambda: fail('c'))
    assert [error.given for error in caught.value.errors] == ['a', 'b', 'c']
    with pytest.raises(VireidError, match=r'^c$'):
        attempt_all(lambda: fail('c'))
