"""YAML that a few lines of which would fill the memory."""

from __future__ import annotations

import pytest
import yaml

from vireid.boundary.malformed import BeyondLimit, Malformed
from vireid.boundary.yaml_text import DEPTH, NODES, Loader
from vireid.errors import WrongContent


def laugh(levels: int, wide: int = 10, form: str = '[{}]') -> str:
    lines = [f'a0: &a0 {form.format(", ".join(["x"] * wide))}']
    lines += [f'a{n}: &a{n} {form.format(", ".join([f"*a{n - 1}"] * wide))}' for n in range(1, levels)]
    return '\n'.join(lines) + '\n'


def test_an_alias_counts_as_often_as_it_stands_there():
    assert yaml.load(laugh(3), Loader)['a1'][0] == ['x'] * 10
    with pytest.raises(BeyondLimit, match=f'{NODES:,}'):
        yaml.load(laugh(9), Loader)


def test_so_do_merged_keys():
    lines = ['a0: &a0 {k: 1}']
    lines += [f'a{n}: &a{n} {{<<: [{", ".join([f"*a{n - 1}"] * 10)}]}}' for n in range(1, 8)]
    with pytest.raises(BeyondLimit, match=f'{NODES:,}'):
        yaml.load('\n'.join(lines), Loader)
    assert yaml.load('a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n', Loader)['b'] == {'x': 1, 'y': 3}


def test_many_values_are_refused_without_an_alias_too():
    with pytest.raises(BeyondLimit, match=f'{NODES:,}'):
        yaml.load('[' + 'x,' * (NODES + 5) + ']', Loader)


def test_deep_nesting_is_refused():
    yaml.load('[' * (DEPTH - 1) + ']' * (DEPTH - 1), Loader)
    for text in ('[' * (DEPTH + 1) + ']' * (DEPTH + 1), '[' * 5000, '{a: ' * 5000):
        with pytest.raises(BeyondLimit, match=f' {DEPTH} '):
            yaml.load(text, Loader)


@pytest.mark.parametrize('text', ['a: &x [*x]', '&x {a: *x}', 'a: &x {b: [1, *x]}'])
def test_what_holds_itself_is_refused(text):
    with pytest.raises(Malformed):
        yaml.load(text, Loader)


def test_numbers_are_those_that_people_write():
    assert yaml.load('[5e-4, 1E3, .5, 1.5, 7, 1e, e5]', Loader) == [5e-4, 1000.0, 0.5, 1.5, 7, '1e', 'e5']


def test_a_key_stands_once():
    with pytest.raises(WrongContent, match=r"line 2: .*'a'"):
        yaml.load('x:\n  a: 1\n  a: 2\n', Loader)


@pytest.mark.parametrize('tag', ['!!python/object/apply:os.system [ls]', '!!python/name:os.system', '!evil x'])
def test_no_tag_makes_an_object(tag):
    with pytest.raises(yaml.YAMLError):
        yaml.load(f'a: {tag}\n', Loader)


def test_a_number_is_short_and_no_time_of_day():
    assert yaml.load('[1:30, 1:30.5]', Loader) == ['1:30', '1:30.5']
    assert yaml.load('a: 1' + ':1' * 100_000, Loader)['a'].startswith('1:1')
    with pytest.raises(BeyondLimit, match=r'line 1: .*\b6,002\b'):
        yaml.load('a: 0x' + 'f' * 6000, Loader)


def test_half_a_character_is_refused_and_a_byte_of_a_file_name_is_not():
    with pytest.raises(Malformed, match=r'\\ud800'):
        yaml.load(r'name: "\ud800"', Loader)
    assert yaml.load(r'root: "\udcd5"', Loader) == {'root': '\udcd5'}


def test_integers_beyond_64_bits_are_refused():
    most = 2**64 - 1
    assert yaml.load(f'{most}: {-most}', Loader=Loader) == {most: -most}
    for text in (f'{most + 1}: 1', f'!!set {{ {most + 1} }}', f'x: {-most - 1}', 'x: 0x1_0000_0000_0000_0000'):
        with pytest.raises(BeyondLimit, match=r'line 1: .*\b64\b'):
            yaml.load(text, Loader=Loader)
