"""Configs: bases, deletions, overrides, what is refused, and writing them back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.boundary.config_text import dump
from vireid.core.config.files import lay_over, load
from vireid.core.config.overrides import override, parse_value
from vireid.errors import (
    DamagedFile,
    Mismatch,
    MissingFile,
    UnknownKey,
    UnknownName,
    UnsafeFile,
    UnsupportedFile,
    VireidError,
    WrongContent,
    WrongValue,
)

BASE = {
    'base.py': "dataset = dict(type='A', root=None, cams=(1, 2))\n"
    'model = dict(necks=dict(s2=dict(channels=4)))\nseed = 0\n',
    'base.yaml': 'dataset: {type: A, root: null, cams: [1, 2]}\nmodel: {necks: {s2: {channels: 4}}}\nseed: 0\n',
    'base.json': '{"dataset": {"type": "A", "root": null, "cams": [1, 2]},'
    ' "model": {"necks": {"s2": {"channels": 4}}}, "seed": 0}',
}
FORMS = ('py', 'yaml', 'json')


def write(folder: Path, **files: str) -> Path:
    """Writes files named `name__ending` and returns the path of the last."""
    path = folder
    for name, text in files.items():
        path = folder / name.replace('__', '.')
        path.write_text(text, encoding='utf-8')
    return path


def write_bases(folder: Path) -> None:
    for name, text in BASE.items():
        (folder / name).write_text(text)


# every form over every other, but for Python below what promises to execute nothing
MIXES = [(form, base) for form in FORMS for base in BASE if form == 'py' or not base.endswith('.py')]


def child(form: str, base: str | list[str], body: dict[str, Any]) -> str:
    """Returns the text of a config with a base, in any form."""
    if form == 'py':
        return f'_base_ = {base!r}\n' + ''.join(f'{key} = {value!r}\n' for key, value in body.items())
    return json.dumps({'_base_': base, **body})  # JSON is YAML


def refusal(path: Path, kind: type[VireidError]) -> str:
    """Loads a config that is refused; returns the error, which is of this kind, as text."""
    with pytest.raises(kind) as caught:
        load(path)
    return str(caught.value)


def kinds(value: Any) -> set[type]:
    """Returns the types of all containers and scalars in a config."""
    if isinstance(value, dict):
        return {type(value)}.union(*map(kinds, value), *map(kinds, value.values()))
    if isinstance(value, (list, tuple)):
        return {type(value)}.union(*map(kinds, value))
    return {type(value)}


@pytest.mark.parametrize(('form', 'base'), MIXES)
def test_a_config_changes_what_it_names_and_inherits_the_rest_in_any_mix_of_forms(
    tmp_path: Path, form: str, base: str
) -> None:
    write_bases(tmp_path)
    text = child(form, base, {'dataset': {'root': '/data'}, 'model': {'necks': {'s3': {'channels': 8}}}, 'name': 'x'})
    path = write(tmp_path, **{f'child__{form}': text})
    assert load(path) == {
        'dataset': {'type': 'A', 'root': '/data', 'cams': (1, 2) if base.endswith('py') else [1, 2]},
        'model': {'necks': {'s2': {'channels': 4}, 's3': {'channels': 8}}},
        'seed': 0,
        'name': 'x',
    }


@pytest.mark.parametrize('form', FORMS)
def test_bases_may_have_bases_in_other_folders(tmp_path: Path, form: str) -> None:
    (tmp_path / 'deep' / 'er').mkdir(parents=True)
    # only a program may name a file outside its folder
    folder, base = (tmp_path / 'deep', '../root') if form == 'py' else (tmp_path / 'deep/er', './root')
    write(folder, **{f'root__{form}': child(form, [], {'a': {'x': 1, 'y': 1}})})
    write(tmp_path / 'deep' / 'er', **{f'middle__{form}': child(form, f'{base}.{form}', {'a': {'y': 2, 'z': 2}})})
    path = write(tmp_path, **{f'leaf__{form}': child(form, f'deep/er/middle.{form}', {'a': {'z': 3}})})
    assert load(path) == {'a': {'x': 1, 'y': 2, 'z': 3}}


@pytest.mark.parametrize('form', FORMS)
def test_several_bases_are_put_together(tmp_path: Path, form: str) -> None:
    empty = {'py': 'a = dict(x=1)\n', 'yaml': 'a: {x: 1}\n', 'json': '{"a": {"x": 1}}'}[form]
    other = {'py': 'b = dict(y=1)\n', 'yaml': 'b: {y: 1}\n', 'json': '{"b": {"y": 1}}'}[form]
    path = write(
        tmp_path,
        **{f'one__{form}': empty, f'two__{form}': other},
        **{f'leaf__{form}': child(form, [f'one.{form}', f'two.{form}'], {'a': {'z': 2}})},
    )
    assert load(path) == {'a': {'x': 1, 'z': 2}, 'b': {'y': 1}}


@pytest.mark.parametrize(('form', 'base'), MIXES)
def test_delete_replaces_instead_of_merging(tmp_path: Path, form: str, base: str) -> None:
    write_bases(tmp_path)
    body = {'dataset': {'_delete_': True, 'type': 'B'}, 'model': {'necks': {'s2': {'_delete_': True, 'type': 'N'}}}}
    config = load(write(tmp_path, **{f'child__{form}': child(form, base, body)}))
    assert config == {'dataset': {'type': 'B'}, 'model': {'necks': {'s2': {'type': 'N'}}}, 'seed': 0}


@pytest.mark.parametrize('form', FORMS)
def test_delete_where_there_is_nothing_to_replace_leaves_no_trace(tmp_path: Path, form: str) -> None:
    write_bases(tmp_path)
    body = {'step': {'_delete_': True, 'type': 'B'}, 'model': {'necks': {'s3': {'_delete_': True, 'type': 'N'}}}}
    config = load(write(tmp_path, **{f'child__{form}': child(form, f'base.{form}', body)}))
    assert config['step'] == {'type': 'B'}
    assert config['model']['necks']['s3'] == {'type': 'N'}


@pytest.mark.parametrize('form', FORMS)
def test_a_dict_over_something_else_is_refused_with_the_file_and_the_key(tmp_path: Path, form: str) -> None:
    write_bases(tmp_path)
    path = write(tmp_path, **{f'child__{form}': child(form, f'base.{form}', {'dataset': {'cams': {'first': 1}}})})
    text = refusal(path, Mismatch)
    assert str(path) in text
    assert 'cams' in text
    assert '_delete_' in text


@pytest.mark.parametrize('form', FORMS)
def test_names_with_a_leading_underscore_are_the_files_own(tmp_path: Path, form: str) -> None:
    text = {
        'py': '_losses = dict(a=1)\nheads = dict(x=_losses, y=_losses)\n',
        'yaml': '_losses: &l {a: 1}\nheads: {x: *l, y: *l}\n',
        'json': '{"_losses": {"a": 1}, "heads": {"x": {"a": 1}, "y": {"a": 1}}}',
    }[form]
    path = write(tmp_path, **{f'own__{form}': text})
    assert load(path) == {'heads': {'x': {'a': 1}, 'y': {'a': 1}}}
    leaf = write(tmp_path, **{f'leaf__{form}': child(form, f'own.{form}', {})})
    assert load(leaf) == load(path)


@pytest.mark.parametrize('form', ['py', 'yaml'])
def test_a_shared_scratch_value_is_copied_so_that_an_override_changes_one_place(tmp_path: Path, form: str) -> None:
    text = {
        'py': '_losses = dict(a=1)\nheads = dict(x=_losses, y=_losses)\n',
        'yaml': '_losses: &l {a: 1}\nheads: {x: *l, y: *l}\n',
    }[form]
    path = write(tmp_path, **{f'own__{form}': text})
    assert load(path, ['heads.x.a=2']) == {'heads': {'x': {'a': 2}, 'y': {'a': 1}}}


@pytest.mark.parametrize('form', FORMS)
def test_everything_loaded_is_plain(tmp_path: Path, form: str) -> None:
    write_bases(tmp_path)
    path = write(tmp_path, **{f'child__{form}': child(form, f'base.{form}', {'more': [{'a': [1, {'b': None}]}]})})
    assert kinds(load(path)) <= {dict, list, tuple, str, int, type(None)}


def test_an_error_in_a_python_config_says_its_line_and_quotes_are_suggested_for_a_bare_name(tmp_path: Path) -> None:
    path = write(tmp_path, bare__py='seed = 1\nmodel = dict(type=MLFM)\n', zero__py='seed = 1 / 0\n')
    said = refusal(path.with_name('bare.py'), DamagedFile)
    assert 'bare.py, line 2' in said
    assert "type='MLFM'" in said
    other = refusal(path.with_name('zero.py'), DamagedFile)
    assert 'zero.py, line 1' in other
    assert 'MLFM' not in other


def test_yaml_reads_the_numbers_people_write(tmp_path: Path) -> None:
    path = write(tmp_path, a__yaml='lr: 5e-4\nbig: 1e3\ndecay: 0.0005\nversion: "5e-4"\n')
    assert load(path) == {'lr': 0.0005, 'big': 1000.0, 'decay': 0.0005, 'version': '5e-4'}


def test_an_unknown_package_is_never_answered_with_one_that_offers_no_configs(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match='acme-tools') as caught:
        load('acme-tools::small.py', folders=lambda: {'acme-loss': [], 'acme-toolbox': [tmp_path]})
    assert 'acme-toolbox' in str(caught.value)
    assert 'acme-loss' not in str(caught.value)

    with pytest.raises(UnknownName, match='acme-tools') as caught:
        load('acme-tools::small.py', folders=lambda: {'acme-loss': []})
    assert 'acme-loss' not in str(caught.value)


def test_a_missing_config_that_a_package_offers_is_named_by_it(tmp_path: Path) -> None:
    offered = write(tmp_path, tffn__py='seed = 1\n').parent
    with pytest.raises(MissingFile, match=r'acme::tffn\.py'):
        load(tmp_path / 'elsewhere' / 'tffn.py', folders=lambda: {'acme': [offered]})


@pytest.mark.parametrize('name', ['missing.py', 'missing.yaml', 'missing.json', 'missing'])
def test_a_missing_config_is_named(tmp_path: Path, name: str) -> None:
    assert str(tmp_path / name) in refusal(tmp_path / name, MissingFile)
    assert str(tmp_path / 'no' / 'where' / name) in refusal(tmp_path / 'no' / 'where' / name, MissingFile)


def test_a_mistyped_config_gets_the_nearest_one_beside_it(tmp_path: Path) -> None:
    write(tmp_path, tffn_sysu__py='a = 1', dmcf_regdb__py='a = 1')
    text = refusal(tmp_path / 'tfn_sysu.py', MissingFile)
    assert f"'{tmp_path}/tffn_sysu.py'" in text
    assert f'{tmp_path}/dmcf_regdb.py, {tmp_path}/tffn_sysu.py' in text


def test_the_name_of_a_system_alone_is_answered_with_its_installed_configs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mkdocs.yml').touch()
    for name in ('tffn_sysu.py', 'tffn_regdb.py', 'dmcf.py', 'systems/agw.py', '_base_/tffn.py', 'tffn.txt'):
        (tmp_path / 'installed' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'installed' / name).touch()

    def offered(name: str) -> list[str]:
        with pytest.raises(MissingFile) as caught:
            load(name, folders=lambda: {'acme': [tmp_path / 'installed']})
        return sorted(set(re.findall(r'acme::[\w/]+\.py|mkdocs', str(caught.value))))

    assert offered('tffn') == ['acme::tffn_regdb.py', 'acme::tffn_sysu.py']
    assert 'acme::systems/agw.py' in offered('agw')
    assert offered('nothing_similar') == ['acme::dmcf.py', 'acme::tffn_regdb.py', 'acme::tffn_sysu.py']


def test_another_kind_of_file_is_refused_with_the_kinds_that_are_read(tmp_path: Path) -> None:
    assert '.py, .yaml, .yml, .json' in refusal(write(tmp_path, a__toml='a = 1'), UnsupportedFile)


def test_a_folder_is_refused_with_the_configs_in_it(tmp_path: Path) -> None:
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'config.yaml').write_text('name: x')
    text = refusal(tmp_path / 'run', UnsupportedFile)
    assert str(tmp_path / 'run') in text
    assert 'config.yaml' in text


@pytest.mark.parametrize(('form', 'base'), [(f, b.replace('base', 'missing')) for f, b in MIXES])
def test_a_missing_base_is_named(tmp_path: Path, form: str, base: str) -> None:
    text = refusal(write(tmp_path, **{f'child__{form}': child(form, base, {})}), MissingFile)
    assert f'{tmp_path}/child.{form}' in text
    assert str(tmp_path / base) in text


@pytest.mark.parametrize('form', FORMS)
def test_a_config_that_is_its_own_base_is_refused(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, **{f'me__{form}': child(form, f'me.{form}', {})})
    text = refusal(path, WrongContent)
    assert str(path) in text
    assert f'me.{form} -> me.{form}' in text


@pytest.mark.parametrize('forms', [('py', 'py'), ('yaml', 'yaml'), ('json', 'yaml')])
def test_a_circle_of_bases_is_refused(tmp_path: Path, forms: tuple[str, str]) -> None:
    there, back = forms
    write(tmp_path, **{f'b__{back}': child(back, f'a.{there}', {})})
    text = refusal(write(tmp_path, **{f'a__{there}': child(there, f'b.{back}', {})}), WrongContent)
    assert str(tmp_path) in text
    assert f'a.{there} -> b.{back} -> a.{there}' in text


@pytest.mark.parametrize('form', ['yaml', 'json'])
def test_python_is_refused_below_a_form_that_executes_nothing(tmp_path: Path, form: str) -> None:
    write(tmp_path, base__py="open('executed', 'w')\n")
    text = refusal(write(tmp_path, **{f'child__{form}': child(form, 'base.py', {})}), UnsafeFile)
    assert str(tmp_path / f'child.{form}') in text
    assert 'base.py' in text
    assert '--print-config' in text
    assert not Path('executed').exists()


@pytest.mark.parametrize('base', ['5', 'null', '{a: b}', '[5]', '[null]'])
def test_a_base_that_is_no_file_name_is_refused(tmp_path: Path, base: str) -> None:
    path = write(tmp_path, a__yaml=f'_base_: {base}\nx: 1\n')
    text = refusal(path, WrongValue)
    assert str(path) in text
    assert '_base_' in text


@pytest.mark.parametrize(
    ('name', 'text', 'kind'),
    [
        ('a__py', 'x = dict(', DamagedFile),
        ('a__py', 'x = 1 / 0', DamagedFile),
        ('a__py', 'x = undefined', DamagedFile),
        ('a__yaml', 'x: [1, 2', DamagedFile),
        ('a__yaml', 'x: "\\q"', DamagedFile),
        ('a__json', '{"x": 1,}', DamagedFile),
        ('a__json', '', DamagedFile),
        ('a__yaml', '', WrongContent),
        ('a__yaml', 'just text', WrongContent),
        ('a__json', '[1, 2]', WrongContent),
    ],
)
def test_a_config_that_does_not_parse_is_named(tmp_path: Path, name: str, text: str, kind: type[VireidError]) -> None:
    path = write(tmp_path, **{name: text})
    assert str(path) in refusal(path, kind)


@pytest.mark.parametrize('ending', ['py', 'yaml', 'json'])
def test_a_config_that_is_no_text_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f'a.{ending}'
    path.write_bytes(b'\xff\xfe\x00\x00')
    assert str(path) in refusal(path, DamagedFile)


@pytest.mark.parametrize('statement', ['import os', 'from math import pi', 'if True:\n    import os'])
def test_an_import_is_refused_with_its_line(tmp_path: Path, statement: str) -> None:
    path = write(tmp_path, a__py=f'seed = 0\n\n{statement}\n')
    line = 2 + len(statement.splitlines())
    assert f'{path}, line {line}' in refusal(path, UnsafeFile)


def test_an_import_in_a_base_is_refused_with_the_bases_name_and_line(tmp_path: Path) -> None:
    base = write(tmp_path, base__py='seed = 0\nimport os\n')
    path = write(tmp_path, child__py="_base_ = 'base.py'\n")
    assert f'{base}, line 2' in refusal(path, UnsafeFile)


@pytest.mark.parametrize(
    'tag', ['!!python/object/apply:pathlib.Path.touch', '!!python/object/apply:os.system', '!!python/name:os.system']
)
@pytest.mark.parametrize('through', ['itself', 'yaml', 'py'])
def test_yaml_executes_nothing_even_as_the_base_of_another_config(tmp_path: Path, tag: str, through: str) -> None:
    trace = tmp_path / 'executed'
    argument = f'[!!python/object/apply:pathlib.Path ["{trace}"]]' if 'touch' in tag else f'["touch {trace}"]'
    bad = write(tmp_path, bad__yaml=f'x: {tag} {argument if "name" not in tag else ""}\n')
    path = bad
    if through != 'itself':
        path = write(tmp_path, **{f'child__{through}': child(through, 'bad.yaml', {})})
    with pytest.raises(DamagedFile) as caught:
        load(path)
    assert not trace.exists()
    assert str(bad) in str(caught.value)


@pytest.mark.parametrize(
    'value',
    ['dict(f=lambda x: x)', '{1: object()}', '[print]', '[...]'],
    ids=['lambda', 'object', 'builtin', 'ellipsis'],
)
def test_a_value_that_no_config_can_hold_is_refused_with_its_key(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, a__py=f'thing = {value}\n')
    text = refusal(path, WrongValue)
    assert str(path) in text
    assert 'thing' in text


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('2', 2),
        ('-2', -2),
        ('1_000', 1000),
        ('0.5', 0.5),
        ('1e-4', 1e-4),
        ('True', True),
        ('true', True),
        ('FALSE', False),
        ('None', None),
        ('null', None),
        ('[144,72]', [144, 72]),
        ('(288, 144)', (288, 144)),
        ('1,2', (1, 2)),
        ("['a', None]", ['a', None]),
        ('[1,null]', [1, None]),
        ('[{"type": "A", "b": true}]', [{'type': 'A', 'b': True}]),
        ('dict(a=false)', {'a': False}),
        ('nullable', 'nullable'),
        ("{'type': 'SGD', 'lr': 0.1}", {'type': 'SGD', 'lr': 0.1}),
        ('imagenet', 'imagenet'),
        ('"2"', '2'),
        ("'true'", 'true'),
        ('/data/SYSU MM01', '/data/SYSU MM01'),
        ('~/data', '~/data'),
        ('32-true', '32-true'),
        ('bf16-mixed', 'bf16-mixed'),
        ('0123', '0123'),
        ('1/2', '1/2'),
        ('[1,', '[1,'),
        ('{[1]: 2}', '{[1]: 2}'),
        ('', ''),
        (' 3 ', 3),
        ('nan', 'nan'),
        ('a=b', 'a=b'),
        ('print(1)', 'print(1)'),
    ],
)
def test_values_of_options(text: str, value: Any) -> None:
    found = parse_value(text)
    assert (found, type(found)) == (value, type(value))
    config = {'a': {'b': 0}}
    override(config, f'a.b={text}')
    assert config == {'a': {'b': value}}


@settings(max_examples=100)
@given(text=st.text(max_size=20) | st.text(alphabet='[]{}(),:\'"1aN-', max_size=12))
@pytest.mark.filterwarnings('ignore')
def test_any_text_is_a_value(text: str) -> None:
    config: dict[str, Any] = {}
    override(config, f'key={text}')
    assert list(config) == ['key']


def nested() -> dict[str, Any]:
    return {
        'dataset': {'root': None},
        'images': {'size': (288, 144), 'train': [{'type': 'Resize'}, {'type': 'Pad', 'padding': 10}]},
        'modes': ('all', {'deep': (1, 2)}),
        'loggers': [],
    }


@pytest.mark.parametrize(
    ('option', 'path', 'value'),
    [
        ('dataset.root=/data', ('dataset', 'root'), '/data'),
        ('dataset.split=3', ('dataset', 'split'), 3),
        ('images.train.1.padding=4', ('images', 'train', 1, 'padding'), 4),
        ('images.train.0={"type": "Crop"}', ('images', 'train', 0), {'type': 'Crop'}),
        ('images.size.1=72', ('images', 'size'), [288, 72]),
        ('modes.1.deep.0=5', ('modes', 1, 'deep'), [5, 2]),
        ('images.size=[144,72]', ('images', 'size'), [144, 72]),
        ('new=1', ('new',), 1),
        (' dataset.root = /data', ('dataset', 'root'), '/data'),
    ],
)
def test_an_option_reaches_nested_keys_and_items_of_lists_and_tuples(
    option: str, path: tuple[Any, ...], value: Any
) -> None:
    config = nested()
    override(config, option)
    found: Any = config
    for part in path:
        found = found[part]
    assert found == value


def test_an_option_changes_nothing_else() -> None:
    config = nested()
    override(config, 'images.train.1.padding=4')
    expected = nested()
    expected['images']['train'][1]['padding'] = 4
    assert config == expected


def test_options_are_applied_in_order(tmp_path: Path) -> None:
    write_bases(tmp_path)
    options = ['dataset={"type": "B"}', 'dataset.root=/a', 'dataset.root=/b']
    assert load(tmp_path / 'base.py', options)['dataset'] == {'type': 'B', 'root': '/b'}


@pytest.mark.parametrize(
    ('option', 'facts'),
    [
        ('datset.root=/data', ["'datset'", "'dataset'?"]),
        ('images.trian.0.type=X', ["'trian' in images", "'train'?"]),
        ('zzz.root=1', ['dataset, images, modes, loggers']),
        ('dataset.cameras.first=1', ['dataset.cameras=dict(']),
        ('images.train.2.type=X', ['images.train ', "'2'"]),
        ('images.train.2=X', ['0 to 1']),
        ('images.train.-1=X', ["'-1'"]),
        ('images.train.first=X', ["'first'"]),
        ('images.train.\u00b2=X', ['images.train ', "'\u00b2'"]),
        ('loggers.0=X', ['loggers ', "'0'"]),
        ('dataset.root.deep=1', ['dataset.root is None']),
        ('images.train.0.type.x=1', ["images.train.0.type is 'Resize'"]),
    ],
)
def test_an_option_without_a_place_to_go_is_refused(option: str, facts: list[str]) -> None:
    with pytest.raises(UnknownKey) as caught:
        override(nested(), option)
    for fact in [*facts, repr(option)]:
        assert fact in str(caught.value)


@pytest.mark.parametrize('option', ['dataset.root', '', '=3', 'dataset..root=3', 'dataset.=3'])
def test_an_option_is_a_key_and_a_value(option: str) -> None:
    with pytest.raises(WrongValue, match=re.escape(repr(option))):
        override(nested(), option)


def test_an_empty_list_has_no_items_to_choose_from() -> None:
    with pytest.raises(UnknownKey, match='loggers') as caught:
        override(nested(), 'loggers.0=X')
    assert '-1' not in caught.value.allowed


# PyYAML itself folds NEL (\x85) into a blank
plain_text = st.text(st.characters(codec='utf-8', exclude_characters='\x85'), max_size=8)
scalar = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | plain_text
values = st.recursive(
    scalar,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(plain_text.filter(lambda k: not k.startswith('_')), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=80)
# `plugins` is a list of files, which are looked for beside the config: see test_plugin_files.py
@given(
    config=st.dictionaries(plain_text.filter(lambda k: not k.startswith('_') and k != 'plugins'), values, max_size=4)
)
def test_what_is_written_is_read_back(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / 'written.yaml'
    path.write_text(dump(config), encoding='utf-8')
    assert load(path) == config


def test_tuples_are_written_as_lists_and_order_is_kept() -> None:
    assert (
        dump({'size': (288, 144), 'deep': {'b': [(1,)], 'a': None}})
        == 'size: [288, 144]\ndeep:\n  b:\n  - [1]\n  a: null\n'
    )


@pytest.mark.parametrize('name', ['tffn_sysu.py', 'tffn_regdb.py'])
def test_a_resolved_config_of_this_project_reads_back_to_itself(tmp_path: Path, name: str) -> None:
    config = load(Path(__file__).parents[3] / 'configs' / name, ['dataset.root=/data', 'images.size.0=128'])
    text = dump(config)
    path = write(tmp_path, resolved__yaml=text)
    assert dump(load(path)) == text
    assert load(path)['images']['size'] == [128, 144]
    assert '_losses' not in text


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ("[dict(type='A', x=dict(y=1))]", [{'type': 'A', 'x': {'y': 1}}]),
        ('dict(a=1, b=(2, 3))', {'a': 1, 'b': (2, 3)}),
        ('dict(1)', 'dict(1)'),
        ('dict(**{})', 'dict(**{})'),
        ("dict(a=open('x'))", "dict(a=open('x'))"),
        ('other(a=1)', 'other(a=1)'),
    ],
)
def test_an_option_may_say_dict_as_python_configs_do_and_call_nothing_else(text, value):
    config: dict[str, Any] = {'a': None}
    override(config, f'a={text}')
    assert config['a'] == value


def test_a_dict_of_an_override_replaces_and_may_say_so_as_mmengine_does() -> None:
    made = {'neck': {'type': 'A', 'a': 1}}
    override(made, "neck={'_delete_': True, 'type': 'B'}")
    assert made == {'neck': {'type': 'B'}}


def test_what_is_laid_over_is_left_as_it_was() -> None:
    over = {'neck': {'_delete_': True, 'type': 'B'}}
    for _ in range(2):
        assert lay_over(over, {'neck': {'type': 'A', 'a': 1}}, 'this') == {'neck': {'type': 'B'}}
    assert over == {'neck': {'_delete_': True, 'type': 'B'}}


@pytest.mark.parametrize('end', ['\n', '\r\n'])
@pytest.mark.parametrize('form', FORMS)
def test_a_config_is_read_as_windows_editors_save_it(tmp_path: Path, form: str, end: str) -> None:
    for name, text in (('base', child(form, [], {'seed': 3})), ('x', child(form, f'base.{form}', {'name': 'x'}))):
        (tmp_path / f'{name}.{form}').write_bytes(f'\ufeff{text}\n'.replace('\n', end).encode())
    assert load(tmp_path / f'x.{form}') == {'seed': 3, 'name': 'x'}
