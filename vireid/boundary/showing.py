"""Escapes text from outside for display: in a terminal, Markdown, LaTeX, a spreadsheet, Mermaid; shortens lists.

HTML is escaped by Jinja2: see `vireid/reporting/markup.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

# C0 except tab and newline, delete, C1, marks that reorder a line (bidirectional text), lone surrogates, and
# characters that XML forbids
_CONTROL = re.compile(
    '[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]'
)
_BREAKS = re.compile('[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+')
# brackets that form a link, an image or a reference definition; the checkbox of a task list
_LINK = re.compile(r'\][(\[:]|!\[|^\[[ xX]\]')
_BLOCK = re.compile(r'^(\s*)(?:([#+=~-])|(\d{1,9})([.)]))')
_LATEX = {
    '\\': r'\textbackslash{}',
    **{c: f'\\{c}' for c in '&%$#_{}'},
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '±': r'$\pm$',
}
_FORMULA = '=+\\-@|%\uff0b\uff0d\uff1d\uff20'  # the last four are full-width forms, which spreadsheets also accept
_MERMAID = {**{c: f'#{ord(c)};' for c in '#%`$\\|&'}, '"': '#quot;', '<': '#lt;', '>': '#gt;'}


def as_json(value: Any, **options: Any) -> str:
    """Returns JSON that every program can read: bytes of file names that are not UTF-8 appear as `\\xd5`.

    Args:
        value: lists, dicts, strings and numbers.
        options: those of `json.dumps`.
    """
    text = json.dumps(value, **options)
    return json.dumps(_in_unicode(value), **options) if '\\ud' in text else text


def _in_unicode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
    if isinstance(value, dict):
        return {_in_unicode(key): _in_unicode(item) for key, item in value.items()}
    return [_in_unicode(item) for item in value] if isinstance(value, (list, tuple)) else value


def printable(text: str) -> str:
    """Returns text for a terminal or a log: control characters become escapes such as `\\x1b`; newlines remain."""
    return text if text.isprintable() else _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def one_line(text: str) -> str:
    """Returns printable text without line breaks: they become spaces."""
    return text if text.isprintable() else printable(_BREAKS.sub(' ', text))


def some(names: Sequence[str], most: int, more: str = ' and {:,} more') -> str:
    """Returns the first names, separated by commas, and `more` with the number of the others."""
    return ', '.join(names[:most]) + (more.format(len(names) - most) if len(names) > most else '')


def markdown(text: str) -> str:
    """Returns text that Markdown renders literally within a line: no link, image, emphasis, code, math or HTML.

    Do not append a bracket, parenthesis or colon directly. Use `markdown_line` at the start of a line.
    """
    text = re.sub(r'([\\`*<>|$])', r'\\\1', one_line(text))
    text = re.sub(r'(?<![^\W_])_|_(?![^\W_])', r'\\_', text)  # inside a word it is not emphasis
    text = re.sub(r'&(?=#?\w+;)', r'\\&', text)
    if text.count('~') > 1:
        text = text.replace('~', r'\~')
    if _LINK.search(text):
        text = re.sub(r'([\[\]])', r'\\\1', text)
    # GitHub turns bare addresses into links
    text = re.sub(r'(?<=[A-Za-z]):(?=//)|(?<=www)\.', lambda match: f'\\{match[0]}', text, flags=re.IGNORECASE)
    return re.sub(r'(?<=[\w.+-])@(?=\w)', r'\\@', text)


def markdown_line(text: str) -> str:
    """Returns text that Markdown renders literally at the start of a line: also no heading, list, rule or code."""
    return _BLOCK.sub(_first_escaped, markdown(text).strip())


def _first_escaped(match: re.Match[str]) -> str:
    return f'\\{match[2]}' if match[2] else f'{match[3]}\\{match[4]}'


def markdown_code(text: str) -> str:
    """Returns text as inline code in Markdown."""
    text = one_line(text)
    ticks = _ticks(text, 1)
    # Markdown strips one space on each side
    return f'{ticks} {text} {ticks}' if text[:1] in ('`', ' ', '') or text[-1:] in ('`', ' ') else ticks + text + ticks


def markdown_block(text: str, language: str = '') -> str:
    """Returns lines of text as a Markdown code block that no line of the text can close."""
    ticks = _ticks(text, 3)
    return f'{ticks}{language}\n{printable(text)}\n{ticks}'


def _ticks(text: str, least: int) -> str:
    """Returns a longer run of backticks than any in the text."""
    return '`' * max([least, *(len(run) + 1 for run in re.findall('`+', text))])


def latex(text: str) -> str:
    """Returns text that LaTeX renders literally, also at the start of a table row."""
    text = re.sub(r'[\\&%$#_{}~^±]', lambda match: _LATEX[match[0]], one_line(text))
    return re.sub(r'^(\s*)([\[*])', r'\1{\2}', text)  # after the end of a row they would be its options


def csv_cell(text: str) -> str:
    """Returns a cell that spreadsheets treat as text: an apostrophe precedes anything that starts like a formula.

    The same applies after each semicolon, which separates cells in much of Europe.
    """
    return re.sub(rf'(^|;)(\s*)(?=[{_FORMULA}])', r"\1'\2", one_line(text).replace('\t', ' '))


def mermaid(text: str) -> str:
    """Returns text for a quoted Mermaid label: it cannot close the label or contain a directive, Markdown or HTML."""
    return re.sub(r'[#%`$\\|&"<>]', lambda match: _MERMAID[match[0]], one_line(text))


def error_text(error: Exception) -> str:
    """Returns an exception's message; for an error of the operating system, without its number and its path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
