#!/usr/bin/env python3
"""Writes docs/settings.md, the settings of each section of a config, from the code (`make docs`)."""

import inspect
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from vireid.core.config.experiment import Sections
from vireid.core.config.settings import (
    EvaluationSettings,
    ImageSettings,
    LossSettings,
    TrainingSettings,
    ViewSettings,
)
from vireid.core.registry.hints import describe
from vireid.core.registry.signature import signature_of

PAGE = Path(__file__).parents[1] / 'docs' / 'settings.md'
SECTIONS = {
    '`images`': ImageSettings, '`images.views.NAME`': ViewSettings, '`training`': TrainingSettings,
    '`losses`': LossSettings, '`evaluation`': EvaluationSettings,
}  # fmt: skip
WORDING = {
    r'\ba (list|dict) of an? (string|number|integer|path|dict)\b': r'a \1 of \2s',
    r'\ba dict of dicts\b': 'dicts by name',
    r'\ba dict of Any\b': 'a dict',
    r'(,? or None)(,? or None)+$': r'\1',
    r'\|': r'\\|',
}
HEAD = """# Settings

The sections of a config, and the settings of those that are not components. `make docs` writes this page from the code.
`vireid components` lists the components and their arguments, and `vireid config show` prints every value of a config
with its origin.
"""


def document() -> str:
    """Returns the page."""
    parts = [HEAD, '## Sections', table(Sections)]
    for title, settings in SECTIONS.items():
        parts += [f'## {title}', table(settings)]
    return '\n\n'.join(part.strip() for part in parts) + '\n'


def table(settings: type) -> str:
    """Returns a Markdown table of the settings in a dataclass."""
    texts, hints = attributes(settings), signature_of(settings).parameters
    lines = ['| key | allowed | default | |', '|---|---|---|---|']
    for own in fields(settings):
        default = 'required'
        if own.default is not MISSING and type(own.default).__module__.startswith('vireid'):
            default = 'see below'
        elif own.default is not MISSING:
            default = f'`{own.default!r}`'
        elif own.default_factory is not MISSING:
            default = f'`{own.default_factory()!r}`'
        text = re.sub(r'see `\w+Settings`', 'its settings are below', texts[own.name])
        lines.append(f'| `{own.name}` | {allowed(hints[own.name].hint)} | {default} | {text} |')
    return '\n'.join(lines)


def allowed(hint: Any) -> str:
    """Describes a type hint in a cell of a table."""
    text = describe(hint)
    for before, after in WORDING.items():
        text = re.sub(before, after, text)
    return text


def attributes(settings: type) -> dict[str, str]:
    """Returns the descriptions in the `Attributes:` section of a docstring."""
    text = (inspect.getdoc(settings) or '').partition('Attributes:\n')[2]
    items = re.findall(r'^    (\w+): (.*(?:\n        .*)*)', text, re.MULTILINE)
    return {name: ' '.join(words.split()) for name, words in items}


if __name__ == '__main__':
    PAGE.write_text(document(), encoding='utf-8')
