"""Write the HTML report of a run again, or a report of several runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid report`."""
    parser.add_argument(
        'runs', type=Path, nargs='+', metavar='RUN', help='folders written by vireid train or vireid test'
    )
    parser.add_argument(
        '-o',
        '--out',
        type=Path,
        metavar='FILE',
        help='output file (default: RUN/report.html; required for several runs)',
    )


def run(args: argparse.Namespace) -> None:
    """Writes the report and prints its path."""
    from vireid.reporting.page import page_path, write_report
    from vireid.reporting.record import read_runs

    out = page_path(args.runs, args.out)
    write_report(read_runs(args.runs), out)
    print(f'{out}: {out.stat().st_size / 1e6:.1f} MB')
