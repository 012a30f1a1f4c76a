"""`vireid config show` and `diff`, and overrides that are read as what they are meant for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vireid.boundary import config_text
from vireid.cli import main
from vireid.core.config import files as config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv('VIREID_DATA', raising=False)


def printed(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(['config', *words]) == status
    return capsys.readouterr().out


@pytest.mark.parametrize(
    'path', sorted(str(p.relative_to(ROOT)) for p in (ROOT / 'configs').glob('*.py')), ids=lambda p: Path(p).stem
)
def test_what_is_shown_is_the_config_as_yaml(here, capsys, tmp_path, path):
    (tmp_path / 'shown.yaml').write_text(printed(capsys, 'show', path))
    shown = config.load(tmp_path / 'shown.yaml')
    assert shown == yaml.safe_load(config_text.dump({**config.load(path), 'name': Path(path).stem}))


class TestOrigins:
    def line(self, text: str, start: str) -> str:
        return next(line for line in text.splitlines() if line.strip().startswith(start))

    def test_each_value_has_the_file_that_set_it_last(self, here, capsys):
        text = printed(capsys, 'show', 'configs/tffn_demo.py')
        assert self.line(text, 'shared_from:').endswith('# configs/_base_/tffn.py')
        assert self.line(text, 'depth:').endswith('# configs/_base_/tffn_small.py')
        assert self.line(text, 'schedule:').endswith('# configs/_base_/tffn_small.py')  # a list is one value
        assert self.line(text, 'root:').endswith('# configs/_base_/sysu.py')

    def test_an_override_is_where_a_value_is_from(self, here, capsys):
        text = printed(capsys, 'show', 'configs/tffn_demo.py', '--cfg-options', 'seed=4', 'training.evaluate_every=2')
        assert self.line(text, 'seed:') == f'{"seed: 4":<{text.splitlines()[2].index("#") - 2}}  # seed=4'
        assert self.line(text, 'evaluate_every:').endswith('# training.evaluate_every=2')

    def test_the_environment_is_named(self, here, capsys, monkeypatch):
        monkeypatch.setenv('VIREID_DATA', '/data/x')
        text = printed(capsys, 'show', 'configs/tffn_demo.py')
        assert self.line(text, 'root:').endswith('VIREID_DATA')

    def test_what_delete_took_away_is_not_shown_and_what_replaced_it_is_new(self, tmp_path, capsys):
        (tmp_path / 'a.py').write_text("x = dict(type='A', lr=1, deep=dict(a=1, b=2))\ny = 1\n")
        (tmp_path / 'b.py').write_text("_base_ = 'a.py'\nx = dict(_delete_=True, type='B', deep=dict(b=3))\n")
        origins: dict[tuple[str, ...], str] = {}
        assert config.load(tmp_path / 'b.py', origins=origins) == {'x': {'type': 'B', 'deep': {'b': 3}}, 'y': 1}
        a, b = str(tmp_path / 'a.py'), str(tmp_path / 'b.py')
        assert origins == {('x', 'type'): b, ('x', 'deep', 'b'): b, ('y',): a}

    def test_bases_of_bases(self, tmp_path):
        (tmp_path / 'a.yaml').write_text('x: {p: 1, q: 1, r: 1}\n')
        (tmp_path / 'b.yaml').write_text('_base_: a.yaml\nx: {q: 2, r: 2}\n')
        (tmp_path / 'c.yaml').write_text('_base_: b.yaml\nx: {r: 3}\n')
        origins: dict[tuple[str, ...], str] = {}
        assert config.load(tmp_path / 'c.yaml', origins=origins) == {'x': {'p': 1, 'q': 2, 'r': 3}}
        assert [Path(origins['x', key]).name for key in 'pqr'] == ['a.yaml', 'b.yaml', 'c.yaml']


class TestDiff:
    def test_what_differs_by_path(self, here, capsys):
        text = printed(capsys, 'diff', 'configs/tffn_sysu.py', 'configs/tffn_demo.py', status=1)
        assert '~ model.backbone.depth: 50 -> 18\n' in text
        assert '~ images.size: [288, 144] -> [144, 72]\n' in text
        assert '- step.optimizer.momentum: 0.9\n' in text
        assert '+ training.steps: ' in text
        assert 'name' not in text

    def test_nothing_differs(self, here, capsys, tmp_path):
        printed(capsys, 'show', 'configs/tffn_demo.py')
        (tmp_path / 'same.py').write_text("_base_ = 'vireid::tffn_demo.py'\n")
        text = printed(capsys, 'diff', 'configs/tffn_demo.py', str(tmp_path / 'same.py'))
        assert text == 'no difference\n'

    def test_a_wrong_file_is_an_error_and_not_a_difference(self, here, capsys):
        assert main(['config', 'diff', 'configs/tffn_demo.py', 'configs/tffn_dmo.py']) == 2
        assert "did you mean 'configs/tffn_demo.py'?" in capsys.readouterr().err


class TestOverrides:
    """`--cfg-options` is read against the signatures of what is built."""

    @pytest.mark.parametrize(
        ('option', 'shown'),
        [
            ('name=2024', "name: '2024'"),
            ('name=true', "name: 'true'"),
            ('model.backbone.weights=1', "weights: '1'"),
            ('model.backbone.weights=None', 'weights: null'),
            ('step.optimizer.lr=1', 'lr: 1 '),
            ('step.optimizer.lr=1e-4', 'lr: 0.0001'),
            ('images.size=[64,32]', 'size: [64, 32]'),
            ('images.train.0.antialias=False', 'antialias: false'),
            ('model.necks.s4.pool=GeM', 'pool: GeM'),
            ("model.necks.s4.pool={'type':'GeM','p':4}", 'p: 4'),
        ],
    )
    def test_a_value_is_what_its_place_takes(self, here, capsys, option, shown):
        assert shown in printed(capsys, 'show', 'configs/tffn_demo.py', '--cfg-options', option)
        assert 'no errors' in printed(capsys, 'check', 'configs/tffn_demo.py', '--cfg-options', option)

    @pytest.mark.parametrize(
        ('option', 'text'),
        [
            ('step.optimizer.lr=1e', "step.optimizer.lr is '1e' (str)\n    allowed: a number"),
            ('images.size=64', 'images.size is 64 (int)'),
            ('model.backbone.depht=18', "TwoStreamResNet has no argument 'depht', did you mean 'depth'?"),
            ('model.heads.s2.pol=GeM', "GlobalHead has no argument 'pol', did you mean 'pool'?"),
            ('images.train.0.sixe=[1,1]', "images.train.0.sixe: Resize has no argument 'sixe', did you mean 'size'?"),
            ('foo=1', "foo: the config has no section 'foo'"),
            ('model.necks.s2.inputs.more=1', "model.necks.s2.inputs is 'stage2' and has no keys"),
            ('evaluation.rerank.k1=20', 'evaluation'),
        ],
    )
    def test_a_key_that_nothing_accepts_cannot_be_added(self, here, capsys, option, text):
        assert text in printed(capsys, 'check', 'configs/tffn_demo.py', '--cfg-options', option, status=2)

    def test_numbers_that_no_machine_takes_are_all_told_at_once(self, here, capsys):
        names = ('sampler.identities', 'sampler.visible', 'sampler.infrared', 'training.devices', 'training.nodes')
        names += ('images.workers', 'training.steps', 'training.keep', 'evaluation.batch_size')
        options = [f'{name}={10**10}' for name in names]
        text = printed(capsys, 'check', 'configs/tffn_demo.py', '--cfg-options', *options, status=2)
        assert [name for name in names if f'{name} is {10**10} (int)\n    allowed: an integer from ' not in text] == []

    def test_training_takes_them_the_same_way(self, here, capsys):
        assert main(['train', 'configs/tffn_demo.py', '--print-config', '--cfg-options', 'name=7']) == 0
        assert "name: '7'" in capsys.readouterr().out


def test_yaml_and_json_are_checked_too_and_execute_nothing(here, tmp_path, capsys):
    whole = config_text.dump(config.load('configs/tffn_demo.py'))
    (tmp_path / 'good.yaml').write_text(whole)
    (tmp_path / 'bad.yaml').write_text(whole + 'extra: !!python/object/apply:os.system ["touch ' + f'{tmp_path}/x"]\n')
    (tmp_path / 'bad.json').write_text('{"model": {"embedding": 3}}')
    text = printed(capsys, 'check', *(str(tmp_path / n) for n in ('good.yaml', 'bad.yaml', 'bad.json')), status=2)
    assert 'good.yaml: no errors' in text
    assert 'bad.yaml: 1 error' in text
    assert 'model.embedding is 3 (int)' in text
    assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
    ('name', 'text', 'said'),
    [
        ('twice.yaml', 'seed: 1\ntraining: {epochs: 3, epochs: 4}\n', "line 2: duplicate key 'epochs'"),
        ('twice.json', '{"seed": 1, "seed": 2}', "duplicate key 'seed'"),
        ('twice.py', "training = {'epochs': 3,\n 'epochs': 4}\n", "line 1: duplicate key 'epochs'"),
        ('number.yaml', '1: a\n"1": b\n', "duplicate key '1'"),
        ('endless.yaml', 'a: &x [*x]\n', 'circular reference'),
        ('endless.py', 'a = []\na.append(a)\n', 'circular reference'),
        ('leaves.py', 'raise SystemExit(3)\n', 'SystemExit: 3'),
    ],
)
def test_what_no_config_can_mean_is_an_error_of_its_file(here, tmp_path, capsys, name, text, said):
    (tmp_path / name).write_text(text)
    out = printed(capsys, 'check', str(tmp_path / name), 'configs/tffn_demo.py', status=2)
    assert said in out
    assert name in out
    assert 'configs/tffn_demo.py: no errors' in out


def test_yaml_may_merge_and_set_again(tmp_path):
    (tmp_path / 'a.yaml').write_text('a: &a {x: 1, y: 1}\nb:\n  <<: *a\n  y: 2\n')
    assert config.load(tmp_path / 'a.yaml')['b'] == {'x': 1, 'y': 2}


class TestSeveralOverrides:
    def test_the_last_one_counts(self, here, capsys):
        text = printed(capsys, 'show', 'configs/tffn_demo.py', '--cfg-options', 'name=2024', 'name=2025')
        assert "name: '2025'" in text

    @pytest.mark.parametrize(
        'options',
        [
            ['images.train.3.p=0.3', 'images.train=[]'],
            ['model.heads.glfm.type=GlobalHead', 'model.heads={}'],
            ['name=7', 'name=x'],
        ],
        ids=str,
    )
    def test_a_later_one_may_replace_what_an_earlier_one_set(self, here, capsys, options):
        printed(capsys, 'show', 'configs/tffn_demo.py', '--cfg-options', *options)

    def test_a_key_with_dots_of_its_own_can_be_named(self, here, capsys):
        option = 'step.groups.backbone.*.lr=0.002'
        text = printed(capsys, 'show', 'configs/dmcf_demo.py', '--cfg-options', option)
        assert 'lr: 0.002' in text
        assert option in text
        text = printed(
            capsys, 'check', 'configs/dmcf_demo.py', '--cfg-options', option.replace('lr=', 'lrr='), status=2
        )
        assert "step.groups.backbone.*.lrr: Adam has no setting 'lrr'" in text

    def test_where_a_whole_dict_or_an_item_came_from(self, here, capsys):
        whole, item = "step.optimizer={'type': 'Adam', 'lr': 1.0}", 'images.size.0=100'
        text = printed(capsys, 'show', 'configs/tffn_demo.py', '--cfg-options', whole, item)
        lines = {line.split(':')[0].strip(): line for line in text.splitlines()}
        assert lines['lr'].endswith(whole)
        assert lines['size'].endswith(item)


@pytest.mark.parametrize('flag', [['--rerank'], ['--flip'], ['--precision', '32-true'], ['--cache', 'x']], ids=str)
def test_a_flag_for_a_section_that_is_none(here, tmp_path, capsys, flag):
    (tmp_path / 'x.yaml').write_text('evaluation: text\ntraining: 3\nimages: [1]\n')
    assert main(['train', str(tmp_path / 'x.yaml'), '--dry-run', *flag]) == 2
    assert 'allowed: a dict' in capsys.readouterr().err


def test_diff_compares_what_is_meant(tmp_path, capsys):
    (tmp_path / 'a.yaml').write_text('x: {a: .nan, b: 1, c: true, "g.h": 1, d: [1, 2]}\n')
    (tmp_path / 'b.yaml').write_text('x: {a: .nan, b: 1.0, c: 1, g: {h: 1}, d: [1, 2]}\n')
    text = printed(capsys, 'diff', str(tmp_path / 'a.yaml'), str(tmp_path / 'b.yaml'), status=1)
    assert text == '~ x.c: true -> 1\n- x.g.h: 1\n+ x.g.h: 1\n'
