"""A run folder, a config or a checkpoint from a stranger: nothing in it runs, leads or writes elsewhere, or lies.

10,000 changed configs and run folders each: VIREID_FUZZ=10000 pytest tests/test_received.py
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import re
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import vireid
from vireid.api import load_experiment
from vireid.boundary import checkpoint, config_text
from vireid.cli import main
from vireid.core.config import files as config
from vireid.core.scoring import results
from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import AlreadyExists, Mismatch, MissingFile, UnknownKey, UnsafeFile, WrongContent, WrongValue
from vireid.launch.work_dir import require_own_folder
from vireid.reporting.collect import collect

TIMES = int(os.environ.get('VIREID_FUZZ', 32))
DEMO = Path(__file__).parents[1] / 'configs/tffn_demo.py'
MADE = {'command': ['vireid', 'train'], 'seed': 0, 'machine': {'threads': 1}, 'init': None, 'versions': {'torch': '2'}}
SECRET = 'c2VjcmV0'


@pytest.fixture(scope='module')
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run: three people, two of them found."""
    folder = tmp_path_factory.mktemp('original')
    angles = {'q1': 0.0, 'q2': 0.3, 'g1': 0.2, 'g2': 1.0}
    samples = {}
    for number, name in enumerate(angles):
        Image.new('RGB', (20, 40), (60 * number, 40, 90)).save(folder / f'{name}.png')
        query = name.startswith('q')
        place = (int(name[1]), 3 if query else 1, INFRARED if query else VISIBLE)
        samples[name] = Sample(str(folder / f'{name}.png'), *place)
    query, gallery = (samples['q1'], samples['q2']), (samples['g1'], samples['g2'])
    features = np.array([[np.cos(a), np.sin(a)] for a in angles.values()], dtype=np.float32)
    trials = [Trial('all', number, query, gallery) for number in range(2)]
    found = score_trials(Embeddings(tuple(samples.values()), features), 'a protocol', trials, data='two people')
    run = folder / 'run'
    results.write(run, found.to_dict(), found.queries())
    collect(found, name='tffn').save(run / 'report.npz')
    sections = {**config.load(DEMO), 'name': 'tffn_demo', 'stages': []}
    (run / 'config.yaml').write_text(config_text.dump(sections))
    (run / 'run.json').write_text(json.dumps(MADE))
    (run / 'metrics.jsonl').write_text('{"step": 1, "epoch": 1.0, "loss": 2.0, "tasks": {"mlfm": 2.0}}\n')
    checkpoint.save(
        run / 'checkpoints/last.pt', {'model': {'w': torch.ones(3)}, 'config': sections, 'num_identities': 3}
    )
    return run


@pytest.fixture
def sent(original: Path, tmp_path: Path, data_only: Callable[[Path], None]) -> Path:
    """A copy of it, beside a program that must not run and a file that must not be shown or changed."""
    folder = tmp_path / 'sent'
    shutil.copytree(original, folder)
    program = f"open({str(tmp_path / 'PWNED')!r}, 'w')\n"
    for place in (folder, tmp_path):
        (place / 'evil.py').write_text(program)
    (tmp_path / 'secret.json').write_text(json.dumps({'auth': SECRET}))
    data_only(tmp_path)
    return folder


def change(folder: Path, **values: Any) -> None:
    """Changes the config of a run."""
    path = folder / 'config.yaml'
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}, sort_keys=False))


def require_harmless(folder: Path) -> None:
    outside = folder.parent
    assert not (outside / 'PWNED').exists()
    assert json.loads((outside / 'secret.json').read_text()) == {'auth': SECRET}
    for page in folder.glob('*.html'):
        assert SECRET not in page.read_text()


COMMANDS = {
    'report': lambda sent: ['report', str(sent)],
    'table': lambda sent: ['table', str(sent)],
    'plot': lambda sent: ['plot', 'cmc', str(sent), '-o', str(sent / 'cmc.svg')],
    'compare': lambda sent: ['compare', str(sent), str(sent), '--work-dir', str(sent / 'comparison')],
    'config check': lambda sent: ['config', 'check', str(sent / 'config.yaml')],
    'config show': lambda sent: ['config', 'show', str(sent / 'config.yaml')],
    'config diff': lambda sent: ['config', 'diff', str(sent / 'config.yaml'), str(DEMO)],
    'train': lambda sent: ['train', str(sent / 'config.yaml'), '--dry-run'],
    'test': lambda sent: ['test', str(sent / 'config.yaml'), str(sent / 'checkpoints/last.pt')],
    'rerun': lambda sent: ['rerun', str(sent)],
}
SHOWING = ('report', 'table', 'plot')
BASES = {
    'beside': 'evil.py',
    'slash': 'evil.py/',
    'dot': './evil.py',
    'twice': 'sub/../evil.py',
    'above': '../evil.py',
    'package': 'vireid::../../evil.py',
    'package and slash': 'vireid::../evil.py/',
    'link to a program': 'link.yaml',
    'link to a secret': 'secret.yaml',
    'secret above': '../secret.json',
    'list': ['evil.py/'],
    'of a base': 'innocent.yaml',
}
SOUND = ('stages', 'innocent.yaml')  # a stage whose base is none
RUN = r'(?s)evil\.py.*--plugin .*evil\.py'  # runs the file


@pytest.mark.parametrize('command', COMMANDS)
@pytest.mark.parametrize('key', ['_base_', 'stages'])
def test_no_base_and_no_stage_of_data_runs_or_is_shown(sent, key, command, capfd):
    (sent / 'link.yaml').symlink_to(sent / 'evil.py')
    (sent / 'secret.yaml').symlink_to(sent.parent / 'secret.json')
    (sent / 'innocent.yaml').write_text("_base_: 'evil.py/'\n")
    outside = [str(sent / 'evil.py'), str(sent.parent / 'secret.json')]
    # one way shows all of them: it does not look where they lead
    for base in ['evil.py/', outside[1]] if command in SHOWING else [*BASES.values(), *outside]:
        change(sent, **{key: base if key == '_base_' else [base] if isinstance(base, str) else base})
        status = main(COMMANDS[command](sent))
        # what is shown is the file itself, and the names of stages
        shown = command in SHOWING or ((key, base) == SOUND and command in ('config show', 'config diff', 'train'))
        assert (status == 2) != shown, base
        require_harmless(sent)
    assert SECRET not in ''.join(capfd.readouterr())


def test_a_config_of_ones_own_may_have_bases_elsewhere_and_these_run_nothing_either(sent, capsys):
    above, own = sent.parent / 'above.yaml', sent / 'own.yaml'
    above.write_text('seed: 7\n')
    own.write_text('_base_: ../above.yaml\nname: mine\n')
    assert main(['config', 'show', str(own)]) == 2
    assert 'if you trust this config, add --trust-config (from Python: trust_config=True)' in capsys.readouterr().err
    assert main(['config', 'show', str(own), '--trust-config']) == 0
    assert 'seed: 7' in capsys.readouterr().out
    assert config.load(own, trust=True) == {'seed': 7, 'name': 'mine'}
    (sent / 'link.yaml').symlink_to(sent / 'evil.py')
    for base in ('../evil.py', 'evil.py/', 'link.yaml', '../nowhere.yaml', str(sent.parent / 'evil.py')):
        own.write_text(f'_base_: {base}\n')
        missing = base == '../nowhere.yaml'
        with pytest.raises(MissingFile if missing else UnsafeFile, match=re.escape(base)) as caught:
            config.load(own, trust=True)
        assert ('--print-config' in str(caught.value)) != missing  # which converts a program
    above.write_text('plugins: [evil.py]\n')
    own.write_text('_base_: ../above.yaml\n')
    with pytest.raises(UnsafeFile, match=RUN):
        config.load(own, trust=True)
    require_harmless(sent)


@pytest.mark.parametrize('command', ['config check', 'config show', 'train', 'test', 'rerun'])
def test_a_plugin_file_runs_only_if_the_user_names_it(sent, command, capfd):
    for place in ('evil.py', '../evil.py', str(sent.parent / 'evil.py')):
        change(sent, plugins=[place])
        assert main(COMMANDS[command](sent)) == 2
        assert (
            'YAML and JSON configs cannot run code' in capfd.readouterr().err.replace('\n', ' ') or command != 'train'
        )
        require_harmless(sent)


def test_python_refuses_them_too(sent, tmp_path_factory):
    change(sent, plugins=['evil.py'])
    with pytest.raises(UnsafeFile, match=RUN):
        load_experiment(sent / 'config.yaml')
    with pytest.raises(UnsafeFile, match=RUN):
        vireid.train(sent / 'config.yaml')
    own = tmp_path_factory.mktemp('own') / 'own.py'
    own.write_text(f'_base_ = {str(sent / "config.yaml")!r}\n')
    with pytest.raises(UnsafeFile, match=RUN):  # a program that names data does not make it a program
        config.load(own)
    require_harmless(sent)


def test_a_release_holds_no_file_that_the_user_did_not_name(sent, tmp_path, capsys):
    content = checkpoint.load(sent / 'checkpoints/last.pt')
    content['config']['plugins'] = [str(tmp_path / 'secret.json')]
    checkpoint.save(tmp_path / 'steal.pt', {**content, 'progress': {'step': 1}})
    for flags in ([], ['--plugin', str(tmp_path / 'secret.json')]):
        assert main(['export', 'weights', str(tmp_path / 'steal.pt'), str(tmp_path / 'release'), *flags]) == 2
        assert not (tmp_path / 'release').exists()
    assert 'secret.json' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('where', 'value'),
    [
        (('config', 'images', 'size'), 'x'),
        (('config', 'images', 'size'), [64]),
        (('config', 'model', 'backbone'), [1]),
        (('config', 'model', 'type'), 3),
        (('config', 'name'), '](http://evil)\x1b[2J'),
        (('config',), {}),
        (('progress',), {}),
        (('num_identities',), 0),
        (('versions',), {'vireid': 3}),
        (('trained_on',), torch.zeros(2, 2)),
        (('model',), {'w': 'not a tensor'}),
        (('best',), {'step': 1}),
    ],
)
def test_a_strange_checkpoint_is_a_clear_error(sent, where, value, tmp_path, capsys):
    content = {**checkpoint.load(sent / 'checkpoints/last.pt'), 'progress': {'step': 1}}
    holder = content
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = value
    torch.save(content, tmp_path / 'strange.pt')
    statuses = [main(['checkpoint', 'show', str(tmp_path / 'strange.pt')])]
    statuses.append(main(['export', 'weights', str(tmp_path / 'strange.pt'), str(tmp_path / 'release')]))
    assert set(statuses) <= {0, 2}
    if where != ('config', 'name'):
        assert 'strange.pt' in capsys.readouterr().err or statuses == [0, 0]
    elif statuses[-1] == 0:
        assert '](http:' not in (tmp_path / 'release/README.md').read_text().replace('\\]', '')


class TestAddresses:
    def test_a_logger_with_a_server_is_left_out_and_named_unless_the_file_is_trusted(self, sent):
        change(sent, loggers=[{'type': 'MLflow', 'uri': 'http://127.0.0.1:9'}, {'type': 'MetricsFile'}])
        change(sent, dataset={'type': 'Folders', 'root': 'x'})
        assert [own['type'] for own in load_experiment(sent / 'config.yaml').loggers] == ['MetricsFile']
        trusted = load_experiment(sent / 'config.yaml', trust_config=True)
        assert [own['type'] for own in trusted.loggers] == ['MLflow', 'MetricsFile']

    def test_it_is_named(self, sent, capsys):
        change(sent, loggers=[{'type': 'WeightsAndBiases'}])
        main(['config', 'check', str(sent / 'config.yaml')])
        assert 'loggers: WeightsAndBiases is disabled for this run' in capsys.readouterr().err

    def test_a_cache_that_data_name_is_left_out_and_one_of_the_flag_is_used(self, sent, tmp_path):
        sections = yaml.safe_load((sent / 'config.yaml').read_text())
        folder = {'type': 'ImageCache', 'folder': str(tmp_path / 'elsewhere')}
        change(sent, images={**sections['images'], 'reader': folder}, dataset={'type': 'Folders', 'root': 'x'})
        assert load_experiment(sent / 'config.yaml').images.reader is None
        asked = load_experiment(DEMO, images={'reader': folder}, dataset={'root': 'x'})
        assert asked.images.reader == folder

    @pytest.mark.parametrize('text', ['http://evil/x.pth', 'FTP://evil', r'\\evil\share', 's3://evil/x'])
    def test_an_address_anywhere_else_is_refused(self, sent, text):
        change(sent, dataset={'type': 'Folders', 'root': text})
        with pytest.raises(UnsafeFile, match=rf'dataset\.root .*{re.escape(repr(text))}'):
            config.load(sent / 'config.yaml')

    def test_timm_reads_no_file_and_no_address_by_an_option(self):
        pytest.importorskip('timm')
        from vireid.plugins.backbones.networks import build_network

        for option in ('checkpoint_path', 'pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir'):
            with pytest.raises(UnknownKey, match=f'resnet18 .*{option!r}'):
                build_network('resnet18', 'timm', {option: 'evil.pth'})


class TestWriting:
    @pytest.mark.parametrize('folder', ['../x', '/tmp/x', 'a/b', ''])
    def test_tensorboard_writes_into_the_folder_of_the_run(self, folder):
        pytest.importorskip('tensorboard')
        from vireid.plugins.loggers.tensorboard import TensorBoard

        with pytest.raises(WrongValue, match=f'^folder .*{re.escape(repr(folder))}'):
            TensorBoard(folder)

    def test_no_link_in_the_folder_is_followed(self, sent, tmp_path):
        mine = tmp_path / 'mine'
        mine.write_text('precious')
        for name in ('.report.html.part', 'report.html', '.result.json.part'):
            (sent / name).unlink(missing_ok=True)
            (sent / name).symlink_to(mine)
        assert main(['report', str(sent)]) == 0
        assert mine.read_text() == 'precious'
        assert not (sent / 'report.html').is_symlink()

    @pytest.mark.parametrize(
        'name', ['config.yaml', 'result.json', 'queries.npz', 'report.npz', 'run.json', 'metrics.jsonl']
    )
    def test_a_link_that_leads_out_is_refused(self, sent, name, tmp_path):
        shutil.copy(sent / name, tmp_path / 'elsewhere')
        (sent / name).unlink()
        (sent / name).symlink_to(tmp_path / 'elsewhere')
        assert main(['report', str(sent)]) == 2

    def test_metrics_are_added_to_no_link(self, sent, tmp_path):
        from vireid.boundary.writing import open_to_append

        (tmp_path / 'mine').write_text('precious')
        (sent / 'log').symlink_to(tmp_path / 'mine')
        with pytest.raises(OSError) as caught:  # noqa: PT011
            open_to_append(sent / 'log')
        assert caught.value.errno == errno.ELOOP

    @pytest.mark.parametrize(
        'name', ['../x', '/tmp/x', 'a/b', '..', '.', '', 'a\nb', 'a\x1b[2J', 'con', 'x' * 101, ' x', r'a\b']
    )
    def test_a_name_is_one_part_of_a_path(self, sent, name):
        change(sent, name=name, dataset={'type': 'Folders', 'root': 'x'})
        with pytest.raises(WrongValue, match=f'^name .*{re.escape(repr(name))}'):
            load_experiment(sent / 'config.yaml')


class TestWorkDir:
    def test_the_data_are_no_place_for_a_run(self, make_tiny, small_sysu):
        from vireid.launch.launch import prepare

        with pytest.raises(AlreadyExists, match=f'^{re.escape(str(small_sysu))} '):
            prepare(make_tiny(small_sysu), small_sysu)

    @pytest.mark.parametrize(
        'paths',
        [['manifest.csv'], ['visible', 'infrared'], ['exp', 'cam1'], ['idx/train_vis.txt', 'test_vis']],
        ids=str,
    )
    def test_nor_is_a_dataset_that_the_run_does_not_use(self, make_tiny, small_sysu, tmp_path, paths):
        from vireid.launch.launch import prepare

        for path in paths:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).mkdir() if '.' not in path else (tmp_path / path).touch()
        with pytest.raises(AlreadyExists, match=f'^{re.escape(str(tmp_path))} '):
            prepare(make_tiny(small_sysu), tmp_path)
        prepare(make_tiny(small_sysu), tmp_path / 'runs')

    def test_nor_is_the_folder_of_a_person(self, make_tiny, small_sysu):
        from vireid.launch.launch import prepare

        for folder in ('cam1', 'cam1/0001'):
            with pytest.raises(AlreadyExists, match=rf'{folder} .*/{folder}/.*\.jpg'):
                prepare(make_tiny(small_sysu), small_sysu / folder)
        prepare(make_tiny(small_sysu), small_sysu / 'runs' / 'a')

    @pytest.mark.parametrize('name', ['report.html', 'config.yaml', 'result.json', 'metrics.jsonl', 'checkpoints'])
    def test_nor_is_a_folder_with_files_of_somebody_else(self, make_tiny, small_sysu, tmp_path, name):
        from vireid.launch.launch import prepare

        (tmp_path / name).write_text('mine')
        with pytest.raises(AlreadyExists, match=f'^{re.escape(str(tmp_path))} .*{re.escape(name)}'):
            prepare(make_tiny(small_sysu), tmp_path)
        assert (tmp_path / name).read_text() == 'mine'

    def test_nor_one_whose_checkpoints_lie_elsewhere(self, make_tiny, small_sysu, sent, tmp_path):
        from vireid.launch.launch import prepare

        shutil.move(sent / 'checkpoints', tmp_path / 'elsewhere')
        (sent / 'checkpoints').symlink_to(tmp_path / 'elsewhere')
        with pytest.raises(UnsafeFile, match=r'/checkpoints .*/elsewhere') as caught:
            prepare(make_tiny(small_sysu), sent)
        assert str(sent) in caught.value.todo
        assert '--work-dir' in caught.value.todo

    def test_but_the_whole_folder_may_be_a_link_that_the_user_names(self, sent, tmp_path):
        (tmp_path / 'run').symlink_to(sent)
        require_own_folder(tmp_path / 'run')


class TestScoresThatCannotBeTrue:
    def test_an_edited_result_is_held_against_its_queries(self, sent, capsys):
        edited = json.loads((sent / 'result.json').read_text())
        edited['rows'][0]['R1']['mean'] = 0.99
        edited['models'] = [1]  # a word that says nothing of the queries beside it
        (sent / 'result.json').write_text(json.dumps(edited))
        for command in ('report', 'table', 'plot', 'compare'):
            assert main(COMMANDS[command](sent)) == 2
            assert 'R1 of all is 99.00% there' in capsys.readouterr().err

    @pytest.mark.parametrize('key', ['data', 'protocol', 'name'])
    def test_nor_may_it_say_that_it_is_of_something_else(self, sent, capsys, key):
        edited = json.loads((sent / 'result.json').read_text())
        (edited['rows'][0] if key == 'name' else edited)[key] = 'SYSU-MM01'
        (sent / 'result.json').write_text(json.dumps(edited))
        (sent / 'report.npz').unlink()
        assert main(['table', str(sent)]) == 2
        assert 'does not match result.json beside it: ' in capsys.readouterr().err

    def test_queries_of_an_earlier_vireid_do_not_say_what_they_are_of(self, sent):
        with np.load(sent / 'queries.npz') as there:
            kept = {name: there[name] for name in there.files if name != 'about'}
        np.savez(sent / 'queries.npz', **kept)
        assert main(['table', str(sent)]) == 0

    @pytest.mark.parametrize('value', [1.5, -0.1, float('nan'), 'high', None])
    def test_a_number_out_of_range_is_refused(self, sent, value):
        edited = json.loads((sent / 'result.json').read_text())
        edited['rows'][0]['mAP']['mean'] = value
        (sent / 'result.json').write_text(json.dumps(edited))
        (sent / 'queries.npz').unlink()
        assert main(['report', str(sent)]) == 2

    def test_a_result_without_its_queries_says_so_in_a_table(self, sent, capsys):
        assert main(['table', str(sent)]) == 0
        assert 'could not be verified' not in capsys.readouterr().out
        (sent / 'queries.npz').unlink()
        assert main(['table', str(sent)]) == 0
        assert 'tffn_demo has no queries.npz, so its metrics could not be verified' in capsys.readouterr().out

    def test_random_features_under_double_paths_are_refused(self, tmp_path):
        rng = np.random.default_rng(0)
        count, shots = 20, 4
        identities = np.repeat(np.arange(count), 2 * shots)
        modalities = (['visible'] * shots + ['infrared'] * shots) * count
        features = rng.normal(size=(len(identities), 32)).astype('float32')
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        names = [f'{i}_{k}.jpg' for i in range(count) for _ in range(2) for k in range(shots)]
        spelled = [f'./{name}' if n % 2 else name for n, name in enumerate(names)]
        for number, paths in enumerate((names, spelled)):
            file = tmp_path / f'{number}.npz'
            about = np.array(json.dumps({'format': 1, 'protocol': {'type': 'cross'}}))
            np.savez(
                file, features=features, identities=identities, cameras=np.ones(len(identities), int),
                modalities=np.array(modalities), paths=np.array(paths), about=about,
            )  # fmt: skip
            assert main(['score', str(file)]) == 2

    @pytest.mark.parametrize('how', ['link', 'hard link', 'copy'])
    def test_a_test_image_is_no_training_image_under_any_name(self, make_tiny, small_sysu, tmp_path, how):
        from vireid.launch.launch import prepare

        root = tmp_path / 'data'
        shutil.copytree(small_sysu, root)
        test, other = root / 'cam3/0004/0001.jpg', root / 'cam3/0001/0099.jpg'
        {'link': other.symlink_to, 'hard link': other.hardlink_to, 'copy': lambda t: shutil.copy(t, other)}[how](test)
        with pytest.raises(WrongContent, match=r'^1 .*0004/0001\.jpg .*0001/0099\.jpg'):
            prepare(make_tiny(root), tmp_path / 'run')
        prepare(make_tiny(root, 'images.check=nothing'), tmp_path / 'run')

    def test_nor_at_another_place_when_the_checkpoint_is_tested(self, make_tiny, small_sysu, tmp_path):
        from vireid.exchange.evaluation import score_checkpoint
        from vireid.launch.launch import train

        train(make_tiny(small_sysu, 'training.epochs=None', 'training.steps=1'), tmp_path / 'run')
        root = tmp_path / 'other'
        shutil.copytree(small_sysu, root)
        shutil.copy(root / 'cam1/0001/0001.jpg', root / 'cam3/0004/0001.jpg')
        with pytest.raises(Mismatch, match=r'/last\.pt .*\b1 '):
            score_checkpoint(make_tiny(root), tmp_path / 'run/checkpoints/last.pt', tmp_path / 'test')

    def test_a_query_does_not_find_itself(self, make_tiny, small_sysu, tmp_path):
        from vireid.launch.launch import prepare

        root = tmp_path / 'data'
        shutil.copytree(small_sysu, root)
        for shot in (1, 2, 3):
            shutil.copy(root / f'cam3/0004/000{shot}.jpg', root / f'cam1/0004/000{shot}.jpg')
        with pytest.raises(WrongContent, match=r'(cam\d/0004/000\d\.jpg).*(cam\d/0004/000\d\.jpg)'):
            prepare(make_tiny(root), tmp_path / 'run')


VALUES = [
    '../../evil.py', 'evil.py/', '/etc/passwd', 'http://127.0.0.1:9/x', '\\\\evil\\x', 'vireid::../../evil.py',
    '{{ fileDirname }}', '{{$HOME:x}}', '{task.description}', '[/red]', '<img src=x onerror=alert(1)>', '\x1b]0;x\x07',
    '=1+1', '$\\frac', '\u202e', '\ud800', 'x' * 5000, '', None, True, -1, 0, 10**30, 1e308, float('nan'), [], {},
    ['evil.py'], [[[[[]]]]], {'type': 'evil.py'}, {'_delete_': True}, {'_base_': 'evil.py'}, {'type': 'MLflow'},
]  # fmt: skip
KEYS = [
    '_base_',
    'stages',
    'plugins',
    'loggers',
    'name',
    'requires',
    'type',
    'root',
    'folder',
    'uri',
    'init',
    'weights',
]


def mutated(value: Any, rng: random.Random, changes: int = 2) -> Any:
    """Returns nested values with some of them replaced, removed, renamed or added."""
    value = json.loads(json.dumps(value))
    for _ in range(changes):
        holder: Any = value
        while True:
            places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not places:
                break
            place = rng.choice(places)
            if isinstance(holder[place], (dict, list)) and holder[place] and rng.random() < 0.7:
                holder = holder[place]
                continue
            kind = rng.randrange(4)
            if kind == 0:
                del holder[place]
            elif kind == 1 and isinstance(holder, dict):
                holder[rng.choice([*KEYS, *map(str, VALUES[:12])])] = deepcopy(rng.choice(VALUES))
            else:
                holder[place] = deepcopy(rng.choice(VALUES))  # a later change may go into it
            break
    return value


def require_calm(status: int, printed: Any) -> None:
    assert status in (0, 1, 2)
    text = ''.join(printed)
    assert 'Traceback' not in text
    assert len(text) < 200_000


def test_a_changed_config_runs_nothing_and_ends_with_a_clear_error(sent, capfd):
    whole = yaml.safe_load((sent / 'config.yaml').read_text())
    rng = random.Random(0)
    before = sorted(p.name for p in sent.parent.iterdir())
    for number in range(TIMES):
        name = ('x.yaml', 'x.json')[number % 2]
        changed = mutated(whole, rng)
        text = json.dumps(changed) if name.endswith('json') else yaml.safe_dump(changed, allow_unicode=False)
        (sent / name).write_text(text)
        require_calm(main(['config', 'show' if number % 3 else 'check', str(sent / name)]), capfd.readouterr())
        require_harmless(sent)
    assert sorted(p.name for p in sent.parent.iterdir()) == before


def damage(folder: Path, rng: random.Random) -> None:
    """Changes one file of a run's folder: what it says, its bytes, or what it is."""
    path = folder / rng.choice(['config.yaml', 'result.json', 'run.json', 'metrics.jsonl', 'report.npz', 'queries.npz'])
    kind = rng.randrange(5)
    if kind == 0:
        content = bytearray(path.read_bytes())
        at = rng.randrange(len(content))
        content[at : at + rng.choice([0, 1, 40])] = rng.choice([b'', b'\0', b'\xff', b'9' * 30, b'}', b'['])
        path.write_bytes(content)
    elif kind == 1 and rng.random() < 0.3:
        path.unlink()
        rng.choice([
            lambda: path.symlink_to(folder.parent / 'secret.json'), lambda: os.mkfifo(path), path.mkdir, path.touch,
        ])()  # fmt: skip
    elif path.suffix == '.npz':
        with np.load(path) as found:
            arrays = {key: found[key] for key in found.files}
        key = rng.choice(list(arrays))
        if key == 'about':
            about = mutated(json.loads(arrays[key].tobytes()), rng)
            arrays[key] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        else:
            some: list[Callable[[np.ndarray], np.ndarray]] = [
                lambda a: a[:-1],
                lambda a: a[None],
                lambda a: a + 1,
                lambda a: a * 10**6,
                lambda a: -a.astype(float),
                lambda a: a.astype(float) * np.nan,
                lambda a: a.astype('U8'),
                lambda a: np.zeros(0),
            ]
            with contextlib.suppress(Exception), np.errstate(all='ignore'):
                arrays[key] = rng.choice(some)(arrays[key])
        np.savez_compressed(path, **arrays)
    elif path.suffix == '.json':
        path.write_text(json.dumps(mutated(json.loads(path.read_text()), rng)))
    elif path.suffix == '.yaml':
        path.write_text(yaml.safe_dump(mutated(yaml.safe_load(path.read_text()), rng)))
    else:
        path.write_text(json.dumps(mutated(json.loads(path.read_text()), rng)) + '\n')


def test_a_changed_run_folder_is_shown_or_refused(original, sent, capfd):
    rng = random.Random(1)
    for number in range(TIMES):
        shutil.rmtree(sent)
        shutil.copytree(original, sent)
        damage(sent, rng)
        command = ('table', 'report', 'table', 'plot')[number % 4]
        if command == 'plot':
            figure = rng.choice(['cmc', 'rankings', 'weights', 'embedding', 'distances', 'graph'])
            words = ['plot', figure, str(sent), '-o', str(sent.parent / 'figure.svg')]
        else:
            words = COMMANDS[command](sent)
        require_calm(main(words), capfd.readouterr())
        require_harmless(sent)
        page = sent / 'report.html'
        if command == 'report' and page.is_file():
            assert not re.search(r'<img[^>]*onerror|<script[^>]*src', page.read_text())
