"""What `train` and `test` share: from a config file and flags to an experiment."""

from __future__ import annotations

import argparse
import copy
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vireid.cli.startup import importing
from vireid.core.errors import VireidError, raise_all

if TYPE_CHECKING:
    from vireid.core.config.experiment import Experiment
    from vireid.core.scoring.results import Results
    from vireid.plugin_manager.manager import PluginManager


PLUGIN_FLAGS = ('plugin', 'no_plugin', 'strict_plugins', 'trust_config')
# what the short flags set
CACHE = {'type': 'ImageCache'}
RERANK = {'type': 'KReciprocal'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that change the config."""
    add_plugin_argument(parser)
    parser.add_argument('--data-root', metavar='DIR', help="the dataset's folder (or set VIREID_DATA)")
    parser.add_argument('--trial', type=int, metavar='N', help='split of a dataset that has several (RegDB: 1 to 10)')
    parser.add_argument('--precision', help='auto, 32-true, bf16-mixed, or 16-mixed (GPU)')
    parser.add_argument('--devices', help='how many devices, or auto')
    parser.add_argument('--seed', type=int, help='of weights, batches and augmentation')
    parser.add_argument('--protocol', metavar='NAME', help='score by another protocol, such as sysu/official')
    parser.add_argument('--flip', action='store_true', help='score embeddings averaged with mirror images, beside')
    parser.add_argument('--rerank', action='store_true', help='score k-reciprocal re-ranking, beside the plain rows')
    parser.add_argument('--cache', metavar='DIR', help='keep decoded images there')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='K=V', help='overrides, such as images.size=[144,72]'
    )


def add_plugin_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say which plugins there are (`PLUGIN_FLAGS`)."""
    parser.add_argument(
        '--plugin',
        type=Path,
        action='append',
        default=[],
        metavar='FILE',
        help='a Python file with components of yours',
    )
    parser.add_argument(
        '--no-plugin', action='append', default=[], metavar='NAME', help='leave an installed plugin out, unimported'
    )
    parser.add_argument(
        '--strict-plugins', action='store_true', help='stop if an installed plugin cannot be used, instead of a warning'
    )
    parser.add_argument(
        '--trust-config',
        action='store_true',
        help='let a YAML or JSON config choose loggers with a server and a cache folder, and name bases outside its '
        'folder (see SECURITY.md)',
    )


_told: set[str] = set()


def warn_once(line: str) -> None:
    """Prints a warning that was not printed yet."""
    if line not in _told:
        _told.add(line)
        print(f'warning: {line}', file=sys.stderr)


def quiet_others() -> None:
    """Lets the first of several processes alone print what a command found; each prints its own errors."""
    from vireid.core.distributed.processes import world

    if world()[0] > 0 and sys.stdout.name != os.devnull:
        sys.stdout = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115, until the process ends


def print_result(experiment: Experiment, found: Results, last: str = '') -> None:
    """Prints the result table and a last line, unless a logger of the experiment has."""
    quiet_others()
    if not any(logger['type'] == 'Console' for logger in experiment.loggers):
        print(f'{found.caption()}, in percent:\n{found.table()}\n{last}')


def make_manager(
    args: argparse.Namespace, files: Sequence[str | Path] = (), tell: Callable[[str], None] = warn_once
) -> PluginManager:
    """Loads the installed plugins and some files, as the flags say; warns of each that cannot be used once."""
    from vireid.cli import COMMANDS
    from vireid.plugin_manager.manager import create_manager

    return create_manager(files, disabled=args.no_plugin, strict=args.strict_plugins, tell=tell, reserved=COMMANDS)


def default_arguments(**given: Any) -> argparse.Namespace:
    """Returns the flags of `add_arguments` as if none were given, but for these; what `read_config` takes."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return argparse.Namespace(**{**vars(parser.parse_args([])), **given})


def read_config(
    args: argparse.Namespace, over: Sequence[Path] = (), origins: dict[tuple[str, ...], str] | None = None
) -> dict[str, Any]:
    """Reads the config, lays `over` over it, and applies the flags to it; `origins` gets where each value is from."""
    from vireid.core.config.files import load
    from vireid.core.config.overrides import override

    args.origins = origins = {} if origins is None else origins  # `prepare` asks which values data said
    folders = lambda: make_manager(args).configs  # noqa: E731, one expression
    given = {'folders': folders, 'origins': origins, 'plugins': args.plugin, 'trust': args.trust_config}
    config = load(args.config, over=over, **given)
    config.setdefault('name', Path(str(args.config).rpartition('::')[2]).stem)
    dataset = config.get('dataset', {})
    stated = isinstance(dataset, dict) and dataset.get('root')
    root = args.data_root or (not stated and os.environ.get('VIREID_DATA')) or None
    flags = {
        'dataset.root': root,
        'dataset.trial': args.trial,
        'training.precision': args.precision,
        'training.devices': args.devices,
        'seed': args.seed,
        'images.reader': {**CACHE, 'folder': args.cache} if args.cache is not None else None,
        'evaluation.flip': args.flip or None,
    }
    if args.protocol:
        _choose(config, 'protocol', {'type': args.protocol})
    if args.rerank:
        _choose(_section(config, 'evaluation'), 'rerank', RERANK)
    for key, value in flags.items():
        if value is not None:
            section, _, name = key.rpartition('.')
            value = int(value) if key == 'training.devices' and str(value).isdigit() else value
            (_section(config, section) if section else config)[name] = value
            origins[tuple(key.split('.'))] = 'a flag, or VIREID_DATA' if name == 'root' else 'a flag'
    for option in args.cfg_options:
        if option.split('.')[0] in ('evaluation', 'losses'):  # all that they hold has a default, so they may be missing
            _section(config, option.split('.')[0])
        override(config, option)
        _mark(origins, config, option)
    _resolve_plugins(config, args.plugin)
    return config


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns a section that a flag sets something in."""
    found = config.setdefault(name, {})
    if not isinstance(found, dict):
        raise VireidError(f'{name} is {found!r} ({type(found).__name__})', allowed='a dict')
    return found


def _choose(section: dict[str, Any], key: str, component: dict[str, Any]) -> None:
    """Sets a component, unless the config has this one already, with settings of its own."""
    there = section.get(key)
    if not isinstance(there, dict) or there.get('type') != component['type']:
        section[key] = dict(component)


def make_experiment(config: dict[str, Any], args: argparse.Namespace) -> Experiment:
    """Loads the plugins and checks the config against them."""
    with importing():
        from vireid.core.config.experiment import Experiment, check_config
        from vireid.launch.preflight import find_problems

        manager = prepare(config, args)
        if check_config(config, manager):
            raise_all(find_problems(config, manager))  # with what only building tells
        return Experiment.unchecked(config, manager)


def prepare(config: dict[str, Any], args: argparse.Namespace) -> PluginManager:
    """Loads the plugins of a config that `read_config` read, and reads the overrides again as what they are meant for.

    `name=2024` looks like a number; where only a text fits, it is one.
    """
    from vireid.boundary.received import leave_out
    from vireid.core.config.experiment import check_config
    from vireid.core.config.overrides import override, split_key

    manager = make_manager(args, config.get('plugins', ()))
    if not args.trust_config:
        leave_out(config, args.origins, manager, warn_once)
    texts = dict(option.partition('=')[::2] for option in args.cfg_options)  # of a key given twice, the last counts
    problems = check_config(config, manager) if texts else []
    for key, text in texts.items():
        if any(problem.given.startswith(f'{".".join(split_key(config, key))} is ') for problem in problems):
            changed = copy.deepcopy(config)
            override(changed, f'{key}={text.strip()!r}')
            remaining = check_config(changed, manager)
            if len(remaining) < len(problems):
                override(config, f'{key}={text.strip()!r}')
                problems = remaining
    return manager


def _resolve_plugins(config: dict[str, Any], given: Sequence[Path]) -> None:
    """Makes plugin files of an override absolute, as those of the config's files are; adds those of the flag."""
    named = config.get('plugins', [])
    if not isinstance(named, (list, tuple)) or not all(isinstance(file, str) for file in named):
        raise VireidError(f'plugins is {named!r}', allowed="a list of Python files: ['my_fusion.py']")
    if named or given:
        config['plugins'] = list(dict.fromkeys(str(Path(file).resolve()) for file in [*named, *given]))


def _mark(origins: dict[tuple[str, ...], str], config: Mapping[str, Any], option: str) -> None:
    """Notes in `origins` that an override set what it names: all below it, or the list that it stands in."""
    from vireid.core.config.overrides import leaves, split_key

    place: tuple[str, ...] = tuple(split_key(config, option.partition('=')[0]))
    node: Any = config
    for depth, part in enumerate(place):
        if not isinstance(node, Mapping):
            place = place[:depth]
            break
        node = node.get(part)
    for known in [known for known in origins if known[: len(place)] == place]:
        del origins[known]
    for leaf in leaves(node) if isinstance(node, Mapping) else [()]:
        origins[(*place, *leaf)] = option


def parse_seeds(text: str) -> list[int]:
    """Reads `0-4` or `0,1,5`; each once, in the order given."""
    found: list[int] = []
    for part in text.replace(' ', ',').split(','):
        first, dash, last = part.partition('-')
        words = (first, last) if dash else (first,)
        if not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
            raise VireidError(f'--seeds is {text!r}', allowed='0-4, or 0,1,5')
        numbers = range(int(first), int(words[-1]) + 1)
        if not numbers or len(numbers) > 1000:
            raise VireidError(f'--seeds is {text!r}', allowed='0-4, or 0,1,5')
        found += numbers
    return list(dict.fromkeys(found))
