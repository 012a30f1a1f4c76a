"""Go from the videos or crops of two cameras to an evaluated model and a search page, step by step.

Each step is a command of its own, which is printed, and continues where it was stopped: repeat `vireid start` at any
time.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from vireid.cli.arguments import add_plugin_argument
from vireid.cli.output import is_interactive
from vireid.cli.steps import StepFailed, run_step
from vireid.core.errors import VireidError
from vireid.core.wording import counted

MANIFEST = 'manifest.csv'
ZERO_SHOT, RECIPE = 'vireid::zero_shot.py', 'vireid::own_few.py'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid start`."""
    from vireid.core.types import MODALITIES

    parser.add_argument(
        'sources', type=Path, nargs='+', metavar='VIDEO_OR_DIR', help='a video, or a folder of crops, of each camera: '
        'the first is camera 1, the second camera 2, and so on',
    )  # fmt: skip
    parser.add_argument(
        '-o', '--out', type=Path, default=Path('mine'), metavar='DIR', help='folder of everything (default: mine)'
    )
    parser.add_argument(
        '--modality', nargs='+', choices=MODALITIES, default=[], help='modality of each source (default: visible if '
        'its images have colors)',
    )  # fmt: skip
    parser.add_argument('--folds', type=int, default=5, metavar='K', help='folds of the evaluation (default: 5)')
    parser.add_argument('--yes', action='store_true', help='do not ask; without a manifest.csv it still opens the page')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='K=V', help='detector.weights=FILE and '
        'model.backbone.weights=FILE, if the weights cannot be downloaded; other options are for the training',
    )  # fmt: skip
    add_plugin_argument(parser)
    parser.add_argument('--detector', metavar='TYPE', help='what finds people in videos, see vireid crops')
    parser.add_argument('--port', type=int, default=8000, metavar='N', help='port of the pages (default: 8000)')


def run(args: argparse.Namespace) -> int:
    """Runs the steps; stops at the first that fails."""
    _check(args)
    try:
        _run(args)
    except StepFailed as failed:
        print('\nRepeat the same command to continue here.', file=sys.stderr)
        return failed.status
    return 0


def _run(args: argparse.Namespace) -> None:
    out, plugins = args.out, [text for file in args.plugin for text in ('--plugin', str(file))]
    detector = [option for option in args.cfg_options if option.startswith('detector.')]
    training = _options([option for option in args.cfg_options if option not in detector])
    backbone = _options([option for option in args.cfg_options if option.startswith('model.backbone.weights=')])
    port = ['--open', '--port', str(args.port)]
    print('1. Crops of people')
    for number, source in enumerate(args.sources, 1):
        modality = args.modality[number - 1] if args.modality else ''
        if source.is_dir():
            _copy(source, out, number, modality)
            continue
        crops = ['crops', str(source), '-o', str(out), '--camera', str(number), *_options(detector), *plugins]
        crops += ['--modality', modality] if modality else []
        run_step(*crops, *(['--detector', args.detector] if args.detector else []))
    manifest = out / MANIFEST
    named = manifest.is_file()
    print('\n2. Names')
    print(
        f'{manifest} exists.' if named else 'A page asks who is who. About twenty people seen by both cameras suffice.'
    )
    print('When you have named enough, press Ctrl-C here; the next steps follow.')
    if _asks(args, 'Name more people?' if named else 'Open the page?', default=not named):
        run_step('label', str(out), *port, *backbone, *plugins)
    if not manifest.is_file():
        todo = f'name people with vireid label {quote(str(out))}, then repeat the command'
        raise VireidError(f'{manifest} does not exist: no people have been named', todo=todo)
    try:
        run_step('data', 'check', str(out))
    except StepFailed:
        if not _asks(args, 'There are errors, see above. Go on all the same?', default=False):
            raise
    runs = out / 'runs' / hashlib.blake2b(manifest.read_bytes()).hexdigest()[:8]  # other names give other runs
    print('\n3. Evaluation without training')
    if (runs / 'zero_shot/result.json').is_file():
        print(f'done before: {runs / "zero_shot/report.html"}')
    else:
        where = ['--data-root', str(out), '--work-dir', str(runs / 'zero_shot')]
        run_step('test', ZERO_SHOT, *where, *backbone, *plugins)
    print(f'\n4. Training, tested on everyone in {args.folds} folds')
    if not _asks(args, 'Train now? It takes a minute or two per fold.', default=True):
        return
    where = ['--data-root', str(out), '--work-dir', str(runs / 'folds')]
    run_step('train', RECIPE, *where, '--folds', str(args.folds), *training, *plugins)
    print('\n5. Search')
    print('The model of the first fold searches; what it is worth stands in the table above.')
    checkpoint, index = runs / 'folds/trial_1/checkpoints/best.pt', runs / 'index'
    run_step('index', str(out), '-o', str(index), '--checkpoint', str(checkpoint), *plugins)
    if _asks(args, 'Open the search page?', default=True):
        run_step('serve', str(index), *port, *plugins)


def _check(args: argparse.Namespace) -> None:
    """Raises for what would only fail after an hour."""
    if missing := [source for source in args.sources if not source.exists()]:
        raise VireidError(f'{missing[0]} does not exist', allowed='videos, and folders of crops')
    if args.modality and len(args.modality) != len(args.sources):
        raise VireidError(
            f'{counted(len(args.modality), "modality", "modalities")} for {counted(len(args.sources), "source")}',
            allowed='one --modality for each source',
        )
    if set(args.modality) and len(set(args.modality)) == 1:
        raise VireidError(f'all sources are {args.modality[0]}', allowed='at least one visible and one infrared camera')
    if len(args.sources) < 2 and not args.sources[0].is_dir():
        raise VireidError('one video', allowed='a visible and an infrared one, or a folder with both')
    if args.folds < 2:
        raise VireidError(f'--folds is {args.folds}', allowed='at least 2, such as 5')
    if not (args.yes or is_interactive()):
        raise VireidError('vireid start asks questions, and there is no terminal', todo='add --yes')


def _copy(source: Path, out: Path, number: int, modality: str) -> None:
    """Copies the crops of a folder; those that were copied before are left as they are."""
    from vireid.boundary.image_files import SUFFIXES

    if source.resolve() == out.resolve():
        return
    if out.resolve().is_relative_to(source.resolve()):
        raise VireidError(f'{out} is inside {source}, which it would contain', todo='choose another folder with -o')
    images = sorted(path for path in source.rglob('*') if path.suffix.lower() in SUFFIXES and path.is_file())
    if not images:
        raise VireidError(f'{source} has no images', allowed='a video, or a folder with crops of people')
    copied = 0
    for path in images:
        place = path.relative_to(source)
        known = modality in ('', *place.parts)
        target = out / ('' if known else modality) / f'cam{number}' / place
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)  # with its time
            copied += 1
    print(f'{source}: {len(images):,} images, {copied:,} copied now to {out}')


def _options(options: Sequence[str]) -> list[str]:
    return ['--cfg-options', *options] if options else []


def _asks(args: argparse.Namespace, question: str, default: bool) -> bool:
    """Asks a question; with --yes, the answer is the default."""
    if args.yes:
        return default
    while True:
        try:
            answer = input(f'{question} [{"Y/n" if default else "y/N"}] ').strip().lower()
        except EOFError:
            return False
        if answer in ('', 'y', 'yes', 'n', 'no'):
            return default if not answer else answer[0] == 'y'
