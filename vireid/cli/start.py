"""Go from the videos or crops of two cameras to an evaluated model and a search page, step by step.

Each step is a separate command, which is printed, and continues where it was stopped: repeat `vireid start` at any
time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vireid.cli.arguments import add_options_argument, add_plugin_argument
from vireid.cli.output import run_step
from vireid.console.questions import ask, is_interactive
from vireid.errors import Unavailable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid start`."""
    from vireid.core.types import MODALITIES

    parser.add_argument(
        'sources', type=Path, nargs='+', metavar='VIDEO_OR_DIR', help='a video, or a folder of crops, of each camera: '
        'the first is camera 1, the second camera 2, and so on',
    )  # fmt: skip
    parser.add_argument(
        '-o', '--out', type=Path, default=Path('mine'), metavar='DIR', help='folder for all files (default: mine)'
    )
    parser.add_argument(
        '--modality', nargs='+', choices=MODALITIES, default=[], help='modality of each source (default: visible if '
        'its images have colors)',
    )  # fmt: skip
    parser.add_argument('--folds', type=int, default=5, metavar='K', help='folds of the evaluation (default: 5)')
    parser.add_argument('--yes', action='store_true', help='do not ask; without a manifest.csv it still opens the page')
    add_options_argument(
        parser,
        'detector.weights=FILE and model.backbone.weights=FILE, if the weights cannot be downloaded; other options are '
        'for the training',
    )
    add_plugin_argument(parser)
    parser.add_argument('--detector', metavar='TYPE', help='detector of people in videos, see vireid crops')
    parser.add_argument('--port', type=int, default=8000, metavar='N', help='port of the pages (default: 8000)')


def run(args: argparse.Namespace) -> int:
    """Runs the steps; stops at the first that fails."""
    from vireid.studies.own_cameras import OwnCameras

    own = OwnCameras(
        args.sources, args.out, args.modality, args.folds, args.cfg_options, args.plugin, args.detector, args.port
    )
    own.check()
    if not (args.yes or is_interactive()):
        raise Unavailable('vireid start asks questions, and there is no terminal', todo='add --yes')
    if status := own.run(run_step, (lambda question, default: default) if args.yes else ask):
        print('\nRepeat the same command to continue from here.', file=sys.stderr)
    return status
