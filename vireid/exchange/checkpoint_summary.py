"""What a checkpoint holds, as text: its run, its step, and the size of each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vireid.boundary import checkpoint
from vireid.console.wording import counted


def summarize(path: Path, content: Mapping[str, Any], tensors: bool = False) -> list[str]:
    """Describes a checkpoint.

    Args:
        path: its file.
        content: what `checkpoint.load` read from it.
        tensors: also list every tensor with its shape and dtype.

    Returns:
        The lines of the text.
    """
    lines = [f'{path}  ({path.stat().st_size / 1e6:.1f} MB, complete, format {content.get("format", "?")})']
    lines += [f'{name:<12} {value}' for name, value in _about(content).items()]
    lines += ['', 'weights']
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name, tensor in content['model'].items():
        group = '.'.join(name.split('.')[: 2 if name.startswith(('necks', 'tasks')) else 1])
        groups.setdefault(group, []).append((name, tensor))
    for group, members in groups.items():
        count = sum(tensor.numel() for _, tensor in members)
        lines.append(f'  {group:<24} {count:>12,} values in {counted(len(members), "tensor")}')
        for name, tensor in members if tensors else ():
            lines.append(f'    {name}  {tuple(tensor.shape)} {str(tensor.dtype).removeprefix("torch.")}')
    state = sum(t.numel() * t.element_size() for t in _tensors(content.get('step', {})))
    return [*lines, f'optimizer and schedules: {state / 1e6:.1f} MB']


def _about(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the rows of the summary by their label."""
    progress, config = content.get('progress', {}), content['config']
    step, steps = progress.get('step', 0), progress.get('steps_per_epoch')
    dataset = content.get('data') or str(config.get('dataset', {}).get('type', '?'))
    best = content.get('best')
    rows = {
        'experiment': config.get('name', '?'),
        'dataset': ' '.join(filter(None, [dataset, content.get('split', '')])),
        'after step': f'{step:,}' + (f' (epoch {step / steps:.2f})' if steps else ''),
        'identities': content.get('num_identities', '?'),
        'best so far': f'step {best["step"]:,}, {100 * best["value"]:.2f}%' if best else '-',
        'written by': ', '.join(f'{name} {version}' for name, version in content.get('versions', {}).items()),
        'sha-256': checkpoint.digest(content['model']),
    }
    if content.get('adapted'):
        rows['weights'] = content.get('chosen', '')
        rows['adapted to'] = content['adapted'].get('folder', '?')
    return rows


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
