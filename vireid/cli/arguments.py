"""Flags shared by several commands, for config overrides and plugins, and how to read them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vireid.console.number_ranges import MAX_NUMBERS, parse_share
from vireid.core.config.overrides import Overrides
from vireid.errors import UnknownKey

if TYPE_CHECKING:
    from vireid.plugin_manager.manager import PluginManager

# set by --cache and --rerank
CACHE = {'type': 'ImageCache'}
RERANK = {'type': 'KReciprocal'}


def add_experiment_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds the flags that change the config; returns the group `run`, which a command may extend."""
    data = parser.add_argument_group('data')
    data.add_argument('--data-root', metavar='DIR', help="the dataset's folder (default: the config's, or VIREID_DATA)")
    data.add_argument(
        '--split', type=int, dest='data_split', metavar='N', help='split of a dataset with several (RegDB: 1 to 10)'
    )
    data.add_argument('--trial', '--trials', type=_refuse_trials, help=argparse.SUPPRESS)
    data.add_argument('--cache', metavar='DIR', help='cache decoded images in this folder')
    run = parser.add_argument_group('run')
    run.add_argument('--seed', type=int, metavar='N', help="random seed (default: the config's)")
    run.add_argument('--precision', metavar='NAME', help='auto, 32-true, bf16-mixed, or 16-mixed (GPU)')
    run.add_argument('--devices', type=_devices, metavar='N', help='number of devices, or auto')
    score = parser.add_argument_group('evaluation')
    score.add_argument('--protocol', metavar='NAME', help='another evaluation protocol, such as sysu/official')
    score.add_argument('--flip', action='store_true', help='also report flip test-time augmentation')
    score.add_argument('--rerank', action='store_true', help='also report k-reciprocal re-ranking')
    add_options_argument(parser.add_argument_group('config'))
    add_plugin_arguments(parser)
    return run


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that run several runs at once; `make_launcher` reads them."""
    group = parser.add_argument_group('runs')
    group.add_argument(
        '--jobs',
        type=_jobs,
        nargs='?',
        const=0,
        metavar='N',
        help='train N runs at once, each in its own process (without N: one per GPU); they share the CPU cores',
    )
    group.add_argument(
        '--launcher',
        nargs='+',
        default=[],
        metavar=('NAME', 'K=V'),
        help='where to train the runs: local, or slurm with options such as partition=gpu hours=12',
    )


def make_launcher(args: argparse.Namespace, manager: PluginManager, folder: Path) -> Any:
    """Builds the launcher of `--launcher` and `--jobs`; returns None without these flags.

    Args:
        args: the flags of `add_launcher_arguments`.
        manager: the plugins.
        folder: the folder of the study.

    Raises:
        VireidError: for an unknown launcher or option, or one that cannot be used here.
    """
    if args.jobs is None and not args.launcher:
        return None
    from vireid.studies.launchers import build_launcher

    name, *options = args.launcher or ['local']
    return build_launcher(name, options, args.jobs or None, manager, folder)


def add_options_argument(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    text: str = 'overrides, such as images.size=[144,72]',
) -> None:
    """Adds `--cfg-options`, described by `text`."""
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='K=V', help=text)


def add_plugin_argument(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, text: str = 'a Python file of yours; repeatable'
) -> None:
    """Adds `--plugin`, described by `text`."""
    parser.add_argument('--plugin', type=Path, action='append', default=[], metavar='FILE', help=text)


def add_folder_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup, default: str) -> None:
    """Adds `--work-dir`, whose help names the default."""
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help=f'output folder (default: {default})')


def add_plugin_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that select plugins and restrict what a config may do."""
    group = parser.add_argument_group('plugins')
    add_plugin_argument(group)
    group.add_argument(
        '--no-plugin', action='append', default=[], metavar='NAME', help='do not load this installed plugin; repeatable'
    )
    group.add_argument(
        '--strict-plugins', action='store_true', help='fail if an installed plugin cannot be used, instead of warning'
    )
    group.add_argument(
        '--trust-config',
        action='store_true',
        help='let a YAML or JSON config choose loggers with a server and a cache folder, and name bases outside its '
        'folder (see SECURITY.md)',
    )


def add_embedding_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of commands that embed images."""
    from vireid.core.types import MODALITIES

    parser.add_argument(
        '--modality', choices=MODALITIES, help='modality of all images (default: that of the table or of a folder with '
        'this name; otherwise visible if the image has colors)',
    )  # fmt: skip
    add_options_argument(parser, 'overrides of the config of the checkpoint, such as images.scale_raw=percentiles')
    add_plugin_argument(parser)


def add_index_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of commands that open an index."""
    parser.add_argument('--checkpoint', type=Path, metavar='FILE', help='the checkpoint of the index, if it was moved')
    parser.add_argument(
        '--false-alarms', type=partial(parse_share, '--false-alarms'), default=0.05, metavar='SHARE', help='share '
        'of the people missing from the index that may be mistaken for someone in it (default: 0.05); needs a '
        'calibrated model',
    )  # fmt: skip
    parser.add_argument('--trust-config', action='store_true', help='contact the server that the index names')
    add_plugin_argument(parser)


def add_listening_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of commands that serve a page."""
    parser.add_argument('--port', type=int, default=8000, metavar='N', help='port (default: 8000)')
    parser.add_argument(
        '--host', default='127.0.0.1', metavar='ADDRESS', help='address to listen on (default: 127.0.0.1, this machine '
        'only); any other needs the token that is printed',
    )  # fmt: skip
    parser.add_argument('--token', metavar='TEXT', help='the token for other machines (default: a new random one)')
    parser.add_argument('--open', action='store_true', help='open the page in the browser')


def overrides_of(args: argparse.Namespace) -> Overrides:
    """Returns the config overrides of the flags; a command may have only some of these flags."""
    given: Mapping[str, Any] = vars(args)
    cache, environment = given.get('cache'), os.environ.get('VIREID_DATA')
    values = {
        'dataset.root': given.get('data_root') or None,
        'dataset.split': given.get('data_split'),
        'training.precision': given.get('precision'),
        'training.devices': given.get('devices'),
        'training.init': str(given['init']) if given.get('init') else None,
        'training.init_partial': given.get('partial') or None,
        'seed': given.get('seed'),
        'images.reader': {**CACHE, 'folder': cache} if cache is not None else None,
        'evaluation.flip': given.get('flip') or None,
    }
    components = {'protocol': {'type': given['protocol']}} if given.get('protocol') else {}
    return Overrides(
        defaults={'dataset.root': (environment, 'VIREID_DATA')} if environment else {},
        components=components | ({'evaluation.rerank': RERANK} if given.get('rerank') else {}),
        values={key: value for key, value in values.items() if value is not None},
        options=given.get('cfg_options', ()),
        plugins=given.get('plugin', ()),
        trust=given.get('trust_config', False),
    )


def make_manager(
    args: argparse.Namespace, files: Sequence[str | Path] = (), warn: Callable[[str], None] | None = None
) -> PluginManager:
    """Loads the installed plugins that the flags allow, and plugin files.

    Args:
        args: the flags of `add_plugin_arguments`.
        files: plugin files, in addition to those that a config names.
        warn: called with a line for each unusable plugin; prints it once by default.

    Raises:
        VireidError: for an unusable file, an unknown name after `--no-plugin`, or with `--strict-plugins` for any
            unusable plugin.
    """
    from vireid.cli.commands import NAMES
    from vireid.console.warn import warn_once
    from vireid.plugin_manager.manager import create_manager

    return create_manager(
        files, disabled=args.no_plugin, strict=args.strict_plugins, warn=warn or warn_once, reserved=NAMES
    )


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MAX_NUMBERS:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 1 to {MAX_NUMBERS:,}')
    return int(text)


def _refuse_trials(text: str) -> NoReturn:
    """Explains the flags `--trial` and `--trials` of earlier versions."""
    raise UnknownKey(
        f'--trial and --trials (given: {text}) were renamed: a trial is now a random gallery of a protocol',
        todo='for the splits of RegDB: --split 3, or --splits 1-10 for a model of each; for folds: --folds 5',
    )


def _devices(text: str) -> int | str:
    return int(text) if text.isdigit() else text
