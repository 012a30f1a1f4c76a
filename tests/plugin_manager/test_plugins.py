"""Plugins: the built-ins come by entry point, and so does anyone's package."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from vireid.cli import main
from vireid.errors import Unavailable, UnknownComponent
from vireid.plugin_manager.manager import PluginConflict, PluginIncompatible, PluginManager, create_manager, hookimpl
from vireid.plugins import COMPONENTS


def install(folder: Path, name: str, module: str, code: str) -> None:
    """Lays a distribution down as pip does: its module and the metadata that names its entry point."""
    (folder / f'{module}.py').write_text(textwrap.dedent(code))
    info = folder / f'{module}-1.2.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n')
    (info / 'entry_points.txt').write_text(f'[vireid.plugins]\n{name} = {module}\n')


FUSION = """
    import torch
    import vireid

    class Mean(torch.nn.Module):
        def __init__(self, inputs):
            super().__init__()
            self.output = inputs[0]

        def forward(self, *features, context):
            return sum(features) / len(features)

    @vireid.hookimpl
    def register_components(add):
        add('necks', 'Mean', Mean)
"""


def test_the_builtin_plugin_comes_through_its_entry_point():
    manager = create_manager()
    builtin = next(p for p in manager.plugins if p.name == 'builtin')
    assert builtin.distribution == 'vireid'
    assert builtin.components == sum(map(len, COMPONENTS.values()))


@pytest.mark.parametrize(('kind', 'name'), [(kind, name) for kind, names in COMPONENTS.items() for name in names])
def test_every_builtin_name_can_be_imported_and_is_documented(kind, name):
    target = create_manager().components.get(kind, name)
    assert callable(target)
    assert (target.__doc__ or '').strip()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    install(tmp_path, 'vireid-mean', 'vireid_mean', FUSION)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop('vireid_mean', None)


def test_a_package_with_an_entry_point_adds_a_neck(installed, capsys):
    assert main(['plugins', '--components']) == 0
    assert '  Mean                     vireid-mean' in capsys.readouterr().out


def test_its_neck_is_built_by_name(installed):
    components = create_manager().components
    from vireid.core.types import FeatureSpec

    neck = components.build('necks', {'type': 'Mean'}, where='model.necks.x', inputs=(FeatureSpec(4), FeatureSpec(4)))
    assert neck.output.channels == 4


def plugin(kind: str, name: str, target: object) -> object:
    class Plugin:
        @hookimpl
        def register_components(self, add):
            add(kind, name, target)

    return Plugin()


def test_a_name_that_is_taken_names_both_plugins():
    manager = create_manager()
    with pytest.raises(PluginConflict, match=r"necks 'MLFM' .*'builtin' .*'other'"):
        manager.register(plugin('necks', 'MLFM', object), 'other')


def test_wrong_kinds_and_targets_are_refused():
    with pytest.raises(PluginIncompatible, match=r"'neck', .*'necks'"):
        PluginManager().register(plugin('neck', 'A', object), 'p')
    with pytest.raises(PluginIncompatible, match=r"'module\.attr'"):
        PluginManager().register(plugin('necks', 'A', 'module.attr'), 'p')


def test_a_target_that_cannot_be_imported_is_named():
    manager = PluginManager()
    manager.register(plugin('necks', 'A', 'no_such_module:A'), 'p')
    with pytest.raises(Unavailable, match=r"necks 'A' .*'no_such_module:A'.*(\n.*)*plugin 'p'"):
        manager.components.get('necks', 'A')


def test_an_unknown_name_says_where_one_of_that_name_is():
    with pytest.raises(UnknownComponent, match=r"head .*'MLFM' .*necks"):
        create_manager().components.get('heads', 'MLFM')


def test_an_unknown_name_is_never_imported():
    """mmengine's registry imports a module named like an unknown component."""
    with pytest.raises(UnknownComponent, match=r"'os\.path'"):
        create_manager().components.get('necks', 'os.path')
    with pytest.raises(UnknownComponent, match=r"'vireid\.MLFM'"):
        create_manager().components.get('necks', 'vireid.MLFM')


def test_managers_share_nothing():
    one, other = create_manager(), create_manager()
    one.register(plugin('necks', 'Only', object), 'p')
    assert 'Only' in one.components.names('necks')
    assert 'Only' not in other.components.names('necks')
