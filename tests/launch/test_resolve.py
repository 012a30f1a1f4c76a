"""One way from a config to an experiment: files, mappings, records and experiments, overrides and their origins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vireid.core.config.experiment import Experiment
from vireid.core.config.overrides import Overrides
from vireid.errors import UnknownComponent, UnknownKey, VireidError, WrongValue
from vireid.launch.resolve import Record, read, resolve
from vireid.plugin_manager.manager import PluginProblem, create_manager

DEMO = 'configs/tffn_demo.py'
PLUGIN = """
import torch
from vireid.plugin_manager.manager import hookimpl

class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean((2, 3))

@hookimpl
def register_components(add):
    add('poolings', 'MeanOfMine', Mean)
"""


@pytest.fixture(scope='module')
def manager():
    return create_manager()


def test_every_source_of_one_config_gives_the_same_experiment(manager):
    from_file = resolve(DEMO, manager=manager)
    sections = from_file.to_config()
    for source in (sections, Record(sections), from_file):
        assert resolve(source, manager=manager) == from_file
    assert from_file.name == 'tffn_demo'


def test_overrides_are_applied_in_order_and_each_value_has_its_origin(manager, tmp_path):
    over = tmp_path / 'over.py'
    over.write_text('training = dict(steps=5)\nseed = 1\n')
    overrides = Overrides(
        over=[over],
        defaults={'dataset.root': ('/data', 'VIREID_DATA')},
        components={'evaluation.rerank': {'type': 'KReciprocal'}},
        values={'seed': 2, 'training.keep': 3},
        options=['training.keep=4'],
    )
    config = read(DEMO, overrides, manager)
    assert (config.sections['seed'], config.sections['training']['steps']) == (2, 5)
    assert config.sections['training']['keep'] == 4
    wanted = {
        ('seed',): 'a flag', ('training', 'steps'): str(over), ('training', 'keep'): 'training.keep=4',
        ('dataset', 'root'): 'VIREID_DATA', ('evaluation', 'rerank', 'type'): 'a flag',
    }  # fmt: skip
    assert {place: config.origins[place] for place in wanted} == wanted


def test_a_default_gives_way_to_the_config_and_a_component_keeps_its_settings(manager):
    sections = resolve(DEMO, manager=manager).to_config()
    sections['dataset']['root'] = '/mine'
    sections['evaluation'] = {'rerank': {'type': 'KReciprocal', 'k1': 7}}
    overrides = Overrides(
        defaults={'dataset.root': ('/data', 'VIREID_DATA')}, components={'evaluation.rerank': {'type': 'KReciprocal'}}
    )
    experiment = resolve(sections, overrides, manager=manager)
    assert experiment.dataset['root'] == '/mine'
    assert experiment.evaluation.rerank == {'type': 'KReciprocal', 'k1': 7}


def test_a_section_as_a_whole_is_merged_and_a_dotted_key_is_set(manager):
    values = {'training': {'keep': 4}, 'images.size': (64, 32)}
    experiment = resolve(DEMO, Overrides(values=values), manager=manager)
    assert (experiment.training.keep, experiment.images.size) == (4, (64, 32))
    assert experiment.training.steps == resolve(DEMO, manager=manager).training.steps


@pytest.mark.parametrize(('option', 'name'), [('name=2024', '2024'), ('name=run', 'run'), ("name='7'", '7')])
def test_a_value_is_text_where_only_text_fits(manager, option, name):
    assert resolve(DEMO, Overrides(options=[option]), manager=manager).name == name


def test_errors_have_a_path_and_a_code(manager):
    options = ['training.epoch=3', 'images.size=3', "model.weighter={'type': 'Fixd'}"]
    with pytest.raises(VireidError) as caught:
        resolve(DEMO, Overrides(options=options), manager=manager)
    found = {(error.path, type(error)) for error in caught.value.errors}
    assert found >= {('training.epoch', UnknownKey), ('images.size', WrongValue)}
    assert ('model.weighter', UnknownComponent) in found


def test_a_given_manager_is_not_changed_by_the_plugin_files_of_a_config(manager, tmp_path: Path):
    file = tmp_path / 'mine.py'
    file.write_text(PLUGIN)
    experiment = resolve(DEMO, Overrides(plugins=[file]), manager=manager)
    assert 'MeanOfMine' in experiment.manager.components.names('poolings')
    assert 'MeanOfMine' not in manager.components.names('poolings')
    assert list(experiment.plugins) == [str(file)]
    assert resolve(experiment, manager=manager).manager is experiment.manager  # not loaded again


def test_a_record_s_plugin_files_do_not_run(manager, tmp_path: Path):
    file = tmp_path / 'mine.py'
    file.write_text('raise AssertionError("it-ran")')
    sections: dict[str, Any] = {**resolve(DEMO, manager=manager).to_config(), 'plugins': [str(file)]}
    experiment = resolve(Record(sections), manager=manager)
    assert isinstance(experiment, Experiment)
    assert list(experiment.plugins) == [str(file)]
    with pytest.raises(PluginProblem, match='it-ran'):
        resolve(sections, manager=manager)


@pytest.mark.parametrize(
    ('config', 'options', 'renamed'),
    [
        ('configs/tffn_regdb.py', ['dataset.trial=3'], ('split', 3)),
        ('configs/own_few.py', ['dataset.folds=5', 'dataset.trial=2'], ('fold', 2)),
    ],
)
def test_the_trial_of_a_dataset_has_two_new_names(manager, config, options, renamed):
    warnings: list[str] = []
    read_ = read(config, Overrides(options=options), manager, warnings.append)
    name, number = renamed
    assert read_.sections['dataset'][name] == number
    assert 'trial' not in read_.sections['dataset']
    assert read_.origins['dataset', name] == options[-1]
    assert warnings == [f'dataset.trial was renamed: use dataset.{name}={number}']


def test_a_dataset_without_splits_has_no_trial_either(manager):
    warnings: list[str] = []
    config = read(DEMO, Overrides(options=['dataset.trial=3']), manager, warnings.append)
    assert (config.sections['dataset']['trial'], warnings) == (3, [])
    with pytest.raises(UnknownKey) as caught:
        resolve(DEMO, Overrides(options=['dataset.trial=3']), manager=manager)
    assert (caught.value.path, caught.value.code) == ('dataset.trial', 'unknown-key')
