"""Names are one part of a path, and paths stay in their folder."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vireid.boundary.paths import MAX_LENGTH, inside, is_inside, is_name
from vireid.errors import UnsafeFile


@pytest.mark.parametrize('name', ['tffn_sysu', 'my run (2)', 'José', '张三', 'a.b', 'x' * MAX_LENGTH, '-x'])
def test_what_people_call_runs_is_a_name(name):
    assert is_name(name)


@pytest.mark.parametrize(
    'name',
    ['', '.', '..', '.hidden', '~', '~root', 'a/b', r'a\b', 'C:', 'a\0b', 'a\nb', 'a\x1bb', ' a', 'a ', 'a.', 'NUL',
     'com1.txt', 'a*', 'a?', '<a>', 'a|b', '"a"', '\u202ea', 'x' * (MAX_LENGTH + 1)],
)  # fmt: skip
def test_what_a_system_takes_for_something_else_is_none(name):
    assert not is_name(name)


@given(st.text(max_size=30))
def test_a_name_never_leads_out_of_a_folder(text):
    if is_name(text):
        assert is_inside(f'/folder/{text}', '/folder')
        assert '/' not in text


def test_a_path_stays_inside_by_what_it_resolves_to(tmp_path):
    folder = tmp_path / 'run'
    (folder / 'deep').mkdir(parents=True)
    (folder / 'deep/own').symlink_to(folder / 'a')  # a link within is none of anybody's business
    assert inside(folder, 'deep/own') == folder / 'deep/own'
    assert inside(folder, 'deep/../a') == folder / 'deep/../a'
    (folder / 'out').symlink_to(tmp_path)
    (tmp_path / 'run-2').mkdir()
    for name in ('../x', 'out/x', 'out', str(tmp_path / 'x'), '../run-2/x'):
        with pytest.raises(UnsafeFile, match=re.escape(os.path.realpath(folder / name))):
            inside(folder, name)


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'runs').symlink_to(tmp_path / 'real')
    assert inside(tmp_path / 'runs', 'a') == tmp_path / 'runs/a'
