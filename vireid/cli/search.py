"""Find the images of an index that are most similar to an image of someone."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.search.index import Hit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid search`."""
    from vireid.core.types import MODALITIES

    parser.add_argument('index', type=Path, help='folder of an index, written by `vireid index`')
    parser.add_argument(
        'images', type=Path, nargs='+', metavar='IMAGE', help='images of a person, cut out of the scene'
    )
    parser.add_argument('--top', type=int, default=20, metavar='N', help='number of images per query (default: 20)')
    parser.add_argument('--among', choices=MODALITIES, help='only images of this modality (default: all images)')
    parser.add_argument('--camera', action='append', default=[], metavar='NAME', help='only this camera; repeatable')
    parser.add_argument(
        '--after', metavar='TIME', help='not before this time, such as 2026-11-29 or "2026-11-29 22:00"'
    )
    parser.add_argument('--before', metavar='TIME', help='not after this time')
    parser.add_argument(
        '--modality', choices=MODALITIES, help='modality of the queries (default: visible if the image has colors)'
    )
    parser.add_argument('--html', type=Path, metavar='FILE', help='also write a page with the images')
    parser.add_argument('--json', action='store_true', help='print JSON: a list of queries with their hits')
    add_index_arguments(parser)


def add_index_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of commands that open an index."""
    parser.add_argument('--checkpoint', type=Path, metavar='FILE', help='the checkpoint of the index, if it was moved')
    parser.add_argument(
        '--false-alarms', type=_rate, default=0.05, metavar='SHARE', help='of the people who are not in the index, the '
        'share that may be taken for one who is (default: 0.05); needs a calibrated model',
    )  # fmt: skip
    parser.add_argument('--trust-config', action='store_true', help='contact the server that the index names')
    parser.add_argument(
        '--plugin', type=Path, action='append', default=[], metavar='FILE', help='a Python file with your components'
    )


def run(args: argparse.Namespace) -> int:
    """Prints the hits of each query."""
    import numpy as np

    from vireid.boundary.names import camera_name
    from vireid.boundary.showing import as_json, one_line, printable
    from vireid.core.wording import aligned
    from vireid.search.confidence import judge, percent
    from vireid.search.entries import Where
    from vireid.search.index import Index
    from vireid.search.modality import guess_modality
    from vireid.search.times import parse_time

    index = Index.open(args.index, args.plugin, args.checkpoint, args.trust_config)
    after, before = (
        parse_time(text, f'--{name}') if text else None
        for name, text in (('after', args.after), ('before', args.before))
    )
    recorded = index.cameras()
    cameras = tuple(name if name in recorded else camera_name(name) for name in args.camera)
    where = Where(cameras, after, _end_of_day(args.before, before), args.among)
    index.require_known(where)
    queries = []
    for path in args.images:
        pixels = index.embedder.pixels(path)
        guess = guess_modality(pixels)
        if args.modality and guess != args.modality:
            looks = 'has colors' if guess == 'visible' else 'has no colors'
            print(f'warning: {printable(str(path))} {looks}, but is embedded as {args.modality}', file=sys.stderr)
        modality = args.modality or guess
        queries.append((path, modality, args.modality is None, index.embedder.embed(pixels, modality)))
    found = index.search(np.concatenate([vector for *_, vector in queries]), args.top, where)
    judged = [
        judge(index, modality, hits, where, args.false_alarms)
        for (_, modality, *_), hits in zip(queries, found, strict=True)
    ]
    if args.html:
        from vireid.search.page import write_page

        write_page(args.html, index, [(path, modality) for path, modality, *_ in queries], found, judged)
    if args.json:
        rows = [
            {
                'query': str(path), 'modality': modality, 'guessed': guessed, 'absent': sure.absent,
                'hits': [_plain(hit, p) for hit, p in zip(hits, sure.probabilities, strict=True)],
            }
            for (path, modality, guessed, _), hits, sure in zip(queries, found, judged, strict=True)
        ]  # fmt: skip
        print(as_json(rows, indent=1))
        return 0
    for (path, modality, guessed, _), hits, sure in zip(queries, found, judged, strict=True):
        print(printable(f'{path}, {modality}{" (guessed; --modality sets it)" if guessed else ""}'))
        known = any(p is not None for p in sure.probabilities)
        lines = [('rank', 'score', *(['same person'] if known else []), 'camera', 'time', 'image')]
        for rank, (hit, p) in enumerate(zip(hits, sure.probabilities, strict=True), 1):
            time = f'{hit.time:%Y-%m-%d %H:%M:%S} ({hit.time_from})' if hit.time else '-'
            same = [] if not known else ['-'] if p is None else [percent(p)]
            camera, image = one_line(hit.camera) or '-', one_line(hit.path)
            lines.append((str(rank), f'{hit.score:.3f}', *same, camera, time, image))
        print('\n'.join(aligned([list(line) for line in lines])) if hits else 'no image of the index fits the filters')
        if sure.absent:
            print(sure.text(args.false_alarms))
        print()
    for note in dict.fromkeys(sure.unknown for hits, sure in zip(found, judged, strict=True) if hits and sure.unknown):
        print(f'note: {note}')
    if args.html:
        print(f'written to {args.html}')
    return 0


def _end_of_day(text: str | None, time: datetime | None) -> datetime | None:
    """Returns the last moment of the day if only a date was given: `--before 2026-11-29` includes that day."""
    if text is None or time is None or any(sign in text.strip() for sign in ': T'):
        return time
    return time.replace(hour=23, minute=59, second=59, microsecond=999_999)


def _plain(hit: Hit, probability: float | None) -> dict[str, Any]:
    time = hit.time.isoformat(' ') if hit.time else None
    return {**vars(hit), 'time': time, 'probability': probability}


def _rate(text: str) -> float:
    """Parses a share between 0 and 1."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1:
        raise VireidError(f'--false-alarms is {text!r}', allowed='a share between 0 and 1, such as 0.05')
    return rate
