"""Draw a figure of finished runs as PDF, SVG or PNG."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.console.warn import warn_once
from vireid.reporting import figures

HELP = {
    'rows': 'draw the first row of the table, or all of them',
    'ranks': 'last rank to draw',
    'method': 'projection method',
    'pairs': 'maximum number of image pairs',
    'queries': 'maximum number of queries',
    'top': 'gallery images per query',
    'kind': 'which queries to draw',
    'identity': 'draw the queries of this identity instead',
}
DEFAULTS = {'rows': 'first', 'ranks': 20, 'method': 'tsne', 'pairs': 4, 'queries': 5, 'top': 10, 'kind': 'worst'}
WORDS = {'rows': ('first', 'all'), 'method': ('tsne', 'pca'), 'kind': ('best', 'worst', 'random')}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid plot`."""
    parser.add_argument('figure', metavar='FIGURE', help=', '.join(figures.FIGURES))
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folders written by vireid train or vireid test')
    parser.add_argument('-o', '--out', type=Path, required=True, metavar='FILE', help='output file: .pdf, .svg or .png')
    parser.add_argument(
        '--width', metavar='WIDTH', help='column (3.3 inches), page (6.9 inches), or inches (default: by figure)'
    )
    for option, text in HELP.items():
        takers = ', '.join(name for name, own in figures.OPTIONS.items() if option in own)
        words = WORDS.get(option)
        metavar = '|'.join(words) if words else 'NAME' if option == 'identity' else 'N'
        kind = int if metavar == 'N' else str
        default = f'; default: {DEFAULTS[option]}' if option in DEFAULTS else ''
        parser.add_argument(f'--{option}', type=kind, metavar=metavar, help=f'{text} ({takers}{default})')


def run(args: argparse.Namespace) -> None:
    """Draws the figure and prints its path."""
    options = {option: getattr(args, option) for option in HELP if getattr(args, option) is not None}
    figures.check_options(args.figure, options)
    figures.check_path(args.out)
    if args.width is not None:
        options['width'] = figures.parse_width(args.width)
    from vireid.reporting.record import read_runs

    runs = read_runs(args.runs)
    for line in (line for run in runs if args.figure == 'cmc' for line in run.warnings()):
        warn_once(line)
    figures.save(figures.draw(args.figure, runs, **options), args.out)
    print(f'{args.figure} of {", ".join(run.label for run in runs)} written to {args.out}')
