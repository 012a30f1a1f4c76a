"""Weights of a network: from a file or published by torchvision, and compared with what a network needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vireid.boundary.weights import COUNTER, Weights, find_weights, is_checkpoint, read_weights
from vireid.core.distributed.processes import world
from vireid.core.errors import VireidError

PUBLISHED = ('imagenet', 'pretrained')  # no files: what a library publishes


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


def fitting(content: Any, wanted: Mapping[str, Tensor], given: str, network: str, todo: str) -> dict[str, Tensor]:
    """Returns those tensors of a file that a network wants; prints a line that says where they were and what is left.

    Args:
        content: of the file: a state dict, or dicts that hold some; see `find_weights`. It may hold more, such as the
            classifier. Counters of batches (`num_batches_tracked`) may be missing, as they are in files older than
            torch 0.4.1.
        wanted: tensors by name, of the shapes that fit.
        given: which weights these are: the path of a file, or one of `PUBLISHED`, of which nothing is printed.
        network: what they are for, for the error.
        todo: what to do, for the error.

    Raises:
        VireidError: if one is missing or of another shape; it tells how many fit.
    """
    found = find_weights(content, {name: tuple(tensor.shape) for name, tensor in wanted.items()})
    held = found.tensors
    lacking = sorted(
        name
        for name, tensor in wanted.items()
        if (name in held or not name.endswith(COUNTER)) and (name not in held or held[name].shape != tensor.shape)
    )
    if not lacking:
        # on `meta` networks are built for nothing, before they are built to be used
        if given not in PUBLISHED and torch.get_default_device().type != 'meta' and world()[0] == 0:
            print(found.text(given, [name for name in held if name not in wanted]))
        return {name: held[name] for name in wanted if name in held}
    first = lacking[0]
    how = f', it is {_sizes(held[first])} and not {_sizes(wanted[first])}' if first in held else ''
    place = f' ({found.place})' if found.place else ''
    raise VireidError(
        f'backbone weights {given!r} do not fit {network}: {found.fits} of {found.wanted} tensors fit{place}; '
        f'{first} does not{how}{_likeness(found, content, wanted)}',
        todo=todo,
    )


def _likeness(found: Weights, content: Any, wanted: Mapping[str, Tensor]) -> str:
    """Says what a file that does not fit seems to be."""
    if not found.tensors:
        return '; it holds no tensors'
    if is_checkpoint(content):
        return '; it is a checkpoint of vireid, of a whole model: begin with it by --init'
    known = sum(name in found.tensors for name in wanted)
    if known < len(wanted) / 2:
        return f'; they look like those of another network, with names like {next(iter(found.tensors))!r}'
    return '; they look like those of a network of this kind and another size' if known == len(wanted) else ''


def _sizes(tensor: Tensor) -> str:
    return ' x '.join(map(str, tensor.shape)) or 'one number'
