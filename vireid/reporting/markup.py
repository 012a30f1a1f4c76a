"""Renders pages from the templates of this package, which escape every inserted value and load nothing from outside."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from importlib import resources
from typing import Any, LiteralString

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vireid.boundary.showing import printable


def render(template: LiteralString, script: LiteralString = '', **values: Any) -> str:
    """Returns a page in which a browser runs only the given script.

    Args:
        template: the name of a file in `templates/`.
        script: the name of the script of the page, if it has one; see `asset`.
        **values: by name. All text is escaped, and control characters in it become escapes such as `\\x1b`, since
            HTML cannot contain them; only `Markup` is inserted as it is.

    Raises:
        jinja2.UndefinedError: if the template uses a name that has no value.
    """
    text = asset(script) if script else Markup()
    page = environment().get_template(template)
    return page.render(policy=policy(text), style=asset('page.css'), script=text, **values)


def script_data(value: Any) -> Markup:
    """Returns a value as JSON for a `<script>` element that no text in it can close."""
    text = json.dumps(value)
    return Markup(text.replace('&', r'\u0026').replace('<', r'\u003c').replace('>', r'\u003e'))  # noqa: S704, JSON that cannot close an element


def asset(name: LiteralString) -> Markup:
    """Returns the stylesheet or the script of the pages."""
    text = resources.files('vireid.reporting').joinpath(name).read_text(encoding='utf-8')
    return Markup(text)  # noqa: S704, a file of the package


def policy(script: str) -> str:
    """Returns a Content-Security-Policy that allows images in data URIs, inline styles and one inline script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = [
        "default-src 'none'",
        'img-src data:',
        "style-src 'unsafe-inline'",  # figures have inline styles
        "base-uri 'none'",
        "form-action 'none'",
        *([f"script-src 'sha256-{digest}'"] if script else []),
    ]
    return '; '.join(rules)


@functools.cache
def environment() -> Environment:
    """Returns what the templates are rendered with."""
    return Environment(
        loader=PackageLoader('vireid.reporting'),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """Returns an inserted value, before it is escaped, without control characters."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
