"""`vireid components`: every name with what it is and takes; no torch for a listing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vireid.cli import main
from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.registry.components import Components
from vireid.diagnostics.dry_run import dry_run
from vireid.interfaces import given
from vireid.plugin_manager.manager import create_manager

pytestmark = pytest.mark.usefixtures('narrow_resnet')

CONFIGS = Path(__file__).parents[2] / 'configs'


def test_listing_plugins_loads_no_torch(tmp_path):
    code = 'import sys\nfrom vireid.cli import main\nassert main(["plugins"]) == 0\nassert "torch" not in sys.modules'
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_kind_lists_names_signatures_and_descriptions(capsys):
    assert main(['components', 'necks']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'necks'
    assert '  MLFM(reduction=16, attention=True)' in lines  # without `inputs`, which no config sets
    assert '      Reweights the channels of several levels and sums the levels (TFFN section 2.2).' in lines
    assert not any('GlobalHead' in line for line in lines)


def test_all_kinds_are_listed(capsys):
    assert main(['components']) == 0
    text = capsys.readouterr().out
    for name in ('TwoStreamResNet(', 'sysu/agw(', 'KReciprocal(', 'ImageCache(folder)', 'SGD(lr=', 'Resize('):
        assert f'  {name}' in text


def test_one_component_shows_arguments_types_defaults_and_docs(capsys):
    assert main(['components', 'necks', 'MLFM']) == 0
    text = capsys.readouterr().out
    head, settable, given = text.split('set by the config:')[0], *text.split('set by the config:')[1].split('filled in')
    assert "necks 'MLFM', plugin 'builtin' (vireid.plugins.necks.mlfm:MLFM)" in head
    assert '  reduction: int = 16\n      W1 maps L*C channels to L*C / reduction.\n' in settable
    assert '  inputs:' not in settable
    assert '  inputs: Sequence[FeatureSpec]\n' in given


def test_components_of_a_plugin_file_are_listed_with_their_plugin(tmp_path, capsys):
    (tmp_path / 'mine.py').write_text(
        'import vireid\n\n\nclass Mine:\n    """Does it."""\n\n    def __init__(self, inputs, power: float = 2.0):\n'
        '        pass\n\n\n@vireid.hookimpl\ndef register_components(add):\n    add("necks", "Mine", Mine)\n'
    )
    assert main(['components', 'necks', '--plugin', str(tmp_path / 'mine.py')]) == 0
    assert f'  Mine(power=2.0)  [{tmp_path / "mine.py"}]\n      Does it.\n' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['neck'], "no kind 'neck', did you mean 'necks'?"),
        (['necks', 'MLFN'], "no neck called 'MLFN', did you mean 'MLFM'?"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(words, said, capsys):
    assert main(['components', *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize('name', ['tffn_demo', 'dmcf_demo', 'hybrid_dmcf_mlfm'])
def test_what_is_said_to_be_filled_in_is_all_that_the_framework_hands_over(name, monkeypatch):
    handed: dict[str, set[str]] = {}
    build = Components.build

    def noting(self, kind: str, settings: Any, *, where: str, defaults: Any = None, **context: Any) -> Any:
        handed.setdefault(kind, set()).update(context)
        return build(self, kind, settings, where=where, defaults=defaults, **context)

    monkeypatch.setattr(Components, 'build', noting)
    small = [
        'model.backbone.depth=18',
        'model.backbone.weights=None',
        'images.size=[64,32]',
        'training.precision=32-true',
    ]
    dry_run(Experiment.from_config(config.load(CONFIGS / f'{name}.py', small), create_manager()))
    assert handed['necks'] or handed['heads']
    for kind, names in handed.items():
        assert names <= given(kind), kind
