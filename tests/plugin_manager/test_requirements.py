"""`requires` is checked before anything else of a config."""

from __future__ import annotations

from pathlib import Path

import pytest

import vireid
from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.errors import MissingPackage, VireidError, WrongValue
from vireid.plugin_manager.manager import PluginInfo, create_manager
from vireid.plugin_manager.requirements import require

CONFIG = Path(__file__).parents[2] / 'configs' / 'tffn_sysu.py'


def test_what_is_there_in_the_right_version_is_fine():
    assert require(['vireid', 'numpy>=1', 'NumPy', f'vireid=={vireid.__version__}'], []) == []


@pytest.mark.parametrize(
    ('requirement', 'kind', 'facts'),
    [
        ('no-such-package-here>=0.1', MissingPackage, ['pip install "no-such-package-here>=0.1"']),
        ('numpy>=1000', MissingPackage, ['numpy is ', 'allowed: >=1000', 'pip install "numpy>=1000"']),
        ('not a requirement', WrongValue, ["'not a requirement'", 'vireid-x>=0.1']),
    ],
)
def test_what_is_missing_says_how_to_get_it(requirement, kind, facts):
    (problem,) = require([requirement], [])
    assert (type(problem), problem.path) == (kind, 'requires')
    for fact in facts:
        assert fact in str(problem)


def test_a_package_whose_plugin_cannot_be_used_is_named_with_the_reason():
    broken = PluginInfo('x', '1.0', 'NumPy', status='broken', reason='it raised')
    (problem,) = require(['numpy'], [broken])
    assert isinstance(problem, MissingPackage)
    assert "plugin 'x' (NumPy 1.0) is broken: it raised" in problem.given
    assert require(['numpy'], [broken, PluginInfo('y', '1.0', 'numpy')]) == []


def test_it_comes_before_all_other_errors_and_all_at_once():
    read = config.load(CONFIG, ['requires=["no-such-a", "no-such-b"]', 'nonsense=1'])
    with pytest.raises(VireidError) as caught:
        Experiment.from_config(read, create_manager())
    assert [type(error) for error in caught.value.errors] == [MissingPackage, MissingPackage]
    for error, name in zip(caught.value.errors, ('no-such-a', 'no-such-b'), strict=True):
        assert name in error.given


def test_what_this_machine_does_not_need_is_not_asked_for():
    assert require(["no-such-package; python_version < '2'"], []) == []
    (problem,) = require(["no-such-package>=1; python_version > '2'"], [])
    assert problem.todo == """pip install "no-such-package>=1; python_version > '2'\""""


def test_a_shell_runs_nothing_of_a_requirement():
    text = 'no-such-package; python_version != "$(touch x)"'
    (problem,) = require([text], [])
    assert problem.todo == f"pip install '{text}'"


def test_it_is_a_list_of_texts():
    read = config.load(CONFIG, ['requires="numpy"'])
    with pytest.raises(WrongValue, match="requires is 'numpy'"):
        Experiment.from_config(read, create_manager())
