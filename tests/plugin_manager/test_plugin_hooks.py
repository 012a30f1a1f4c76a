"""What plugins bring besides components: subcommands of `vireid`, and folders of configs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from vireid.cli import main
from vireid.core.config import files as config
from vireid.errors import MissingFile, UnknownName, UnsafeFile
from vireid.plugin_manager.manager import (
    PluginConflict,
    PluginIncompatible,
    PluginManager,
    PluginProblem,
    create_manager,
    hookimpl,
)

PLUGIN = """
from pathlib import Path
import vireid

@vireid.hookimpl
def register_commands(add):
    add('greet', 'acme_greet', 'Greets somebody.')
    add(command='crash', module='acme_crash', help='Fails.')

@vireid.hookimpl
def register_configs(add):
    add(Path(__file__).parent / 'acme_configs')
"""
GREET = """
def add_arguments(parser):
    parser.add_argument('who')

def run(args):
    print('hello', args.who)
    return 3 if args.who == 'nobody' else None
"""
CRASH = """
def add_arguments(parser):
    pass

def run(args):
    raise ZeroDivisionError('by zero')
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution `acme-tools` on the path, with two commands and a folder of configs."""
    for name, text in (('acme_plugin', PLUGIN), ('acme_greet', GREET), ('acme_crash', CRASH)):
        (tmp_path / f'{name}.py').write_text(text)
    (tmp_path / 'acme_configs').mkdir()
    (tmp_path / 'acme_configs' / 'small.py').write_text("_base_ = 'vireid::tffn_demo.py'\nseed = 7\n")
    info = tmp_path / 'acme_tools-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: acme-tools\nVersion: 1.0\n')
    (info / 'entry_points.txt').write_text('[vireid.plugins]\nacme = acme_plugin\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ('acme_plugin', 'acme_greet', 'acme_crash'):
        sys.modules.pop(name, None)


class TestCommands:
    def test_a_verb_is_run_and_its_status_returned(self, acme, capsys):
        assert main(['greet', 'world']) == 0
        assert capsys.readouterr().out == 'hello world\n'
        assert main(['greet', 'nobody']) == 3

    def test_help_lists_it_with_its_plugin_and_imports_it_not(self, acme, capsys):
        with pytest.raises(SystemExit) as stopped:
            main(['--help'])
        assert stopped.value.code == 0
        assert 'Greets somebody. [acme]' in ' '.join(capsys.readouterr().out.split())
        assert 'acme_greet' not in sys.modules

    def test_its_own_help_says_what_it_is(self, acme, capsys):
        with pytest.raises(SystemExit):
            main(['greet', '--help'])
        assert 'Greets somebody.' in capsys.readouterr().out

    def test_what_it_raises_is_told_as_the_plugins(self, acme, capsys):
        assert main(['crash']) == 2
        error = capsys.readouterr().err
        assert "error: 'crash' of plugin 'acme' raised ZeroDivisionError: by zero" in error
        assert 'acme_crash.py' in error

    def test_a_module_that_cannot_be_imported_is_told_as_the_plugins(self, acme, capsys):
        (acme / 'acme_greet.py').unlink()
        assert main(['greet', 'x']) == 2
        assert "'greet' of plugin 'acme' (acme_greet) cannot be used: ModuleNotFoundError" in capsys.readouterr().err

    def test_an_unknown_verb_is_refused_with_all_there_are(self, acme, capsys):
        assert main(['gret']) == 2
        error = capsys.readouterr().err
        assert "did you mean 'greet'?" in error
        assert 'components, greet' in error

    def test_a_disabled_plugin_has_no_command(self, acme, capsys, monkeypatch):
        monkeypatch.setenv('VIREID_DISABLED_PLUGINS', 'acme')
        assert main(['greet', 'x']) == 2
        assert "no command 'greet'" in capsys.readouterr().err

    def test_a_verb_that_is_taken_is_a_conflict_that_names_the_holder(self):
        class Commands:
            @hookimpl
            def register_commands(self, add):
                add('train', 'somewhere', 'Trains.')

        with pytest.raises(PluginConflict, match=r"'mine' .*'train', .*vireid"):
            PluginManager(reserved=['train']).register(Commands(), 'mine')
        manager = PluginManager()
        manager.register(Commands(), 'first')
        with pytest.raises(PluginConflict, match=r"'second' .*'train', .*'first'"):
            manager.register(Commands(), 'second')


class TestConfigs:
    def test_a_config_of_a_package_is_read_by_its_name_from_anywhere(self, acme, monkeypatch):
        monkeypatch.chdir('/')
        read = config.load('acme-tools::small.py', folders=lambda: create_manager().configs)
        assert read['seed'] == 7
        assert read['model']['backbone']['depth'] == 18

    def test_a_run_is_called_after_the_file(self, acme, capsys):
        assert main(['config', 'show', 'acme-tools::small.py']) == 0
        out = capsys.readouterr().out
        assert '\nname: small\n' in out
        assert 'seed: 7' in out

    @pytest.mark.parametrize(
        ('name', 'kind', 'nearest'),
        [
            ('acme-tool::small.py', UnknownName, 'acme-tools'),
            ('acme-tools::smal.py', MissingFile, 'acme-tools::small.py'),
        ],
    )
    def test_an_unknown_name_is_reported_with_the_known_ones(self, acme, name, kind, nearest):
        with pytest.raises(kind) as caught:
            config.load(name, folders=lambda: create_manager().configs)
        assert f"'{nearest}'?" in caught.value.given
        assert nearest in caught.value.allowed

    def test_the_papers_configs_are_vireids_own(self):
        assert config.load('vireid::tffn_sysu.py', folders=lambda: create_manager().configs) == config.load(
            Path(__file__).parents[2] / 'configs/tffn_sysu.py'
        )

    def test_data_may_not_be_based_on_code(self, acme):
        (acme / 'mine.yaml').write_text('_base_: acme-tools::small.py\n')
        with pytest.raises(UnsafeFile, match=r'small\.py .*Python'):
            config.load(acme / 'mine.yaml')

    def test_a_folder_that_is_missing_breaks_the_plugin_alone(self):
        class Configs:
            @hookimpl
            def register_configs(self, add):
                add('/no/such/folder')

        with pytest.raises(PluginProblem, match='/no/such/folder'):
            PluginManager().register(Configs(), 'mine')


def test_what_a_plugin_brings_is_listed(acme):
    (found,) = [p for p in create_manager().plugins if p.name == 'acme']
    assert found.commands == ('greet', 'crash')
    assert found.configs == (str(acme / 'acme_configs'),)


def test_the_packages_of_the_distribution_are_all_written_out():
    import tomllib

    from setuptools import find_packages

    root = Path(__file__).parents[2]
    listed = tomllib.loads((root / 'pyproject.toml').read_text())['tool']['setuptools']['packages']
    configs = {p.parent.relative_to(root) for kind in ('py', 'yaml') for p in (root / 'configs').rglob(f'*.{kind}')}
    expected = find_packages(str(root), include=['vireid', 'vireid.*'])
    data = {p.parent.relative_to(root) for kind in ('html', 'js', 'css') for p in (root / 'vireid').rglob(f'*.{kind}')}
    expected += sorted({'.'.join(folder.parts) for folder in data} - set(expected))  # to setuptools, packages
    assert sorted(listed) == sorted([*expected, *('.'.join(('vireid', *folder.parts)) for folder in configs)])


BAD = {
    'a name that is none': "add('necks', ['a'], int)",
    'an empty name': "add('necks', '', int)",
    'a kind that is none': "add(['necks'], 'a', int)",
    'a target that is none': "add('necks', 'a', ':')",
    'leaving': 'raise SystemExit(5)',
    'an error that cannot speak': 'raise Mute()',
}


@pytest.mark.parametrize('line', BAD.values(), ids=list(BAD))
def test_whatever_a_plugin_does_the_others_and_the_help_work(acme, line, capsys):
    text = 'import vireid\n\nclass Mute(Exception):\n    def __str__(self):\n        raise ValueError\n\n'
    text += f'@vireid.hookimpl\ndef register_components(add):\n    {line}\n'
    (acme / 'acme_bad.py').write_text(text)
    info = acme / 'acme_bad-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: acme-bad\nVersion: 1.0\n')
    (info / 'entry_points.txt').write_text('[vireid.plugins]\nbad = acme_bad\n')
    told: list[str] = []
    by_name = {p.name: p for p in create_manager(warn=told.append).plugins}
    sys.modules.pop('acme_bad', None)
    assert by_name['bad'].status in ('broken', 'incompatible')
    assert by_name['acme'].status == 'active'
    assert len(told) == 1
    assert main(['plugins']) == 0
    assert 'bad' in capsys.readouterr().out
    sys.modules.pop('acme_bad', None)


@pytest.mark.parametrize('command', ['', 'two words', '--dash', None, 'Capital'])
def test_a_verb_that_cannot_be_typed_is_refused(command):
    class Commands:
        @hookimpl
        def register_commands(self, add):
            add(command, 'somewhere', 'Does.')

    with pytest.raises(PluginIncompatible, match=re.escape(repr(command))):
        PluginManager().register(Commands(), 'mine')


def test_a_percent_sign_in_a_help_text(acme, capsys):
    (acme / 'acme_plugin.py').write_text(PLUGIN.replace('Greets somebody.', 'Greets 50% of all.'))
    sys.modules.pop('acme_plugin', None)
    with pytest.raises(SystemExit) as stopped:
        main(['--help'])
    assert stopped.value.code == 0
    assert 'Greets 50% of all.' in ' '.join(capsys.readouterr().out.split())
