#!/usr/bin/env python3
"""Updates the table in docs/zoo.md from folders of `vireid publish`: `zoo/*` by default (`make docs`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vireid.boundary.showing import markdown
from vireid.errors import VireidError
from vireid.exchange.publish_record import RECORD, read_published

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'zoo.md'
BEGIN, END = '<!-- zoo: written by make docs -->', '<!-- end of the zoo -->'
EMPTY = 'The zoo is empty: nothing was trained on the licensed datasets yet. [Add the first entry](#add-an-entry).'
METRICS = ('R1', 'mAP')


def document(folders: Sequence[Path]) -> str:
    """Returns the page with the table of these releases.

    Raises:
        VireidError: if a release is damaged.
    """
    before, _, rest = PAGE.read_text(encoding='utf-8').partition(BEGIN)
    return f'{before}{BEGIN}\n{table(folders)}\n{END}{rest.partition(END)[2]}'


def table(folders: Sequence[Path]) -> str:
    """Returns a Markdown table with the first row of each result: by data and protocol, the best rank-1 first."""
    releases = [(folder, read_published(folder)) for folder in folders]
    if not releases:
        return EMPTY
    head = ['model', 'data', 'protocol', 'seeds', *METRICS, 'license of the weights']
    lines = [_line(head), '|---' * len(head) + '|']
    for folder, record in sorted(releases, key=lambda release: _place(release[1])):
        row = record['rows'][0]
        card = Path(os.path.relpath(folder / 'README.md', PAGE.parent)).as_posix()
        cells = [record['data'], f'{record["protocol"]}, {row["name"]}', str(len(record['seeds']))]
        cells += [_metric(row['metrics'][key]) for key in METRICS]
        lines.append(_line([f'[{markdown(record["name"])}](<{card}>)', *map(markdown, [*cells, record['license']])]))
    about = 'Percent. In brackets: 95% interval over seeds if there are several, else over test identities.'
    return '\n'.join([*lines, '', f'{about} The cards have all metrics and both intervals.'])


def _place(record: Mapping[str, Any]) -> tuple[str, str, float]:
    return record['data'], record['protocol'], -record['rows'][0]['metrics']['R1']['mean']


def _metric(metric: Mapping[str, Any]) -> str:
    low, high = metric['seeds'] or metric['people']
    return f'{100 * metric["mean"]:.2f} ({100 * low:.1f} to {100 * high:.1f})'


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


if __name__ == '__main__':
    given = [Path(name) for name in sys.argv[1:]] or sorted(path.parent for path in ROOT.glob(f'zoo/*/{RECORD}'))
    try:
        PAGE.write_text(document(given), encoding='utf-8')
    except VireidError as error:
        sys.exit(f'error: {error}')
