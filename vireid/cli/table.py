"""Print finished runs as a table (text, Markdown, LaTeX or CSV), one row per config."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ('text', 'md', 'latex', 'csv')  # repeated here because studies.tables imports torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid table`."""
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folders of finished runs')
    parser.add_argument('--format', choices=FORMATS, help='format (default: from the suffix of FILE, else text)')
    parser.add_argument('--metrics', nargs='+', metavar='NAME', help='metrics to print (default: R1 R10 R20 mAP)')
    parser.add_argument(
        '--literature',
        type=Path,
        metavar='DIR',
        help='a folder with a table.yaml, whose published numbers are printed beside yours',
    )
    parser.add_argument('-o', '--out', type=Path, metavar='FILE', help='write the table to this file')


def run(args: argparse.Namespace) -> None:
    """Prints the table or writes it to a file."""
    from vireid.boundary.writing import write_whole
    from vireid.studies.ablation_rows import read_literature
    from vireid.studies.systems import read_systems
    from vireid.studies.tables import METRICS_SHOWN, format_of, make_table

    kind = args.format or format_of(args.out)
    more = read_literature(args.literature)
    text = make_table(read_systems(args.runs, queries=False), args.metrics or METRICS_SHOWN, **more).format(kind)
    if args.out is None:
        print(text, end='')
        return
    write_whole(args.out, text)
    print(f'written to {args.out}')
