"""Embed the images of a gallery and keep them in an index for `vireid search`; again, only new and changed ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from vireid.cli.extract import add_model_arguments, make_embedder
from vireid.cli.output import progress_bar
from vireid.core.errors import VireidError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid index`."""
    parser.add_argument(
        'gallery', type=Path, help='a folder with images at any depth, or a table (CSV) with the column path, and '
        'optionally modality, camera and time',
    )  # fmt: skip
    parser.add_argument('-o', '--out', type=Path, required=True, metavar='INDEX', help='folder of the index')
    parser.add_argument(
        '--checkpoint', metavar='FILE', help='a checkpoint (.pt), or zero-shot for a pretrained network without '
        'training (default: that of the existing index)',
    )  # fmt: skip
    parser.add_argument('--camera', metavar='NAME', help='camera of all images (default: the table, or a folder cam4)')
    parser.add_argument(
        '--time-pattern', metavar='PATTERN', help='how file names give the time, with codes of strptime and * for any '
        'text, such as cam4_%%Y%%m%%d-%%H%%M%%S_* (default: a date and time in the name, EXIF data, or the file time)',
    )  # fmt: skip
    parser.add_argument(
        '--type', metavar='TYPE', help='how to search: Exact (default), FaissIVF, FaissHNSW, Qdrant or another; '
        'its arguments are overrides such as --cfg-options index.probes=32',
    )  # fmt: skip
    parser.add_argument('--trust-config', action='store_true', help='contact the server that an existing index names')
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Builds or updates the index, and prints what it contains and how to search it."""
    from vireid.search.building import build
    from vireid.search.gallery import find_gallery
    from vireid.search.index import ABOUT, OPTIONS, ZERO_SHOT, read_about

    root, found = find_gallery(args.gallery, args.modality, args.camera)
    before = read_about(args.out) if (args.out / ABOUT).exists() else None
    checkpoint = args.checkpoint or (before or {}).get('checkpoint')
    if checkpoint is None:
        raise VireidError('no checkpoint was given', todo='name one: --checkpoint FILE, or --checkpoint zero-shot')
    own = [option for option in args.cfg_options if option.startswith('index.')]
    options = [option for option in args.cfg_options if option not in own] or (before or {}).get('options', [])
    zero_shot = args.out / ZERO_SHOT
    if wrong := [option for option in options if checkpoint != 'zero-shot' and not option.startswith(OPTIONS)]:
        raise VireidError(
            f'--cfg-options {wrong[0]}', allowed=f'index.NAME=..., {", ".join(f"{o}..." for o in OPTIONS)}'
        )
    untrained = checkpoint in ('zero-shot', ZERO_SHOT)
    embedder = make_embedder('zero-shot' if untrained else checkpoint, zero_shot, found, options, args.plugin)
    with progress_bar('reading') as show:
        update = build(
            args.out,
            root,
            found,
            embedder,
            checkpoint=ZERO_SHOT if untrained else str(Path(checkpoint).absolute()),
            index=_config(args.type, own, (before or {}).get('index')),
            options=() if untrained else options,
            time_pattern=args.time_pattern,
            plugins=args.plugin,
            trust=args.trust_config or any('://' in option for option in own),  # typed just now
            on_progress=lambda what, done, total: show(done, total, what),
        )
    print(f'{args.out}\n{update.text()}')
    print(f'\nTo search it: vireid search {quote(str(args.out))} IMAGE')
    return 0


def _config(kind: str | None, options: Sequence[str], before: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns the config of the component that searches; None keeps that of the index."""
    if kind is None and not options:
        return None
    from vireid.core.config.overrides import override

    config = {'index': {'type': kind} if kind else dict(before or {'type': 'Exact'})}
    for option in options:
        override(config, option)
    return config['index']
