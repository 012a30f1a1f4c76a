"""Loads models from checkpoints: finds the latest intact one, restores models, and initializes new runs."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vireid.boundary import checkpoint
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
from vireid.errors import Mismatch, NoMatch, UnsupportedFile, VireidError
from vireid.launch.preflight import on_meta
from vireid.launch.random_weights import SkipRandomWeights

WHOLE = ('num_identities', 'progress', 'config')  # required to rebuild a model, besides its weights
SECTIONS = ('dataset', 'protocol', 'images', 'sampler', 'model', 'step', 'training')


def require_whole(content: Mapping[str, Any], source: str | Path) -> None:
    """Checks that a loaded checkpoint contains everything needed to rebuild its model.

    Raises:
        UnsupportedFile: if something is missing.
    """
    lacking = [key for key in WHOLE if key not in content]
    lacking += [f'config.{section}' for section in SECTIONS if section not in content['config']]
    if 'step' not in content.get('progress', {}):
        lacking.append('progress.step')
    if lacking:
        raise UnsupportedFile(
            f'{source} lacks {", ".join(dict.fromkeys(lacking))}', allowed='checkpoints written by `vireid train`'
        )


def newest(path: Path, tell: Callable[[str], None]) -> Path | None:
    """Returns the latest intact checkpoint: the one at `path`, or an earlier one.

    Damaged ones that are newer are renamed to `.damaged`.

    Args:
        path: path of the latest checkpoint.
        tell: called with a line for each damaged one.

    Returns:
        The path of the checkpoint; None if there are no checkpoints.

    Raises:
        VireidError: if all checkpoints are damaged.
    """
    damaged: VireidError | None = None
    aside: list[Path] = []
    for file in checkpoint.kept(path):
        try:
            checkpoint.load(file)
        except VireidError as error:
            damaged = error
            aside.append(file)
            tell(f'{error.given}; trying an earlier one')
            continue
        for bad in aside:  # otherwise the next save would keep it instead of the intact one
            with suppress(OSError):
                bad.replace(bad.with_suffix('.damaged'))
        if damaged is not None:
            tell(f'resuming from {file}')
        return file
    if damaged is not None:
        raise damaged
    return None


def restore_model(experiment: Any, content: Mapping[str, Any], source: str | Path) -> torch.nn.Module:
    """Builds the experiment's model with the weights of a loaded checkpoint, in eval mode.

    Args:
        experiment: the experiment.
        content: the checkpoint.
        source: its name in messages.

    Raises:
        VireidError: if the weights do not fit the model.
    """
    if 'num_identities' not in content:
        raise UnsupportedFile(f'{source} does not contain its number of identities', allowed='checkpoints of a run')
    build = functools.partial(experiment.build_model, int(content['num_identities']), pretrained=False)
    _require_shapes(build, content['model'], source)
    with SkipRandomWeights():
        model = build()
    checkpoint.load_weights(model, content['model'], source)
    require_finite(content['model'], source, content['model'])
    return model.eval()


def _require_shapes(build: Callable[[], torch.nn.Module], weights: Mapping[str, Any], source: str | Path) -> None:
    """Raises if weights do not fit a model, before memory is allocated: a file may declare any size."""
    try:
        model = on_meta(build, retry=False)
    except VireidError:
        raise
    except Exception:  # a constructor may compute with values, which `meta` does not support
        return
    state = model.state_dict()
    if any(name not in weights or weights[name].shape != tensor.shape for name, tensor in state.items()):
        checkpoint.load_weights(model, weights, source)  # raises an error that lists the differences


def initialize_from(
    model: torch.nn.Module,
    source: str,
    partial: bool,
    show: bool = True,
    identities: int = 0,
    fresh: Sequence[str] = (),
) -> tuple[dict[str, Any], np.ndarray]:
    """Initializes a model from a checkpoint, or from any file that contains the state dict of such a model.

    Args:
        model: the model to initialize.
        source: the checkpoint, or another file of weights: see `vireid.boundary.weights.find_weights`.
        partial: load only matching weights and report coverage.
        show: print what was loaded.
        identities: number of training identities; tensors that differ only in this number, such as a classifier, are
            skipped.
        fresh: name patterns of tensors to leave as they are in the model.

    Returns:
        A description of the weights, for run.json, and the hashes of the images they were trained on, which are empty
        unless the file is a checkpoint of vireid.

    Raises:
        VireidError: if the file cannot be read or the weights do not fit.
    """
    weights, seen, origin = _read(model, source)
    state = model.state_dict()
    weights = started_afresh(weights, state, fresh)
    try:
        require_finite(weights, source, state)
    except VireidError as error:
        raise error.at('training.init') from error
    about = {'file': str(Path(source).absolute()), 'weights': checkpoint.digest(weights), 'partial': partial}
    left_out = [name for name, tensor in weights.items() if name not in state or not fits(tensor, state[name])]
    lines = [origin.text(source, left_out)] if origin else []
    if partial:
        for part, (loaded, total) in load_partly(model, weights, source).items():
            share = f'{loaded:>12,} of {total:>12,} values ({100 * loaded / total:.0f}%)'
            lines.append(f'from {source}: {part:<16} {share}')
    else:
        sized = {n: weights[n] for n in left_out if n in state and weights[n].shape != state[n].shape}
        others = _of_other_identities(state, sized, identities)
        kept = [n for n in state if n in others or (origin and n.endswith(COUNTER) and n not in weights)]
        try:
            checkpoint.load_weights(model, {**weights, **{name: state[name] for name in kept}}, source)
        except VireidError as error:
            todo = f'{error.todo}; or load only matching weights: --partial, or training.init_partial=True'
            raise error.at('training.init', todo) from error
        if others:
            lines.append(f'from {source}: skipped, since this run has {identities:,} identities: {", ".join(others)}')
    for line in lines if show else ():
        print(line)
    return about, seen


def seen_by_weights(config: Any) -> dict[str, np.ndarray]:
    """Returns the hashes of the images that weights named in a config were trained on.

    Args:
        config: the `model` section, in which any `weights` may be the path of a checkpoint of vireid.

    Returns:
        (N,) int64 hashes by path; files of other programs do not state their images.
    """
    seen: dict[str, np.ndarray] = {}
    for key, value in config.items() if isinstance(config, Mapping) else ():
        if isinstance(value, Mapping):
            seen |= seen_by_weights(value)
        elif key == 'weights' and isinstance(value, str) and Path(value).is_file():
            content = read_weights(value)
            if is_checkpoint(content) and isinstance(content.get('trained_on'), torch.Tensor):
                seen[value] = content['trained_on'].numpy()
    return seen


def started_afresh(
    weights: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], patterns: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Returns the weights, with the tensors of the model itself in place of those that match a pattern.

    Args:
        weights: the weights to load.
        own: the state dict of the model.
        patterns: name patterns of tensors.

    Raises:
        NoMatch: if a pattern matches no tensor of either.
    """
    for position, pattern in enumerate(patterns):
        if not fnmatch.filter([*weights, *own], pattern):
            tops = ', '.join(f"'{top}.*'" for top in sorted({name.split('.')[0] for name in own}))
            raise NoMatch(
                f'training.init_except.{position}: the pattern {pattern!r} matches no tensor',
                allowed=f'patterns such as {tops}',
                path=f'training.init_except.{position}',
            )

    def is_fresh(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    kept = {name: tensor for name, tensor in weights.items() if not is_fresh(name)}
    return {**kept, **{name: tensor for name, tensor in own.items() if is_fresh(name)}}


def load_partly(module: torch.nn.Module, weights: Mapping[str, Any], source: str | Path) -> dict[str, tuple[int, int]]:
    """Loads the weights whose name, shape and kind of numbers match.

    Args:
        module: the module.
        weights: the state dict.
        source: its name in messages.

    Returns:
        For each part of the module, such as `backbone`, the number of values loaded and the total.

    Raises:
        Mismatch: if nothing matches.
    """
    state = module.state_dict()
    fitting = {k: v for k, v in weights.items() if k in state and fits(v, state[k])}
    if not fitting:
        first = next((k for k, v in weights.items() if k in state and v.shape == state[k].shape), '')
        kinds = f': {first} is {weights[first].dtype}, the model expects {state[first].dtype}' if first else ''
        raise Mismatch(f'nothing in {source} fits the model{kinds}', todo='list its contents: vireid checkpoint show')
    module.load_state_dict({**state, **fitting})
    shares: dict[str, tuple[int, int]] = {}
    for name, tensor in state.items():
        part = '.'.join(name.split('.')[: 2 if name.startswith(('necks', 'tasks')) else 1])
        loaded, total = shares.get(part, (0, 0))
        shares[part] = loaded + (tensor.numel() if name in fitting else 0), total + tensor.numel()
    return shares


def _read(model: torch.nn.Module, source: str) -> tuple[dict[str, Any], np.ndarray, Weights | None]:
    """Returns the weights in a file, the hashes of their training images, and where in the file the weights are.

    The last is None for a checkpoint of vireid.
    """
    allowed = 'a checkpoint of a run, or a file with the state dict of such a model'
    content = read_weights(source, allowed)
    if is_checkpoint(content):
        content = checkpoint.load(source)  # also validates it
        return content['model'], content.get('trained_on', torch.zeros(0, dtype=torch.int64)).numpy(), None
    state = model.state_dict()
    weights = find_weights(content, state)
    if not weights.tensors.keys() & state.keys():
        some = ', '.join(list(weights.tensors)[:3])
        raise Mismatch(
            f'training.init: nothing in {source} fits the model; '
            + (f'it contains {some}' if some else without_names(content)),
            allowed=allowed,
            todo=f'if these are backbone weights: --cfg-options model.backbone.weights={source}'
            if some
            else "save a dict of tensors by name: torch.save(model.state_dict(), 'weights.pth')",
            path='training.init',
        )
    return weights.tensors, np.zeros(0, dtype=np.int64), weights


def _of_other_identities(
    own: Mapping[str, torch.Tensor], misfits: Mapping[str, torch.Tensor], identities: int
) -> list[str]:
    """Returns the tensors of another shape if they differ only in the number of identities."""
    differences = {
        (ours, theirs)
        for name, tensor in misfits.items()
        for ours, theirs in zip_longest(own[name].shape, tensor.shape)
        if ours != theirs
    }
    return list(misfits) if len(differences) == 1 and next(iter(differences))[0] == identities else []
