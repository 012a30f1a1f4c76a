"""Shared by all figures: sizes, colors, notes, and the selection of runs."""

from __future__ import annotations

import dataclasses
import functools
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from vireid.boundary.showing import one_line
from vireid.errors import MissingKey, NotReady, VireidError, WrongValue
from vireid.reporting.evidence import Evidence
from vireid.reporting.record import RunRecord

COLUMN, PAGE = 3.3, 6.9  # inches, of two-column papers
FONT, SMALL = 8.0, 6.5  # points
AGAIN = 'score it again: vireid test CONFIG CHECKPOINT'
INK = '#161718'  # of text and axes only, so that pages can replace it
# Okabe and Ito's palette for color vision deficiency. The palest comes last.
PALETTE = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', INK, '#F0E442')
BLUE, ORANGE, GREEN = PALETTE[:3]
LINES: tuple[Any, ...] = ('-', '--', '-.', ':', (0, (6, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 2)))
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*', 'p')
LETTER = 0.56  # mean width of a letter, as a share of its height
MAX_LENGTH = 200  # characters of a text in a figure

SETTINGS: dict[str, Any] = {
    'font.family': 'sans-serif',
    'font.size': FONT,
    'text.parse_math': False,  # names may contain dollar signs
    'axes.titlesize': FONT,
    'axes.labelsize': FONT,
    'xtick.labelsize': 7,
    'ytick.labelsize': 7,
    'legend.fontsize': 7,
    'legend.frameon': False,
    'legend.handlelength': 2.4,
    'text.color': INK,
    'axes.labelcolor': INK,
    'axes.edgecolor': INK,
    'axes.titlecolor': INK,
    'xtick.color': INK,
    'ytick.color': INK,
    'legend.labelcolor': INK,
    'axes.linewidth': 0.6,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '#888888',
    'grid.alpha': 0.25,
    'grid.linewidth': 0.5,
    'xtick.major.width': 0.6,
    'ytick.major.width': 0.6,
    'xtick.major.size': 2.5,
    'ytick.major.size': 2.5,
    'lines.linewidth': 1.3,
    'lines.markersize': 3.5,
    'hatch.linewidth': 0.5,
    'figure.constrained_layout.h_pad': 0.03,
    'figure.constrained_layout.w_pad': 0.03,
    'figure.dpi': 100,
    'savefig.dpi': 'figure',
    'svg.hashsalt': 'vireid',
}
# fonts of Linux, Windows and macOS that cover most scripts; those installed are used
FALLBACKS = (
    *('Noto Sans CJK SC', 'Noto Sans CJK JP', 'Noto Sans SC', 'WenQuanYi Micro Hei', 'WenQuanYi Zen Hei'),
    *('Microsoft YaHei', 'SimHei', 'PingFang SC', 'Hiragino Sans GB', 'Yu Gothic', 'Malgun Gothic'),
    *(
        'Arial Unicode MS',
        'Noto Sans',
        'Noto Sans Arabic',
        'Noto Sans Hebrew',
        'Noto Sans Devanagari',
        'Noto Sans Thai',
        'FreeSans',
        'Unifont',
    ),
)
_LOCK = threading.RLock()  # matplotlib's settings are shared by all threads
Options = ParamSpec('Options')


@contextmanager
def style(settings: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Sets the style of figures regardless of the user's settings, and restores those afterwards.

    Args:
        settings: settings of matplotlib, which override `SETTINGS`.
    """
    session = ('backend', 'webagg', 'tk', 'interactive', 'toolbar', 'savefig.directory')
    own: dict[Any, Any] = {key: v for key, v in matplotlib.rcParamsDefault.items() if not key.startswith(session)}
    own |= {**SETTINGS, 'font.sans-serif': _families(), **(settings or {})}
    with _LOCK, matplotlib.rc_context(own), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph')  # `figures.save` reports letters that no font contains
        yield


@functools.cache
def _families() -> list[str]:
    """Returns the fonts to search for letters, since names may be in any script.

    The first comes with matplotlib, so that figures in Latin script are the same on every machine.
    """
    installed = set(font_manager.get_font_names())
    return ['DejaVu Sans', *(name for name in FALLBACKS if name in installed)]


def missing_letters(figure: Figure) -> str:
    """Returns the letters in a figure that no installed font contains, each once."""
    faces = [font_manager.get_font(font_manager.findfont(name)) for name in _families()]
    texts = ''.join(text.get_text() for text in figure.findobj(Text))
    known = set().union(*(face.get_charmap() for face in faces))
    return ''.join(letter for letter in dict.fromkeys(texts) if letter.isprintable() and ord(letter) not in known)


def styled(draw: Callable[Options, Figure]) -> Callable[Options, Figure]:
    """Decorates a function to draw in this style and with a fixed layout, so that every save gives the same figure.

    It also makes all strings in the arguments `drawable`.
    """

    @functools.wraps(draw)
    def drawn(*args: Options.args, **kwargs: Options.kwargs) -> Figure:
        with style():
            figure = draw(*drawable(args), **drawable(kwargs))
            figure.draw_without_rendering()
            figure.set_layout_engine('none')
        return figure

    return drawn


def drawable(value: Any) -> Any:
    """Returns a value, or a nested one, with every string shortened to one line without control characters.

    Fonts and vector formats fail on control characters, and endless labels leave no room for the drawing. The
    `metrics` of a run stay unchanged.
    """
    if isinstance(value, (float, int, bytes)):
        return value
    if isinstance(value, str):
        return one_line(value[: 2 * MAX_LENGTH])[:MAX_LENGTH]
    if isinstance(value, dict):
        return {drawable(key): drawable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(drawable, value)) if type(value) in (list, tuple) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # a run's metrics may have millions of values, and only one figure draws their names
        fields = [field.name for field in dataclasses.fields(value) if field.init and field.name != 'metrics']
        return dataclasses.replace(value, **{name: drawable(getattr(value, name)) for name in fields})
    return value


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure; sizes are in inches.

    Raises:
        WrongValue: if the width is out of range.
    """
    if not 1 <= width <= 100:
        raise WrongValue(f'a width of {width:g} inches', allowed=f'1 to 100; a column has {COLUMN}, a page {PAGE}')
    return Figure(figsize=(width, height), layout='constrained')


def look(index: int) -> dict[str, Any]:
    """Returns the color and line style with index `index`; consecutive ones differ in both."""
    return {'color': PALETTE[index % len(PALETTE)], 'linestyle': LINES[index % len(LINES)]}


def choose(
    runs: Sequence[RunRecord],
    has: Callable[[RunRecord], bool],
    lacking: str,
    todo: str,
    kind: type[VireidError] = NotReady,
) -> tuple[list[RunRecord], list[str]]:
    """Returns the runs that have the data for a figure, and a note about the others.

    Args:
        runs: all runs.
        has: returns whether a run has the data.
        lacking: what the others lack, such as `no evidence`.
        todo: how to get it.
        kind: the error if no run has it.

    Raises:
        VireidError: if no run has it.
    """
    if not runs:
        raise MissingKey('no runs to draw', todo='give the folder of a run, such as runs/tffn_demo')
    kept = [run for run in runs if has(run)]
    others = [run.label for run in runs if not has(run)]
    if not kept:
        raise kind(f'{", ".join(others)}: {lacking}', todo=todo)
    return kept, [f'Left out ({lacking}): {", ".join(others)}.'] if others else []


def choose_evidence(
    runs: Sequence[RunRecord], has: Callable[[Evidence], Any], part: str, todo: str = AGAIN
) -> tuple[list[RunRecord], list[str]]:
    """Calls `choose` for a part of the evidence.

    Args:
        runs: all runs.
        has: returns whether the evidence contains the part.
        part: its name, such as `ranking lists`.
        todo: what to do if there is evidence, but without it.

    Raises:
        VireidError: if no run has it.
    """
    never = all(run.evidence is None for run in runs)
    return choose(
        runs,
        lambda run: run.evidence is not None and bool(has(run.evidence)),
        'no evidence' if never else f'no {part} in its evidence',
        AGAIN if never else todo,
    )


def protocol_note(runs: Sequence[RunRecord]) -> list[str]:
    """Returns a note if the runs were scored by different protocols."""
    protocols = {run.label: run.protocol or 'unknown' for run in runs}
    if len(set(protocols.values())) < 2:
        return []
    each = '; '.join(f'{label}: {protocol}' for label, protocol in protocols.items())
    return [f'Not comparable, because the protocols differ ({each}).']


def add_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Writes notes below all axes."""
    if notes:
        letters = max(20, int(figure.get_figwidth() * 72 / (SMALL * LETTER)))
        lines = [line for note in notes for line in textwrap.wrap(note, letters)]
        figure.supxlabel('\n'.join(lines), x=0.01, ha='left', fontsize=SMALL, linespacing=1.25)


def add_legend(figure: Figure, handles: Sequence[Any]) -> None:
    """Adds a legend above all axes, where it covers nothing."""
    if handles:
        columns = _columns([str(h.get_label()) for h in handles], figure.get_figwidth())
        figure.legend(handles=list(handles), loc='outside upper center', ncols=columns, columnspacing=1.2)


def add_axes_legend(axes: Axes, width: float) -> None:
    """Adds a legend above axes of the given width in inches."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            loc='lower left', bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2, ncols=_columns(labels, width),
            columnspacing=1.0, handletextpad=0.5, handlelength=2.0,
        )  # fmt: skip


def _columns(labels: Sequence[str], width: float) -> int:
    """Returns how many entries of a legend fit in a row."""
    entries = [len(label) * 7 * LETTER + 28 for label in labels]  # points: letters, line and gap
    if sum(entries) < width * 72:
        return len(labels)
    return max(1, min(len(labels) - 1, int(width * 72 / max(entries))))
