"""Installed plugins, good and bad: each gets a status and a reason, and one bad plugin never stops the others."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest

from vireid.cli import main
from vireid.errors import UnknownName
from vireid.plugin_manager.manager import PluginInfo, PluginManager, PluginProblem, create_manager

GOOD = """
    import vireid

    class Mean:
        '''A neck.'''

    @vireid.hookimpl
    def register_components(add):
        add('necks', 'Good', Mean)
"""


class Site:
    """A folder on the path, where distributions lie as pip leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, code: str, *, entry: str = '', module: str = '', version: str = '1.2') -> None:
        module = module or distribution.replace('-', '_')
        (self.folder / f'{module}.py').write_text(textwrap.dedent(code))
        info = self.folder / f'{distribution.replace("-", "_")}-{version}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n')
        names = (entry or distribution).split()
        lines = ''.join(f'{name} = {module}\n' for name in names)
        (info / 'entry_points.txt').write_text(f'[vireid.plugins]\n{lines}')


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    site = Site(tmp_path)
    yield site
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], '__file__', None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def load(**settings) -> tuple[PluginManager, dict[str, PluginInfo], list[str]]:
    """Loads everything; returns the manager, the plugins that are not vireid's own, and what was told."""
    told: list[str] = []
    manager = create_manager(warn=told.append, **settings)
    return manager, {f'{p.name} of {p.distribution}': p for p in manager.plugins if p.name != 'builtin'}, told


HOOK = """
    import vireid
    @vireid.hookimpl
    def {name}({arguments}):
        {body}
"""


@pytest.mark.parametrize(
    ('code', 'status', 'reasons'),
    [
        ('import nothing_like_this\n', 'broken', ['ModuleNotFoundError', 'bad.py, line 1']),
        ('x = 1\nraise RuntimeError("at import")\n', 'broken', ['RuntimeError: at import', 'bad.py, line 2']),
        ('import sys\nsys.exit(3)\n', 'broken', ['SystemExit: 3']),
        ('raise ValueError("two\\nlines")\n', 'broken', ['two\nlines']),
        ('def f(:\n', 'broken', ['SyntaxError']),
        (
            HOOK.format(name='register_component', arguments='add', body='pass'),
            'incompatible',
            ["unknown hook 'register_component'", "did you mean 'register_components'?"],
        ),
        (
            HOOK.format(name='step_ended', arguments='run, loss', body='pass'),
            'incompatible',
            ["step_ended has the unknown argument 'loss'"],
        ),
        (
            HOOK.format(name='step_ended', arguments='progres', body='pass'),
            'incompatible',
            ["step_ended has the unknown argument 'progres', did you mean 'progress'?"],
        ),
        (
            'import pluggy\nmark = pluggy.HookimplMarker("pytest")\n@mark\ndef register_components(add): pass\n',
            'incompatible',
            ["register_components is marked for 'pytest'"],
        ),
        ('def register_components(add): pass\n', 'incompatible', ['register_components is not marked']),
        ('x = 1\n', 'incompatible', ['has no hook']),
        (
            'VIREID_API = 99\n' + textwrap.dedent(HOOK.format(name='run_ended', arguments='', body='pass')),
            'incompatible',
            ['written for plugin API 99, but this vireid has API 1'],
        ),
        (
            HOOK.format(name='register_components', arguments='add', body='1 / 0'),
            'broken',
            ['register_components raised ZeroDivisionError', 'bad.py, line 5'],
        ),
        (
            HOOK.format(
                name='register_components', arguments='add', body="add('necks', 'Own', int); add('necks', 'MLFM', int)"
            ),
            'conflict',
            ["necks 'MLFM' is registered by plugin 'builtin' and again by 'bad'"],
        ),
        (
            HOOK.format(name='register_components', arguments='add', body="add('neck', 'Own', int)"),
            'incompatible',
            ["'neck', which is not a component kind, did you mean 'necks'?"],
        ),
    ],
)
def test_a_bad_plugin_is_named_with_its_reason_and_the_others_work(site, code, status, reasons):
    site.install('bad', code)
    site.install('good', GOOD)
    manager, found, told = load()
    assert found['bad of bad'].status == status
    for reason in reasons:
        assert reason in found['bad of bad'].reason
    assert found['good of good'] == PluginInfo('good', '1.2', 'good', components=1)
    assert 'Good' in manager.components.names('necks')
    assert 'Own' not in manager.components.names('necks')  # all of a plugin's components, or none
    assert 'MLFM' in manager.components.names('necks')
    assert len(told) == 1
    assert told[0].startswith(f"plugin 'bad' (bad 1.2) is {status}: ")
    assert '\n' not in told[0]
    with pytest.raises(PluginProblem, match='bad') as caught:
        load(strict=True)
    assert caught.value.status == status


def test_two_distributions_with_one_name_the_first_by_distribution_is_kept(site):
    site.install('zebra', GOOD.replace("'Good'", "'Z'"), entry='shared')
    site.install('ant', GOOD.replace("'Good'", "'A'"), entry='shared')
    manager, found, _ = load()
    assert (found['shared of ant'].status, found['shared of zebra'].status) == ('active', 'conflict')
    assert "two plugins are named 'shared'" in found['shared of zebra'].reason
    assert 'A' in manager.components.names('necks')
    assert 'Z' not in manager.components.names('necks')


def test_one_module_under_two_names_is_loaded_once(site):
    site.install('twice', GOOD, entry='one two')
    found = load()[1]
    assert (found['one of twice'].status, found['two of twice'].status) == ('active', 'conflict')
    assert "the same module as plugin 'one'" in found['two of twice'].reason


def test_nobody_takes_the_builtin_name(site):
    site.install('aaa', GOOD, entry='builtin')
    manager = create_manager(warn=lambda line: None)
    assert [(p.distribution, p.status) for p in manager.plugins] == [('vireid', 'active'), ('aaa', 'conflict')]


@pytest.mark.parametrize('how', ['flag', 'environment'])
def test_a_disabled_plugin_is_not_even_imported(site, monkeypatch, how):
    site.install('bad', 'raise RuntimeError("imported")\n')
    if how == 'environment':
        monkeypatch.setenv('VIREID_DISABLED_PLUGINS', 'other, bad')
    _, found, told = load(disabled=['bad'] if how == 'flag' else [])
    assert found['bad of bad'].status == 'disabled'
    assert found['bad of bad'].reason == ('by --no-plugin' if how == 'flag' else 'by VIREID_DISABLED_PLUGINS')
    assert told == []
    assert 'bad' not in sys.modules


def test_a_plugin_to_leave_out_that_is_not_there_is_an_error(site):
    site.install('good', GOOD)
    with pytest.raises(UnknownName, match=r"--no-plugin: .*'god', .*'good'\?"):
        create_manager(disabled=['god'])


def test_the_order_does_not_depend_on_that_of_the_installation(site):
    for name in ('cc', 'aa', 'bb'):
        site.install(name, GOOD.replace("'Good'", f"'{name}'"))
    manager, _, _ = load()
    assert [p.name for p in manager.plugins] == ['builtin', 'aa', 'bb', 'cc']


class TestCommands:
    def test_the_table_shows_status_and_reason(self, site, capsys):
        site.install('bad', 'raise RuntimeError("at import")\n')
        site.install('good', GOOD)
        assert main(['plugins', '--no-plugin', 'good']) == 0
        printed = capsys.readouterr()
        lines = [line.split() for line in printed.out.splitlines()]
        assert ['bad', 'bad', '1.2', 'broken', '0'] in lines
        assert ['good', 'good', '1.2', 'disabled', '0'] in lines
        assert 'RuntimeError: at import' in printed.out
        assert printed.err == ''

    def test_json_has_everything(self, site, capsys):
        site.install('good', GOOD)
        assert main(['plugins', '--json']) == 0
        found = {entry['name']: entry for entry in json.loads(capsys.readouterr().out)}
        assert found['good']['status'] == 'active'
        assert found['good']['components'] == [{'kind': 'necks', 'name': 'Good'}]
        assert {'kind': 'necks', 'name': 'MLFM'} in found['builtin']['components']

    def test_commands_warn_once_and_go_on_or_stop_if_strict(self, site, monkeypatch, capsys):
        monkeypatch.setattr('vireid.console.warn._warned', set())  # once in a process
        site.install('bad', 'raise RuntimeError("at import")\n')
        config = Path(__file__).parents[2] / 'configs' / 'tffn_regdb.py'
        words = ['train', str(config), '--dry-run']
        small = ['--cfg-options', 'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[32,16]']
        assert main([*words, *small]) == 0
        assert capsys.readouterr().err.count("warning: plugin 'bad' (bad 1.2) is broken: ") == 1
        assert main([*words, '--strict-plugins', *small]) == 2
        assert "error: plugin 'bad'" in capsys.readouterr().err


@pytest.mark.parametrize(('module', 'moved'), [('vireid.nowhere', True), ('torhc', False)])
def test_only_a_missing_part_of_vireid_may_have_moved(tmp_path: Path, module: str, moved: bool) -> None:
    file = tmp_path / 'plugin.py'
    file.write_text(f'import {module}\n')
    with pytest.raises(PluginProblem) as caught:
        create_manager(files=[file])
    assert ('CHANGELOG' in str(caught.value)) == moved
