"""Weights of a network: read from a file or published by torchvision, and compared with what a network needs."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vireid.boundary.reading import open_regular, reads
from vireid.boundary.tensors import load_tensors
from vireid.core.errors import VireidError

WRAPPERS = ('state_dict', 'model')


@reads('a file of weights', '*.pth', '*.safetensors')
def read_weights(path: Path, allowed: str = 'a state dict', todo: str = 'give the path of another file') -> Any:
    """Reads the state dict of a `.safetensors` file, or of one of torch.save, to the CPU; nothing else is unpickled.

    Args:
        path: the file. One that holds {'state_dict': ...} or {'model': ...} around the state dict works too.
        allowed: what may be given instead, for the error.
        todo: what to do about a file that cannot be read, for the error.

    Returns:
        What it holds: tensors by name, if it is a state dict.

    Raises:
        VireidError: if it cannot be read; it says whether it is missing, empty, a web page or cut short.
    """
    try:
        state = _safetensors(path) if path.suffix == '.safetensors' else _saved(path)
    except VireidError:
        raise
    except Exception as error:  # a damaged file may fail in any way
        raise VireidError(
            f'backbone weights {str(path)!r} cannot be read: {_what_is_wrong(path, error)}', allowed=allowed, todo=todo
        ) from error
    for name in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            return state[name]
    return state


def published_weights(weights: Any, named: str, allowed: str) -> Any:
    """Returns weights that torchvision publishes: from the folder where torch keeps them, or downloaded into it.

    Args:
        weights: a member of one of torchvision's weight enumerations.
        named: what they are, for the error, such as `ImageNet weights of ResNet-50`.
        allowed: what may be given instead, for the error.

    Raises:
        VireidError: if they are not there and cannot be downloaded; it says which file to put where.
    """
    path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(weights.url).name
    if path.exists():
        return read_weights(path, allowed, f'delete it and put another copy there, of {weights.url}')
    try:
        return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # the network may fail in any way
        raise VireidError(
            f'{named} are not in {path.parent} and cannot be downloaded: {error}',
            allowed=allowed,
            todo=f'on a machine with internet get {weights.url}, then put it into that folder, or name its path: '
            f'--cfg-options model.backbone.weights={path.name}',
        ) from error


def fitting(state: Any, wanted: Mapping[str, Tensor], given: str, network: str, todo: str) -> dict[str, Tensor]:
    """Returns those tensors of a state dict that a network wants.

    Args:
        state: what a file holds. It may hold more, such as the classifier. Counters of batches
            (`num_batches_tracked`) may be missing, as they are in files older than torch 0.4.1.
        wanted: tensors by name, of the shapes that fit.
        given: which weights these are, for the error.
        network: what they are for, for the error.
        todo: what to do, for the error.

    Raises:
        VireidError: if one is missing or of another shape; it tells how many fit.
    """
    held = state if isinstance(state, Mapping) else {}
    found = {name: held[name] for name in wanted if isinstance(held.get(name), Tensor)}
    lacking = sorted(
        name
        for name, tensor in wanted.items()
        if (name in found or not name.endswith('num_batches_tracked'))
        and (name not in found or found[name].shape != tensor.shape)
    )
    if not lacking:
        return found
    first = lacking[0]
    how = f', it is {_sizes(found[first])} and not {_sizes(wanted[first])}' if first in found else ''
    raise VireidError(
        f'backbone weights {given!r} do not fit {network}: {len(wanted) - len(lacking)} of {len(wanted)} tensors fit; '
        f'{first} does not{how}{_likeness(held, wanted, len(found))}',
        todo=todo,
    )


def _likeness(held: Mapping[Any, Any], wanted: Mapping[str, Tensor], known: int) -> str:
    """Says what a file that does not fit seems to be."""
    named = [name for name, value in held.items() if isinstance(value, Tensor)]
    if not named:
        return '; it holds no tensors'
    if known < len(wanted) / 2:
        return f'; they look like those of another network, with names like {named[0]!r}'
    return '; they look like those of a network of this kind and another size' if known == len(wanted) else ''


def _sizes(tensor: Tensor) -> str:
    return ' x '.join(map(str, tensor.shape)) or 'one number'


def _saved(path: Path) -> Any:
    return load_tensors(path)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise VireidError(
            f'backbone weights {str(path)!r} cannot be read: safetensors is not installed',
            todo="pip install 'vireid[timm]', or give a file of torch.save",
        ) from error
    with open_regular(path):  # the library's own word for a missing file names no reason
        pass
    return load_file(path)


def _what_is_wrong(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    with open_regular(path) as file:
        head = file.read(256).lstrip().lower()
    if not head:
        return 'it is empty'
    if head.startswith((b'<!doctype', b'<html', b'<?xml')):
        return 'it is a web page'
    if (head.startswith(b'pk') and not zipfile.is_zipfile(path)) or 'not fully covered' in str(error):
        return 'its end is missing, as of a download that broke off'
    # for a foreign file torch advises to load it unsafely; we do not
    foreign = isinstance(error, pickle.UnpicklingError) or not str(error) or path.suffix == '.safetensors'
    return 'it holds no tensors' if foreign else str(error).splitlines()[0]
