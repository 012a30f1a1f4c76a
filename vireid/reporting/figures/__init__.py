"""Figures of finished runs for papers and pages; each is a module here with a function `draw(runs, **options)`.

matplotlib is imported when the first figure is drawn. pyplot is never imported, so no global state changes and any
thread may draw.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from vireid.boundary.showing import printable
from vireid.boundary.writing import write_whole
from vireid.errors import MissingPackage, UnknownKey, UnknownName, WrongValue, did_you_mean, raise_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vireid.reporting.record import RunRecord

NAMES = (
    'cmc',
    'rankings',
    'cam',
    'features',
    'translations',
    'swaps',
    'weights',
    'embedding',
    'distances',
    'reliability',
    'graph',
)
FIGURES: dict[str, str] = {name: f'vireid.reporting.figures.{name}:draw' for name in NAMES}
# the options of each figure besides `width`, in inches; a test compares them with the functions
OPTIONS: dict[str, tuple[str, ...]] = {
    'cmc': ('rows', 'ranks'),
    'rankings': ('queries', 'top', 'kind', 'identity'),
    'cam': ('pairs',),
    'features': ('pairs',),
    'translations': ('pairs',),
    'swaps': (),
    'weights': (),
    'embedding': ('method',),
    'distances': (),
    'reliability': (),
    'graph': (),
}
WIDTHS = {'column': 3.3, 'page': 6.9}  # inches, as in vireid.reporting.figures.style
DPI = 300
# metadata by suffix, without the creation date
METADATA: dict[str, dict[str, Any]] = {'.png': {}, '.svg': {'Date': None}, '.pdf': {'CreationDate': None}}


def draw(name: str, runs: Sequence[RunRecord], **options: Any) -> Figure:
    """Draws a figure of runs.

    Args:
        name: one of `FIGURES`.
        runs: the runs to draw; see `vireid.reporting.record.read_runs`.
        **options: `width` in inches, and those in `OPTIONS`, which the module of the figure documents.

    Raises:
        VireidError: if there is no such figure or option, an option has the wrong type, matplotlib is missing, or no
            run has the data for the figure.
    """
    from vireid.core.registry.schema import check  # imports pydantic, which callers that only need the names can skip

    check_options(name, options)
    require_matplotlib()
    _import_matplotlib()
    module, _, function = FIGURES[name].partition(':')
    drawing = getattr(importlib.import_module(module), function)
    raise_all(check(drawing, options, where=name, supplied=('runs',)))
    return drawing(runs, **options)


def require_matplotlib() -> None:
    """Checks that matplotlib is installed, without the time that it takes to import.

    Raises:
        MissingPackage: if it is not.
    """
    if importlib.util.find_spec('matplotlib') is None:
        raise MissingPackage('figures need matplotlib', todo='pip install "vireid[report]"')


def _import_matplotlib() -> None:
    """Imports matplotlib, which reads MPLBACKEND although no figure here uses a backend.

    Raises:
        WrongValue: if it does not know the backend.
    """
    try:
        importlib.import_module('matplotlib')
    except ValueError as error:
        raise WrongValue(f'matplotlib cannot be imported: {error}', todo='unset MPLBACKEND') from error


def check_options(name: str, options: Sequence[str] | dict[str, Any]) -> None:
    """Checks that a figure exists and has the given options.

    Raises:
        VireidError: if not.
    """
    if name not in FIGURES:
        raise UnknownName(f'there is no figure {name!r}{did_you_mean(name, FIGURES)}', allowed=', '.join(FIGURES))
    for option in options:
        if option not in ('width', *OPTIONS[name]):
            takers = [figure for figure, own in OPTIONS.items() if option in own]
            known = ('width', *OPTIONS[name])
            raise UnknownKey(
                f'the figure {name} has no option {option!r}{"" if takers else did_you_mean(option, known)}',
                allowed=f'{option} is for {", ".join(takers)}' if takers else ', '.join(known),
            )


def parse_width(text: str) -> float:
    """Returns inches: the width of a column or page, or a number.

    Raises:
        WrongValue: for anything else.
    """
    if text in WIDTHS:
        return WIDTHS[text]
    try:
        return float(text)
    except ValueError:
        raise WrongValue(f'--width is {text!r}', allowed='column, page, or a number of inches, such as 5.5') from None


def check_path(path: str | Path) -> str:
    """Returns the suffix of a figure's file.

    Raises:
        WrongValue: if it is not a format of figures.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in METADATA:
        raise WrongValue(f'{path} is not a figure format', allowed=f'a name that ends with {_or(METADATA)}')
    return suffix


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure atomically; the same figure always gives the same bytes.

    Args:
        figure: from `draw`.
        path: ends with `.png` (300 dpi), `.svg` (text as outlines, identical everywhere) or `.pdf` (with embedded
            fonts, as printers require).

    Raises:
        WrongValue: for another suffix.
    """
    suffix = check_path(path)
    from vireid.reporting.figures.style import missing_letters, style

    packed = io.BytesIO()
    with style({'pdf.fonttype': 42, 'svg.fonttype': 'path'}):
        figure.savefig(packed, format=suffix[1:], dpi=DPI, metadata=METADATA[suffix])
    write_whole(Path(path), packed.getvalue())
    missing = missing_letters(figure)
    if missing:
        print(
            f'warning: {path} has boxes for {missing[:20]}, which no installed font contains; install one that does, '
            'such as Noto Sans CJK, or open report.html',
            file=sys.stderr,
        )


def inline_svg(figure: Figure, label: str) -> Markup:
    """Returns a figure as an `<svg>` element for a page, with the page's text color and font.

    Args:
        figure: from `draw`.
        label: a text alternative for screen readers.
    """
    from vireid.reporting.figures.style import INK, style

    packed = io.StringIO()
    with style({'svg.fonttype': 'none'}):
        figure.savefig(packed, format='svg', transparent=True, metadata={'Date': None})
    text = packed.getvalue()
    text = text[text.index('<svg') :]
    # drop its style rule, which would apply to the whole page; the style of the root is inherited instead
    for pattern in (r'<!--.*?-->', r'<metadata>.*?</metadata>', r'<style.*?</style>'):
        text = re.sub(pattern, '', text, flags=re.DOTALL)
    mark = f'f{hashlib.sha256((label + text).encode(errors="replace")).hexdigest()[:10]}-'
    text = re.sub(r'<[^>]*>', lambda tag: _of_the_page(tag[0], INK, mark), text)
    root, rest = text[: text.index('>')], text[text.index('>') + 1 :]
    box = re.search(r'viewBox="([^"]*)"', root)
    assert box is not None
    kept = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'role="img" aria-label="{label}" viewBox="{box}" width="100%" '
        'style="max-width:{widest}px;height:auto;stroke-linejoin:round;stroke-linecap:butt">'
    ).format(
        label=printable(label),
        box=box[1],
        widest=round(figure.get_figwidth() * 96 * 1.4),  # a wider figure would have huge text
    )
    drawn = re.sub(r'\n\s*', '\n', rest).rstrip()
    return kept + Markup(drawn)  # noqa: S704, matplotlib escapes its text


def _of_the_page(tag: str, ink: str, mark: str) -> str:
    """Returns a tag with the page's color and font, and with ids that are unique to the figure."""
    tag = re.sub(ink, 'currentColor', tag, flags=re.IGNORECASE)
    tag = re.sub(r'font-family: [^;"]+', 'font-family: system-ui, sans-serif', tag)
    tag = re.sub(r'(font: (?:[a-z0-9.]+ )*?[0-9.]+px) [^;\"]+', r'\1 system-ui, sans-serif', tag)
    return re.sub(r'(\bid="|href="#|url\(#)', rf'\1{mark}', tag)


def _or(words: Sequence[str] | dict[str, Any]) -> str:
    *first, last = words
    return f'{", ".join(first)} or {last}'
