"""Loads backbone weights from a file or from torchvision and checks that they fit the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vireid.boundary.weights import (
    COUNTER,
    Weights,
    find_weights,
    fits,
    is_checkpoint,
    read_weights,
    require_finite,
    without_names,
)
from vireid.errors import Mismatch, MissingFile
from vireid.runtime.processes import world

PUBLISHED = ('imagenet', 'pretrained')  # weights from a library, not a file


def published_weights(weights: Any, named: str, allowed: str, key: str = 'model.backbone.weights') -> Any:
    """Returns the state dict of torchvision weights, from torch's cache folder or downloaded into it.

    Args:
        weights: a member of a torchvision weight enumeration.
        named: description for the error, such as `ImageNet weights of ResNet-50`.
        allowed: the alternatives, for the error.
        key: the config key that takes the path of a file instead, for the error.

    Raises:
        VireidError: if they are not cached and cannot be downloaded; it says which file to put where.
    """
    path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(weights.url).name
    if path.exists():
        return read_weights(path, allowed, f'delete it and put a new copy of {weights.url} there')
    try:
        return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # a download may raise anything
        raise MissingFile(
            f'{named} are not in {path.parent} and cannot be downloaded: {error}',
            allowed=allowed,
            todo=f'download {weights.url} on a machine with internet access, then put it into that folder or pass its '
            f'path: --cfg-options {key}={path.name}',
        ) from error


def fitting(content: Any, expected: Mapping[str, Tensor], given: str, network: str, todo: str) -> dict[str, Tensor]:
    """Selects the tensors that a network needs and, for a file, prints where they were found and what is unused.

    Args:
        content: content of the file: a state dict, or dicts that contain one; see `find_weights`. It may contain more
            tensors, such as the classifier. Batch counters (`num_batches_tracked`) may be missing, as in files from
            before torch 0.4.1.
        expected: the network's tensors by name, for their shapes and types.
        given: the path of the file, or one of `PUBLISHED`, for which nothing is printed.
        network: name of the network, for the error.
        todo: what to do next, for the error.

    Raises:
        VireidError: if a tensor is missing, has another shape or kind of numbers, or is not finite; it says how many
            fit.
    """
    weights = find_weights(content, expected)
    held = weights.tensors
    misfits = sorted(
        name
        for name, tensor in expected.items()
        if (name in held or not name.endswith(COUNTER)) and (name not in held or not fits(held[name], tensor))
    )
    if not misfits:
        require_finite(held, given, expected)
        # networks are also built on `meta`, as a dry run before the real build
        if given not in PUBLISHED and torch.get_default_device().type != 'meta' and world()[0] == 0:
            print(weights.text(given, [name for name in held if name not in expected]))
        return {name: held[name] for name in expected if name in held}
    first = misfits[0]
    how = ''
    if first in held:
        show = _sizes if held[first].shape != expected[first].shape else _type
        how = f', it is {show(held[first])} instead of {show(expected[first])}'
    place = f' ({weights.place})' if weights.place else ''
    raise Mismatch(
        f'backbone weights {given!r} do not fit {network}: {weights.fits} of {weights.expected} tensors fit{place}; '
        f'{first} does not{how}{_likeness(weights, content, expected)}',
        todo=todo,
    )


def _likeness(weights: Weights, content: Any, expected: Mapping[str, Tensor]) -> str:
    """Returns what a file that does not fit seems to be."""
    if not weights.tensors:
        return f'; {without_names(content)}'
    if is_checkpoint(content):
        return '; it is a vireid checkpoint of a whole model, use it with --init'
    known = sum(name in weights.tensors for name in expected)
    if 0 < weights.fits == len([name for name in weights.tensors if not name.endswith(COUNTER)]):
        return '; the file contains only a part of the network, such as its first layers'
    if known < len(expected) / 2:
        return f'; they seem to be of another network, with names like {next(iter(weights.tensors))!r}'
    sized = known == len(expected) and any(weights.tensors[name].shape != t.shape for name, t in expected.items())
    return '; they seem to be of the same network in another size' if sized else ''


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype)


def _sizes(tensor: Tensor) -> str:
    return ' x '.join(map(str, tensor.shape)) or 'a scalar'
