"""Show the contents of a checkpoint, without executing anything in it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the commands of `vireid checkpoint`."""
    commands = parser.add_subparsers(dest='checkpoint_command', required=True, metavar='COMMAND')
    show = commands.add_parser('show', help='show the run, the step and the size of each part')
    show.add_argument('file', type=Path, help='a checkpoint (.pt)')
    show.add_argument('--tensors', action='store_true', help='list every tensor with its shape')
    show.add_argument('--config', action='store_true', help='print the stored config')


def run(args: argparse.Namespace) -> int:
    """Prints it."""
    from vireid.core.config.files import dump
    from vireid.core.training import checkpoint

    content = checkpoint.load(args.file)
    if args.config:
        print(dump(content['config']), end='')
        return 0
    at, config = content.get('progress', {}), content['config']
    print(f'{args.file}  ({args.file.stat().st_size / 1e6:.1f} MB, whole, format {content.get("format", "?")})')
    steps = at.get('steps_per_epoch')
    step = at.get('step', 0)
    epoch = f' (epoch {step / steps:.2f})' if steps else ''
    rows = {
        'experiment': config.get('name', '?'),
        'dataset': ' '.join(
            filter(
                None, [content.get('data') or str(config.get('dataset', {}).get('type', '?')), content.get('split', '')]
            )
        ),
        'after step': f'{step:,}{epoch}',
        'identities': content.get('num_identities', '?'),
        'best so far': _best(content.get('best')),
        'written by': ', '.join(f'{name} {version}' for name, version in content.get('versions', {}).items()),
        'sha-256': checkpoint.digest(content['model']),
    }
    if content.get('adapted'):
        rows['weights'] = content.get('chosen', '')
        rows['adapted to'] = content['adapted'].get('folder', '?')
    for name, value in rows.items():
        print(f'{name:<12} {value}')
    print('\nweights')
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name, tensor in content['model'].items():
        groups.setdefault('.'.join(name.split('.')[: 2 if name.startswith(('necks', 'tasks')) else 1]), []).append(
            (name, tensor)
        )
    for group, found in groups.items():
        count = sum(tensor.numel() for _, tensor in found)
        print(f'  {group:<24} {count:>12,} values in {len(found)} tensors')
        for name, tensor in found if args.tensors else ():
            print(f'    {name}  {tuple(tensor.shape)} {str(tensor.dtype).removeprefix("torch.")}')
    state = sum(t.numel() * t.element_size() for t in _tensors(content.get('step', {})))
    print(f'optimizer and schedules: {state / 1e6:.1f} MB')
    return 0


def _best(best: Mapping[str, Any] | None) -> str:
    return f'step {best["step"]:,}, {100 * best["value"]:.2f} %' if best else '-'


def _tensors(value: Any) -> Iterator[Any]:
    if hasattr(value, 'element_size'):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
