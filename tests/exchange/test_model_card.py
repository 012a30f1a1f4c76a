"""The card of a released model says what a stranger's checkpoint says, as text."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from vireid.core.scoring import results
from vireid.exchange.model_card import model_card
from vireid.statistics.scores import METRICS

PLAIN = {'name': 'tffn_sysu', 'type': 'X', 'data': 'SYSU-MM01', 'protocol': 'sysu/agw', 'row': 'all', 'file': 'a.py'}


def card(folder: Path, texts: dict[str, str]) -> str:
    config = {
        'name': texts['name'],
        'plugins': [texts['file']],
        'model': {'backbone': {'type': texts['type'], 'weights': texts['type'], 'depth': texts['type']}},
        'images': {'size': [288, 144]},
        **{key: {'type': texts['type']} for key in ('dataset', 'protocol', 'sampler')},
    }
    content = {
        'config': config, 'progress': {'step': 3}, 'data': texts['data'], 'split': texts['data'], 'num_identities': 5,
        'chosen': texts['row'], 'versions': {texts['type']: texts['type']},
    }  # fmt: skip
    row = {'name': texts['row'], 'variant': '', 'trials': 1, 'queries': [1, 1], 'valid': [1, 1]}
    row |= {key: {'mean': 0.5, 'std': 0.0} for key in METRICS}
    about = {'data': texts['data'], 'protocol': texts['protocol'], 'weights': texts['row']}
    results.write(folder, {**about, 'rows': [row]})
    return model_card(folder / 'checkpoints' / 'last.pt', content, 'ab')


def parts(text: str) -> list[str]:
    tokens = MarkdownIt('commonmark').parse(text)
    return [kind for token in tokens for kind in (token.type, *(child.type for child in token.children or ()))]


@pytest.mark.parametrize(
    'text',
    [
        '![x](http://evil)', '<img src=x onerror=alert(1)>', '```\n# evil\n```', 'a`b``c', '\x1b[2J', '*a* _b_', '- a',
        "'); import os; os.system('x') #", "\\'\n```\n", '---',
    ],
)  # fmt: skip
def test_hostile_text_is_text_and_the_snippet_is_python(text, tmp_path):
    shown = card(tmp_path, {key: f'{text}/x{text}' if key == 'file' else text for key in PLAIN})
    assert parts(shown) == parts(card(tmp_path, PLAIN))
    assert '\x1b' not in shown
    code = re.search(r'```python\n(import vireid.*?)\n```', shown, re.DOTALL)[1]
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    (load,) = [call for call in calls if ast.unparse(call.func) == 'vireid.load']
    assert [type(keyword.value) for keyword in load.keywords] == [ast.List]
    assert not [call for call in calls if 'os' in ast.unparse(call.func).split('.')]


def test_plain_text_stays(tmp_path):
    shown = card(tmp_path, PLAIN)
    assert '\n# tffn_sysu\n' in shown
    assert '\nMeasured on SYSU-MM01 by `sysu/agw` (all):\n\n```\nsysu/agw ' in shown


def test_unverified_and_damaged_metrics_are_reported(tmp_path):
    assert '\nThe queries of this result are missing: its metrics could not be verified.\n' in card(tmp_path, PLAIN)
    (tmp_path / results.QUERIES).write_text('no queries')
    shown = card(tmp_path, PLAIN)
    assert '\nThe metrics of this run are damaged or do not match its queries.\n' in shown
    assert 'Measured on' not in shown
