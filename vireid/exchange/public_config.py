"""The part of a config that may leave this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

FILES = ('.pt', '.pth', '.t', '.safetensors', '.csv', '.parquet', '.json', '.yaml', '.yml', '.npz', '.py', '.txt')


def public_config(config: Mapping[str, Any], own: bool) -> tuple[dict[str, Any], list[str]]:
    """Removes everything that names a person, file, server or machine; returns the config and the removed keys.

    Args:
        config: the config in a checkpoint.
        own: whether the data are private images; no text about them then remains.
    """
    removed: list[str] = []

    def clean(value: Any, key: str) -> Any:
        if isinstance(value, Mapping):
            return {name: clean(item, f'{key}.{name}' if key else str(name)) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item, f'{key}.{number}') for number, item in enumerate(value)]
        if isinstance(value, str) and _is_place(value):
            removed.append(key)
            return None
        return value

    kept = {key: value for key, value in config.items() if key not in ('dataset', 'loggers', 'plugins', 'stages')}
    images = {key: value for key, value in kept['images'].items() if key != 'reader'}  # the folder of a cache
    kept |= {'images': images, 'training': {**kept['training'], 'init': None}}
    dataset = {
        key: value
        for key, value in config['dataset'].items()
        if key == 'type' or isinstance(value, (bool, int, float)) or (not own and key != 'root')
    }
    removed += [
        f'dataset.{key}'
        for key, value in config['dataset'].items()
        if key not in (*dataset, 'root') and value is not None
    ]
    removed += [key for key in ('loggers', 'stages') if config.get(key)]
    removed += ['images.reader'] if config['images'].get('reader') else []
    removed += ['training.init'] if config['training'].get('init') else []
    return {**clean(kept, ''), 'dataset': {**clean(dataset, 'dataset'), 'root': None}, 'plugins': []}, removed


def _is_place(text: str) -> bool:
    """Returns whether a text looks like a path or an address."""
    return (
        text.startswith(('/', '~', './', '../'))
        or PureWindowsPath(text).drive != ''
        or '://' in text
        or text.lower().endswith(FILES)
        or ('/' in text and Path(text).exists())
    )
