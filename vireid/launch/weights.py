"""From checkpoints to models: the newest sound one, and models filled with all of its weights, or those that fit."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vireid.boundary.weights import COUNTER, Weights, find_weights, is_checkpoint, read_weights
from vireid.core.errors import VireidError
from vireid.core.training import checkpoint
from vireid.launch.preflight import on_meta

WHOLE = ('num_identities', 'progress', 'config')  # what a model is built from, beside its weights
SECTIONS = ('dataset', 'protocol', 'images', 'sampler', 'model', 'step', 'training')


def require_whole(content: Mapping[str, Any], source: str | Path) -> None:
    """Raises if a loaded checkpoint lacks what a model is built from."""
    lacking = [key for key in WHOLE if key not in content]
    lacking += [f'config.{section}' for section in SECTIONS if section not in content['config']]
    if 'step' not in content.get('progress', {}):
        lacking.append('progress.step')
    if lacking:
        raise VireidError(
            f'{source} lacks {", ".join(dict.fromkeys(lacking))}', allowed='files that `vireid train` wrote'
        )


def newest(path: Path, tell: Callable[[str], None]) -> Path | None:
    """Returns the newest checkpoint that is complete: the one at `path`, or the first sound one that was kept.

    Damaged ones before it are renamed to `.damaged`.

    Args:
        path: where the newest one is written.
        tell: is called with a line for each that is damaged.

    Returns:
        Its path; None if there is none at all.

    Raises:
        VireidError: if there are some and all are damaged.
    """
    damaged: VireidError | None = None
    aside: list[Path] = []
    for found in checkpoint.kept(path):
        try:
            checkpoint.load(found)
        except VireidError as error:
            damaged = error
            aside.append(found)
            tell(f'{error.given}; looking for an earlier one')
            continue
        for bad in aside:  # or the next save would keep it in place of the sound one
            with suppress(OSError):
                bad.replace(bad.with_suffix('.damaged'))
        if damaged is not None:
            tell(f'going on from {found}')
        return found
    if damaged is not None:
        raise damaged
    return None


def restore_model(experiment: Any, content: Mapping[str, Any], source: str | Path) -> torch.nn.Module:
    """Builds the experiment's model and fills it from a loaded checkpoint; in evaluation mode."""
    if 'num_identities' not in content:
        raise VireidError(f'{source} does not say of how many identities it is', allowed='checkpoints of a run')
    build = functools.partial(experiment.build_model, int(content['num_identities']), pretrained=False)
    _require_shapes(build, content['model'], source)
    model = build()
    checkpoint.load_weights(model, content['model'], source)
    return model.eval()


def _require_shapes(build: Callable[[], torch.nn.Module], weights: Mapping[str, Any], source: str | Path) -> None:
    """Raises if weights do not fit a model, before it takes memory: a file may say that it is of any size."""
    try:
        model = on_meta(build, again=False)
    except VireidError:
        raise
    except Exception:  # a constructor may compute with values
        return
    own = model.state_dict()
    if any(name not in weights or weights[name].shape != tensor.shape for name, tensor in own.items()):
        checkpoint.load_weights(model, weights, source)  # raises, and says all that does not fit


def initialize_from(
    model: torch.nn.Module, source: str, partial: bool, show: bool = True, identities: int = 0
) -> tuple[dict[str, Any], np.ndarray]:
    """Initialises a model with the weights of another run, or of any file that holds the state dict of such a model.

    Returns:
        Which weights these are, for run.json, and the numbers of the images that they were trained on: none of a file
        that no run wrote.

    Args:
        model: what is initialised.
        source: the checkpoint, or another file of weights: see `vireid.boundary.weights.find_weights`.
        partial: take what fits.
        show: say what was taken.
        identities: how many the model knows. What differs in their number alone, such as a classifier, is left out.
    """
    weights, seen, found = _read(model, source)
    own = model.state_dict()
    about = {'file': str(Path(source).absolute()), 'weights': checkpoint.digest(weights), 'partial': partial}
    left_out = [name for name, tensor in weights.items() if name not in own or own[name].shape != tensor.shape]
    lines = [found.text(source, left_out)] if found else []
    if partial:
        for part, (loaded, total) in load_partly(model, weights, source).items():
            share = f'{loaded:>12,} of {total:>12,} values ({100 * loaded / total:.0f} %)'
            lines.append(f'from {source}: {part:<16} {share}')
    else:
        others = _of_other_identities(own, {n: weights[n] for n in left_out if n in own}, identities)
        kept = [n for n in own if n in others or (found and n.endswith(COUNTER) and n not in weights)]
        try:
            checkpoint.load_weights(model, {**weights, **{name: own[name] for name in kept}}, source)
        except VireidError as error:
            todo = f'{error.todo}; or take what fits: --partial, or training.init_partial=True in the config'
            raise error.at('training.init', todo) from error
        if others:
            lines.append(f'from {source}: left out, as this run has {identities:,} identities: {", ".join(others)}')
    for line in lines if show else ():
        print(line)
    return about, seen


def load_partly(module: torch.nn.Module, weights: Mapping[str, Any], source: str | Path) -> dict[str, tuple[int, int]]:
    """Loads the weights that fit, by name and shape.

    Returns:
        For each part of the module, such as `backbone`, how many of its values were loaded, and how many it has.

    Raises:
        VireidError: if nothing fits.
    """
    own = module.state_dict()
    fits = {k: v for k, v in weights.items() if k in own and v.shape == own[k].shape}
    if not fits:
        raise VireidError(f'nothing in {source} fits the model', todo='see what it holds: vireid checkpoint show')
    module.load_state_dict({**own, **fits})
    shares: dict[str, tuple[int, int]] = {}
    for name, tensor in own.items():
        part = '.'.join(name.split('.')[: 2 if name.startswith(('necks', 'tasks')) else 1])
        loaded, total = shares.get(part, (0, 0))
        shares[part] = loaded + (tensor.numel() if name in fits else 0), total + tensor.numel()
    return shares


def _read(model: torch.nn.Module, source: str) -> tuple[dict[str, Any], np.ndarray, Weights | None]:
    """Returns the weights in a file, numbers of the images that they were trained on, and where they were found.

    The last is None for a checkpoint of vireid.
    """
    allowed = 'a checkpoint of a run, or a file with the state dict of such a model'
    content = read_weights(source, allowed)
    if is_checkpoint(content):
        content = checkpoint.load(source)  # it says more of itself, and is held to it
        return content['model'], content.get('trained_on', torch.zeros(0, dtype=torch.int64)).numpy(), None
    own = model.state_dict()
    found = find_weights(content, {name: tuple(tensor.shape) for name, tensor in own.items()})
    if not found.tensors.keys() & own.keys():
        some = ', '.join(list(found.tensors)[:3])
        raise VireidError(
            f'training.init: nothing in {source} fits the model; it holds {some or "no tensors"}',
            allowed=allowed,
            todo=f'if these are weights of the backbone alone: --cfg-options model.backbone.weights={source}',
            path='training.init',
        )
    return found.tensors, np.zeros(0, dtype=np.int64), found


def _of_other_identities(
    own: Mapping[str, torch.Tensor], misfits: Mapping[str, torch.Tensor], identities: int
) -> list[str]:
    """Returns the tensors of another shape if all differ in one number alone, and ours is that of the identities."""
    found = {
        (ours, theirs)
        for name, tensor in misfits.items()
        for ours, theirs in zip_longest(own[name].shape, tensor.shape)
        if ours != theirs
    }
    return list(misfits) if len(found) == 1 and next(iter(found))[0] == identities else []
