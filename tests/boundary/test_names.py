"""Names as a person means them: two spellings are one name or an error, and two people are never one."""

import re
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vireid.boundary.names import camera_number, find_listed, look, lookalike_error, plain_name
from vireid.errors import WrongContent

PEOPLE = ['anna', 'José', 'Łukáš', '张三', 'p7', '7', '12', 'person 3', "O'Neill", 'Zoë-2']
BLANKS = [' ', '\t', '\u00a0', '\u3000', '']
# what leaves a name the same name
SAME = [
    lambda name, blank: blank + name,
    lambda name, blank: name + blank,
    lambda name, blank: unicodedata.normalize('NFD', name),
    lambda name, blank: unicodedata.normalize('NFC', name) + blank,
]
# what makes another spelling of the same person
OTHER = [str.upper, str.title, lambda name: f'{name}.0', lambda name: f'00{name}', lambda name: name + '\u200b',
         lambda name: name.replace('7', '７'), lambda name: name.replace(' ', '  ')]  # fmt: skip


@given(name=st.sampled_from(PEOPLE), blank=st.sampled_from(BLANKS), change=st.sampled_from(SAME))
def test_blanks_and_the_form_of_accents_make_no_other_name(name, blank, change):
    assert plain_name(change(name, blank)) == name


@given(name=st.sampled_from(PEOPLE), change=st.sampled_from(OTHER))
def test_another_spelling_of_a_person_is_an_error_with_both(name, change):
    other = plain_name(change(name))
    assume(other != name)
    assume(not (other.endswith('.0') or other.startswith('00')) or name.isdecimal())  # p7.0 and 00anna are names
    error = lookalike_error([name, other, 'somebody else'], 'manifest x.csv')
    assert error is not None
    assert repr(name) in error.given
    assert repr(other) in error.given
    assert error.given.startswith('manifest x.csv: 1 ')
    assert isinstance(error, WrongContent)


@pytest.mark.parametrize(
    ('one', 'other'),
    [('person_p00', 'person-p00'), ('Ann Lee', 'ann_lee'), ('a - b', 'a_b'), ('2026\u201301', '2026-1'), ('7', '7,0')],
)
def test_hyphens_underscores_and_a_decimal_comma_are_another_spelling_of_a_person(one, other):
    error = lookalike_error([one, other], 'x')
    assert error is not None
    assert repr(one) in error.given
    assert repr(other) in error.given


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6))
def test_names_of_one_look_are_one_name_or_an_error(names):
    plain = [plain_name(name) for name in names]
    assert (lookalike_error(plain, 'x') is None) == (len({look(name) for name in plain}) == len(set(plain)))


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        ('anna', 'anne'), ('p1', 'p10'), ('p1', 'p11'), ('1', '10'), ('100', '10'), ('1.5', '1.05'), ('0', '00a'),
        ('José', 'Jose'), ('a b', 'ab'), ('p_1', 'p1'), ('a-1', 'a1'), ('1_2', '12'), ('-1', '1'), ('_a', 'a'),
        ('7', '7.5'), ('10', '1.0'), ('10', '10,000'), ('7,5', '75'), ('1-2', '1.2'),
    ],
)  # fmt: skip
def test_two_people_stay_two(one, other):
    assert lookalike_error([one, other], 'x') is None
    assert plain_name(one) != plain_name(other)


def test_the_error_names_five_and_counts_the_rest():
    names = [f'{number:04d}' for number in range(8)] + [str(number) for number in range(8)]
    error = lookalike_error(names, 'Folders: data')
    assert error.given.startswith('Folders: data: 8 ')
    assert {name for name in names if repr(name) in error.given} == {n for n in names if int(n) < 5}
    assert re.search(r'\b3\b', error.given.rpartition("'")[2])  # and as many more


@pytest.mark.parametrize(
    ('text', 'number'),
    [('cam1', 1), ('Cam1', 1), ('camera1', 1), ('CAMERA 12', 12), ('cam_03', 3), ('cam-3', 3), (' cam3 ', 3),
     ('cam', None), ('camp1', None), ('1', None), ('cam1b', None), ('cam１', None), ('webcam1', None)],
)  # fmt: skip
def test_cameras_are_known_in_any_usual_spelling(text, number):
    assert camera_number(text) == number


def test_a_listed_file_is_found_whatever_wrote_the_list(tmp_path):
    stored = unicodedata.normalize('NFD', 'José')  # as macOS unpacks it
    (tmp_path / stored).mkdir()
    (tmp_path / stored / '1.jpg').touch()
    for text in ('José/1.jpg', f'{stored}/1.jpg', ' José/1.jpg ', 'José\\1.jpg', './José//1.jpg'):
        assert find_listed(tmp_path, text) == str(tmp_path / stored / '1.jpg')
    assert find_listed(tmp_path, 'Jose/1.jpg') == str(tmp_path / 'Jose/1.jpg')  # whoever reads it says it is gone
    assert find_listed(tmp_path, 'ä' * 300) == str(tmp_path / ('ä' * 300))


def test_a_file_of_the_very_name_comes_first(tmp_path):
    for name in ('a.jpg', 'a.jpg ', 'b\\a.jpg'):
        (tmp_path / name).touch()
        assert find_listed(tmp_path, name) == str(tmp_path / name)
