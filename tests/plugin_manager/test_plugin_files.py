"""Plugins that are a file: named on the command line, or beside a Python config that names them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import vireid
from vireid.boundary import config_text
from vireid.cli import main
from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import Sample
from vireid.errors import MissingFile, UnknownComponent, UnsafeFile, UnsupportedFile, VireidError, WrongValue
from vireid.exchange import features
from vireid.plugin_manager.manager import PluginConflict, PluginIncompatible, PluginProblem, create_manager

CONFIGS = Path(__file__).parents[2] / 'configs'
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[32,16]', 'training.precision=32-true',
    'model.backbone.out_stages=[2,3]', 'model.necks.s4.inputs=stage3',
    *(f'model.necks.{name}.channels=64' for name in ('s2', 's3', 's4')),
]  # fmt: skip
MEAN = """
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
USE = "model = dict(necks=dict(mlfm=dict(_delete_=True, type='Mean', inputs=('s2', 's3', 's4'))))\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / 'mean.py').write_text(MEAN)
    (tmp_path / 'bare.py').write_text(f"_base_ = '{CONFIGS}/tffn_sysu.py'\n{USE}")
    (tmp_path / 'naming.py').write_text(f"_base_ = '{CONFIGS}/tffn_sysu.py'\nplugins = ['mean.py']\n{USE}")
    return tmp_path


def dry_run(path: Path, *flags: str) -> int:
    return main(['train', str(path), '--dry-run', *flags, '--cfg-options', *SMALL])


def test_a_file_given_by_a_flag_brings_its_components(folder, capsys):
    assert dry_run(folder / 'bare.py', '--plugin', str(folder / 'mean.py')) == 0
    assert 'Mean' in capsys.readouterr().out


def test_without_it_the_name_is_unknown(folder, capsys):
    assert dry_run(folder / 'bare.py') == 2
    assert "model.necks.mlfm: no neck called 'Mean'" in capsys.readouterr().err


def test_a_config_names_files_beside_itself_from_wherever_it_is_used(folder, capsys, monkeypatch):
    monkeypatch.chdir('/')
    assert dry_run(folder / 'naming.py') == 0
    (folder / 'deeper').mkdir()
    (folder / 'deeper' / 'child.py').write_text("_base_ = '../naming.py'\nplugins = ['more.py']\n")
    (folder / 'deeper' / 'more.py').write_text(MEAN.replace("'Mean'", "'More'"))
    assert config.load(folder / 'deeper' / 'child.py')['plugins'] == [
        str(folder / 'mean.py'),
        str(folder / 'deeper' / 'more.py'),
    ]
    assert dry_run(folder / 'deeper' / 'child.py') == 0


def test_named_twice_is_loaded_once(folder):
    manager = create_manager([folder / 'mean.py', str(folder / '.' / 'mean.py')])
    assert [p.name for p in manager.plugins if p.name.endswith('mean.py')] == [str(folder / 'mean.py')]


def test_a_changed_file_is_read_anew(folder):
    create_manager([folder / 'mean.py'])
    (folder / 'mean.py').write_text(MEAN.replace("'Mean'", "'Renamed'"))
    assert 'Renamed' in create_manager([folder / 'mean.py']).components.names('necks')


def test_it_is_listed_with_the_plugins(folder, capsys):
    assert main(['plugins', '--plugin', str(folder / 'mean.py')]) == 0
    assert str(folder / 'mean.py') in capsys.readouterr().out


@pytest.mark.parametrize(
    ('code', 'kind', 'fact'),
    [
        ('import torch\n\nraise RuntimeError("no")\n', PluginProblem, 'line 3: RuntimeError: no'),
        ('def register(:\n', PluginProblem, 'line 1: SyntaxError'),
        ('import nothing_of_this_name\n', PluginProblem, 'line 1: ModuleNotFoundError'),
        ('x = 1\n', PluginIncompatible, '@vireid.hookimpl'),
        (
            'import vireid\n@vireid.hookimpl\ndef register_components(add):\n    pass\n',
            UnsupportedFile,
            '@vireid.hookimpl',
        ),
        (MEAN.replace("'Mean', Mean", "'MLFM', Mean"), PluginConflict, "'builtin'"),
        (MEAN.replace("'necks', ", "'neck', "), PluginIncompatible, "'necks'?"),
    ],
)
def test_a_file_that_does_not_work_is_named_with_its_line(tmp_path, code, kind, fact):
    path = tmp_path / 'broken.py'
    path.write_text(code)
    with pytest.raises(VireidError) as caught:
        create_manager([path])
    assert type(caught.value) is kind
    assert str(path) in str(caught.value)
    assert fact in str(caught.value)


def test_a_file_that_is_not_there_is_named_with_the_nearest(folder):
    with pytest.raises(MissingFile, match=r'/maen\.py, .*/mean\.py\?'):
        create_manager([folder / 'maen.py'])


def test_plugins_of_a_config_are_a_list(tmp_path):
    (tmp_path / 'c.py').write_text("plugins = 'mean.py'\n")
    with pytest.raises(WrongValue, match=r"plugins is 'mean\.py'"):
        config.load(tmp_path / 'c.py')


def test_a_config_that_is_data_runs_no_code(folder, capsys):
    """A run's config.yaml names the file; only the command line may have it run."""
    marker = folder / 'ran'
    (folder / 'mean.py').write_text(f'open({str(marker)!r}, "w").close()\n{MEAN}')
    resolved = config.load(folder / 'naming.py')
    assert not marker.exists()
    path = folder / 'config.yaml'
    path.write_text(config_text.dump(resolved))
    assert dry_run(path) == 2
    error = capsys.readouterr().err
    assert 'YAML and JSON configs cannot run code' in error
    assert f'--plugin {folder / "mean.py"}' in error
    assert not marker.exists()
    assert dry_run(path, '--plugin', str(folder / 'mean.py')) == 0
    assert marker.exists()


@pytest.mark.parametrize('command', ['train', 'count'])
def test_no_command_runs_what_data_names(folder, capsys, command):
    marker = folder / 'ran'
    (folder / 'mean.py').write_text(f'open({str(marker)!r}, "w").close()\n{MEAN}')
    (folder / 'config.yaml').write_text(config_text.dump(config.load(folder / 'naming.py')))
    assert main([command, str(folder / 'config.yaml')]) == 2
    assert 'cannot run code' in capsys.readouterr().err
    options = ['--cfg-options', f'plugins=[{str(folder / "mean.py")!r}]']
    assert main([command, str(folder / 'config.yaml'), *options]) == 2
    assert not marker.exists()


def test_options_do_not_drop_the_files_of_the_flag(folder, capsys):
    arguments = ['train', str(folder / 'bare.py'), '--dry-run', '--plugin', str(folder / 'mean.py')]
    assert main([*arguments, '--cfg-options', *SMALL, 'plugins=[]']) == 0
    assert 'Mean' in capsys.readouterr().out


def test_a_checkpoint_runs_no_code(folder, tmp_path):
    from vireid.boundary import checkpoint

    read = config.load(folder / 'naming.py', SMALL)
    experiment = Experiment.from_config(read, create_manager(read['plugins']))
    model = experiment.build_model(3)
    path = tmp_path / 'last.pt'
    checkpoint.save(
        path, {'model': model.state_dict(), 'num_identities': 3, 'config': experiment.to_config(), 'progress': {}}
    )
    with pytest.raises(UnsafeFile, match=r'mean\.py') as caught:
        vireid.load(path)
    assert not any(isinstance(error, UnknownComponent) for error in (caught.value, *caught.value.errors))
    assert 'vireid.load(..., plugins=' in str(caught.value)
    assert f'--plugin {folder / "mean.py"}' in str(caught.value)
    assert type(vireid.load(path, plugins=[folder / 'mean.py']).model.necks['mlfm']).__name__ == 'Mean'


def test_a_plugin_file_imports_its_neighbors(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'path', list(sys.path))
    (tmp_path / 'acme_formulas_beside.py').write_text('def mean(features):\n    return sum(features) / len(features)\n')
    text = MEAN.replace('import torch\n', 'import torch\nfrom acme_formulas_beside import mean\n')
    (tmp_path / 'mean.py').write_text(text.replace('return sum(features) / len(features)', 'return mean(features)'))
    manager = create_manager([tmp_path / 'mean.py'])
    assert 'Mean' in manager.components.names('necks')
    assert sys.path[-1] == str(tmp_path.resolve())  # last: a neighbor hides no installed module
    sys.modules.pop('acme_formulas_beside')


PROTOCOL = """
import vireid
from vireid.core.types import Trial


class Nights:
    \'\'\'Infrared images search those visible ones that another camera took.\'\'\'

    name = 'acme/nights'

    def __init__(self, cmc='identity'):
        self.cmc = cmc

    def trials(self, dataset):
        samples = dataset.split('test')
        query = tuple(s for s in samples if s.modality == 'infrared')
        gallery = tuple(s for s in samples if s.modality == 'visible')
        return [Trial('night', 0, query, gallery, self.cmc, lambda qi, qc, gi, gc: qc == gc)]


@vireid.hookimpl
def register_components(add):
    add('protocols', 'acme/nights', Nights)
"""


def test_a_protocol_of_a_third_party_scores_and_is_named_in_the_table(tmp_path, capsys):
    (tmp_path / 'acme.py').write_text(PROTOCOL)
    samples = [Sample('a', 1, 1, 'visible'), Sample('b', 2, 2, 'visible'), Sample('q', 1, 2, 'infrared')]
    embeddings = Embeddings(tuple(samples), np.array([[0, 1], [1, 0], [1, 0]], dtype=np.float32))
    features.save(tmp_path / 'f.npz', embeddings, {'protocol': {'type': 'cross'}}, None)
    command = ['score', str(tmp_path / 'f.npz'), '--protocol', 'acme/nights']
    assert main(command) == 2
    assert "no protocol called 'acme/nights'" in capsys.readouterr().err
    assert main([*command, '--plugin', str(tmp_path / 'acme.py')]) == 0
    table = capsys.readouterr().out
    assert 'acme/nights' in table
    (row,) = [line.split() for line in table.splitlines() if line.startswith('night')]
    assert row[1] == '100.00'  # b looks more alike and is dropped


COMMAND = """
import vireid


def add_arguments(parser):
    parser.add_argument('--name', default='world')


def run(args):
    print(f'hello {args.name}')


@vireid.hookimpl
def register_commands(add):
    add('hello', __name__, 'Says hello.')
"""


class TestVerbs:
    @pytest.fixture
    def file(self, tmp_path: Path) -> str:
        (tmp_path / 'hello.py').write_text(COMMAND)
        return str(tmp_path / 'hello.py')

    def test_a_verb_of_a_file_is_called_with_the_flag_before_or_behind_it(self, file, capsys):
        assert main(['--plugin', file, 'hello', '--name', 'you']) == 0
        assert main(['hello', '--name', 'me', '--plugin', file]) == 0
        assert main(['hello', f'--plugin={file}']) == 0
        assert capsys.readouterr().out == 'hello you\nhello me\nhello world\n'

    def test_a_verb_with_the_same_flags_has_them(self, file, capsys):
        code = COMMAND.replace("parser.add_argument('--name', default='world')", 'add_plugin_arguments(parser)')
        code = code.replace(
            'import vireid\n', 'import vireid\nfrom vireid.cli.arguments import add_plugin_arguments\n', 1
        )
        Path(file).write_text(code.replace('hello {args.name}', '{args.plugin} {args.strict_plugins}'))
        assert main(['hello', '--plugin', file, '--strict-plugins']) == 0
        assert f'{[Path(file)]} True' in capsys.readouterr().out

    def test_before_a_verb_with_actions_it_stands_behind_them(self, file, small_sysu, capsys):
        assert main(['--plugin', file, 'data', 'check', str(small_sysu)]) in (0, 1)
        assert main(['--plugin', file, 'config', 'check', 'vireid::tffn_demo.py']) == 0
        assert 'vireid::tffn_demo.py: no errors' in capsys.readouterr().out

    def test_it_is_in_the_help(self, file, capsys):
        with pytest.raises(SystemExit) as stopped:
            main(['--plugin', file, '--help'])
        assert stopped.value.code == 0
        assert 'Says hello.' in capsys.readouterr().out

    def test_the_flag_before_a_verb_of_vireid_is_its_own(self, folder, capsys):
        flags = ['--plugin', str(folder / 'mean.py')]
        assert main([*flags, 'train', str(folder / 'bare.py'), '--dry-run', '--cfg-options', *SMALL]) == 0
        assert 'Mean' in capsys.readouterr().out

    def test_without_the_file_the_verb_is_unknown(self, capsys):
        assert main(['hello']) == 2
        assert "error: no command 'hello'\n" in capsys.readouterr().err

    def test_a_misspelled_verb(self, capsys):
        assert main(['trian']) == 2
        assert "no command 'trian', did you mean 'train'?" in capsys.readouterr().err


class TestFilesOfBases:
    def names(self, path: Path) -> list[str]:
        return [Path(file).name for file in config.load(path).get('plugins', [])]

    def test_those_of_a_derived_config_are_added(self, folder):
        (folder / 'other.py').write_text(MEAN)
        (folder / 'more.py').write_text("_base_ = 'naming.py'\nplugins = ['other.py']\n")
        assert self.names(folder / 'more.py') == ['mean.py', 'other.py']

    def test_or_stand_in_their_place(self, folder):
        (folder / 'new.py').write_text("_base_ = 'naming.py'\nplugins = dict(_delete_=True, files=['other.py'])\n")
        (folder / 'none.py').write_text("_base_ = 'naming.py'\nplugins = dict(_delete_=True, files=[])\n")
        (folder / 'again.py').write_text("_base_ = 'new.py'\nplugins = ['third.py']\n")
        assert self.names(folder / 'new.py') == ['other.py']
        assert self.names(folder / 'none.py') == []
        assert self.names(folder / 'again.py') == ['other.py', 'third.py']

    def test_in_the_place_of_those_of_a_base_beside_it_too(self, folder):
        (folder / 'small.py').write_text("plugins = dict(_delete_=True, files=['other.py'])\n")
        (folder / 'both.py').write_text("_base_ = ['naming.py', 'small.py']\n")
        assert self.names(folder / 'both.py') == ['other.py']
        origins: dict = {}
        config.load(folder / 'both.py', origins=origins)
        assert origins[('plugins',)] == str(folder / 'small.py')

    @pytest.mark.parametrize('text', ["dict(files=['a.py'])", 'dict(_delete_=True)', "'a.py'", '[1]', 'None'])
    def test_anything_else_is_refused_with_both_ways(self, folder, text):
        (folder / 'odd.py').write_text(f"_base_ = 'naming.py'\nplugins = {text}\n")
        with pytest.raises(WrongValue, match='plugins') as caught:
            config.load(folder / 'odd.py')
        assert "dict(_delete_=True, files=['my_fusion.py'])" in caught.value.allowed


def test_a_misspelt_feature_of_a_files_own_backbone_is_found_by_the_check(tmp_path, capsys):
    (tmp_path / 'net.py').write_text("""
import torch
import vireid


class Net(torch.nn.Module):
    def __init__(self, last: int = 4):
        super().__init__()
        if last == 13:
            raise ValueError('bad luck')
        self.outputs = {'deep': vireid.FeatureSpec(last, 'map')}
        self.layer = torch.nn.Conv2d(3, last, 8, 8)

    def forward(self, images):
        return {'deep': self.layer(torch.cat(list(images.values())))}


@vireid.hookimpl
def register_components(add):
    add('backbones', 'Net', Net)
""")
    (tmp_path / 'mine.py').write_text(f"""
_base_ = '{CONFIGS}/tffn_sysu.py'
plugins = ['net.py']
model = dict(
    _delete_=True,
    backbone=dict(type='Net'),
    heads=dict(deep=dict(type='GlobalHead', losses=dict(id=dict(type='CrossEntropy')))),
    weighter=dict(type='Fixed'),
    embedding='deep',
)
""")
    check = ['config', 'check', str(tmp_path / 'mine.py')]
    assert main(check) == 0
    assert main([*check, '--cfg-options', 'model.heads.deep.inputs=depe']) != 0
    assert "unknown feature 'depe', did you mean 'deep'?" in capsys.readouterr().out
    assert main([*check, '--cfg-options', 'model.backbone.last=13']) != 0
    assert 'model.backbone: Net could not be constructed: bad luck' in capsys.readouterr().out
    assert main([*check, '--cfg-options', 'model.backbone.lost=13']) != 0
    out = capsys.readouterr().out
    assert "model.backbone.lost: Net has no argument 'lost', did you mean 'last'?" in out
    assert 'raised' not in out
