"""Decides whether two configs describe the same run: for resuming, for skipping finished jobs, and for tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from typing import Any

from vireid.core.config.experiment import SETTINGS, Sections, typed
from vireid.core.config.overrides import leaves
from vireid.errors import VireidError, WrongContent

# how images are read, without effect on pixels
READING = tuple(f'images.{name}' for name in ('workers', 'reader*', 'check', 'on_bad_image', 'max_pixels'))
LONG = 40  # characters of a value that a message does not show
# hardware, length of the run, and what it writes
RESUMABLE = (
    'name', 'loggers', 'plugins', 'requires', 'stages', *READING,
    *(
        f'training.{name}'
        for name in ('epochs', 'steps', 'precision', 'accelerator', 'devices', 'nodes', 'strategy', 'evaluate_every',
                     'checkpoint_every', 'init', 'init_partial', 'init_except', 'keep', 'memory_format', 'compile')
    ),
)  # fmt: skip


def read_sections(config: Mapping[str, Any], source: object) -> Sections:
    """Returns the typed sections of a saved config, which an earlier version or another program may have written.

    Raises:
        WrongContent: if a section is missing or malformed.
    """
    known = {f.name for f in fields(Sections)}
    try:
        return Sections(**typed({key: value for key, value in config.items() if key in known}))
    except (TypeError, AttributeError, ValueError, VireidError) as error:
        raise WrongContent(
            f'the config in {source} was not written by vireid: {error}', todo='restore the file, or train again'
        ) from error


def changes(ours: Sections, theirs: Sections, may_change: Collection[str] = ()) -> dict[str, str]:
    """Returns the dotted keys in which two runs differ, each with both values for a message, or '' if they are long.

    Args:
        ours: the sections of one run.
        theirs: the sections of the other.
        may_change: patterns of keys to ignore, such as `images.workers` or `evaluation.*`.
    """
    mine, other = _values(ours), _values(theirs)
    keys = [*mine, *(key for key in other if key not in mine)]
    differ = [k for k in keys if mine.get(k, _ABSENT) != other.get(k, _ABSENT) and not matches(k, may_change)]
    shown = {key: [_shown(values.get(key, _ABSENT)) for values in (other, mine)] for key in differ}
    return {key: ', not '.join(both) if all(both) else '' for key, both in shown.items()}


def matches(key: str, patterns: Collection[str]) -> bool:
    """Returns whether a dotted key matches any of the patterns."""
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def scoring(run: Sections) -> set[str]:
    """Returns patterns of the settings that affect how a run is scored, but not its weights."""
    keys = {'loggers', *(f'evaluation.{name}' for name in ('batch_size', 'flip', 'rerank*'))}
    if run.evaluation.select == 'last':  # otherwise metrics select the weights
        keys |= {'protocol.*', 'evaluation.similarity*', 'evaluation.ties', 'evaluation.precision'}
    return keys


def resumable(run: Sections, of_step: Collection[str] = ()) -> set[str]:
    """Returns patterns of the settings that may change when a run is resumed.

    Args:
        run: the run.
        of_step: patterns of the step settings that may change, such as `clip_norm`.
    """
    data = 'dataset.*' if run.evaluation.select == 'last' else 'dataset.root'
    return {*RESUMABLE, *scoring(run), data, *(f'step.{pattern}' for pattern in of_step)}


def named(keys: Collection[str]) -> str:
    """Formats names for a message, such as `changes`: the first five, and the number of the others."""
    shown = [f'{key} ({keys[key]})' if isinstance(keys, Mapping) and keys[key] else key for key in list(keys)[:5]]
    return ', '.join(shown) + (f' and {len(keys) - len(shown):,} more' if len(keys) > len(shown) else '')


_ABSENT = object()


def _values(run: Sections) -> dict[str, Any]:
    """Returns the value of each dotted key; tuples become lists."""
    sections = {f.name: getattr(run, f.name) for f in fields(Sections)}
    sections |= {name: vars(sections[name]) for name in SETTINGS}
    sections['images'] = sections['images'] | {'views': {name: vars(view) for name, view in run.images.views.items()}}
    return {'.'.join(path): _plain(value) for path, value in leaves(sections)}


def _shown(value: Any) -> str:
    text = 'absent' if value is _ABSENT else repr(value)
    return text if len(text) <= LONG else ''


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
