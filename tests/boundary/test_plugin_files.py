"""Two plugin files are the same code if only comments, docstrings and layout differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.boundary.plugin_files import code_digests

CODE = """
def loss(output, labels):
    '''Old words.'''
    return output.feature.mean() * 2
"""


@pytest.mark.parametrize(
    ('other', 'same'),
    [
        (CODE, True),
        (CODE.replace('Old', 'New'), True),
        ('# a comment\n' + CODE.replace(' * 2', '*2  # twice'), True),
        (CODE.replace("    '''Old words.'''\n", ''), True),
        (CODE.replace('* 2', '* 3'), False),
        (CODE.replace('output.feature', 'output'), False),
    ],
)
def test_what_changes_the_code(tmp_path: Path, other: str, same: bool) -> None:
    digests = []
    for folder, text in (('a', CODE), ('b', other)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'mine.py').write_text(text)
        digests.append(code_digests([tmp_path / folder / 'mine.py']))
    assert list(digests[0]) == ['mine.py']
    assert (digests[0] == digests[1]) == same


def test_a_file_of_a_docstring_alone(tmp_path: Path) -> None:
    (tmp_path / 'empty.py').write_text('"""Words."""\n\ndef f():\n    """Words."""\n')
    assert code_digests([tmp_path / 'empty.py'])
