"""Builds HTML and SVG safely: templates are literals in this package, and every inserted value is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from importlib import resources
from typing import Any, LiteralString

from markupsafe import Markup

from vireid.boundary.showing import printable

NOTHING = Markup('')


def html(template: LiteralString, **values: Any) -> Markup:
    """Returns a template with its fields filled in; every value that is not markup or a number is escaped.

    Args:
        template: a literal in the syntax of `str.format`; a test rejects others.
        **values: by field. Control characters become escapes such as `\\x1b`, since HTML text cannot contain them.

    Raises:
        ValueError: for a string in a field with a number format.
    """
    fields = {name: _safe(value) for name, value in values.items()}
    return Markup(template).format(**fields)  # noqa: S704, a literal: a test rejects others


def join(parts: Iterable[Markup]) -> Markup:
    """Returns the concatenation of pieces of markup."""
    return NOTHING.join(parts)


def script_data(value: Any) -> Markup:
    """Returns a value as JSON for a `<script>` element that no text in it can close."""
    text = json.dumps(value)
    return Markup(text.replace('&', r'\u0026').replace('<', r'\u003c').replace('>', r'\u003e'))  # noqa: S704, JSON that cannot close an element


def asset(name: LiteralString) -> Markup:
    """Returns the stylesheet or the script of the pages."""
    text = resources.files('vireid.reporting').joinpath(name).read_text(encoding='utf-8')
    return Markup(text)  # noqa: S704, a file of the package


def document(title: str, header: Markup, main: Markup, data: Markup = NOTHING, script: Markup = NOTHING) -> str:
    """Returns a page that loads nothing from outside, and in which a browser runs only the given script.

    Args:
        title: of the page.
        header: markup below the title.
        main: the content.
        data: elements after the content.
        script: the text of the script, if any.
    """
    policy = [
        "default-src 'none'",
        'img-src data:',
        "style-src 'unsafe-inline'",  # figures have inline styles
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if script:
        digest = hashlib.sha256(script.encode()).digest()
        policy.append(f"script-src 'sha256-{base64.b64encode(digest).decode()}'")
    return str(
        html(
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta http-equiv="Content-Security-Policy" content="{policy}"><meta name="viewport" '
            'content="width=device-width, initial-scale=1"><title>{title}</title><style>{style}</style></head><body>'
            '<header><h1>{title}</h1>{header}</header><main>{main}</main>{data}{script}</body></html>\n',
            policy='; '.join(policy),
            title=title,
            style=asset('page.css'),
            header=header,
            main=main,
            data=data,
            script=html('<script>{text}</script>', text=script) if script else NOTHING,
        )
    )


def _safe(value: Any) -> Any:
    return value if hasattr(value, '__html__') or isinstance(value, (int, float)) else printable(str(value))
