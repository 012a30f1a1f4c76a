"""The kinds of errors, and where an error was raised, as its author needs it."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

from vireid.errors import IncompleteData, MissingFile, UnknownKey, VireidError, combined


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


def test_the_attributes_of_an_error_are_kept_as_well():
    error = IncompleteData('no image of 0004')
    error.samples = (1, 2)
    assert error.at('dataset').samples == pickle.loads(pickle.dumps(error)).samples == (1, 2)
    several = pickle.loads(pickle.dumps(combined([UnknownKey('a', todo='b'), error])))
    assert [type(one) for one in several.errors] == [UnknownKey, IncompleteData]
    assert str(several) == 'a\n  next:    b\nno image of 0004'


class _Refused(UnknownKey):
    def __init__(self, key: str) -> None:
        super().__init__(f'no key {key}', todo='remove it')


def test_an_error_of_a_plugin_may_have_a_constructor_of_its_own():
    error = _Refused('b').at('model')
    assert (type(error), str(error)) == (_Refused, 'model: no key b\n  next:    remove it')
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


PROSE = re.compile(r"(?<![\w'\"./-])[a-z]{2,} (a |an |the )?[a-z]{3,}(?![\w'\"./=-])")


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
    for path in Path(__file__).parent.rglob('*.py'):
        if found := _wordings(ast.parse(path.read_text(encoding='utf-8'))):
            wordings[path.name] = found
    assert not wordings
