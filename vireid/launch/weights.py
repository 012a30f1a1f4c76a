"""From checkpoints to models: the newest sound one, and models filled with all of its weights, or those that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vireid.core.errors import VireidError
from vireid.core.training import checkpoint

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
    model = experiment.build_model(int(content['num_identities']), pretrained=False)
    checkpoint.load_weights(model, content['model'], source)
    return model.eval()


def initialize_from(
    model: torch.nn.Module, source: str, partial: bool, show: bool = True
) -> tuple[dict[str, Any], np.ndarray]:
    """Initialises a model with the weights of another run.

    Returns:
        Which weights these are, for run.json, and the numbers of the images that they were trained on.

    Args:
        model: what is initialised.
        source: the checkpoint.
        partial: take what fits.
        show: say how much that is.
    """
    content = checkpoint.load(source)
    weights, seen = content['model'], content.get('trained_on', torch.zeros(0, dtype=torch.int64)).numpy()
    about = {'file': str(Path(source).absolute()), 'weights': checkpoint.digest(weights), 'partial': partial}
    if not partial:
        try:
            checkpoint.load_weights(model, weights, source)
        except VireidError as error:
            todo = f'{error.todo}; or take what fits: --partial, or training.init_partial=True in the config'
            raise VireidError(f'training.init: {error.given}', todo=todo) from error
        return about, seen
    for part, (loaded, total) in load_partly(model, weights, source).items():
        if show:
            print(f'from {source}: {part:<16} {loaded:>12,} of {total:>12,} values ({100 * loaded / total:.0f} %)')
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
