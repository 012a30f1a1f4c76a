"""Trained models, rebuilt from what a run or an export left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vireid.core.config.experiment import Experiment
from vireid.core.errors import VireidError
from vireid.core.registry.plugins import PluginManager, create_manager
from vireid.core.training import checkpoint


def load(path: str | Path, plugins: Sequence[str | Path] = (), manager: PluginManager | None = None) -> nn.Module:
    """Rebuilds a trained model from its checkpoint alone; no dataset is needed.

    Args:
        path: a checkpoint of a run.
        plugins: Python files with components of the model. Those named in the checkpoint are not run unless they are
            given here: a checkpoint executes nothing.
        manager: the plugins instead of the installed ones and these files.

    Returns:
        The model in evaluation mode, on the CPU: `model.embed(images, 'infrared')` gives (B, D) embeddings of
        (B, 3, H, W) float32 images; `model.experiment.build_transform('test')` prepares an image for it.

    Raises:
        VireidError: if the checkpoint is damaged, or its weights do not fit the config stored with them.
    """
    content = checkpoint.load(path)
    try:
        experiment = Experiment.from_config(content['config'], manager or create_manager(plugins))
        model = restore_model(experiment, content, path)
    except VireidError as error:
        named = content['config'].get('plugins', [])
        if manager is not None or not set(named) - {str(Path(file).resolve()) for file in plugins}:
            raise
        raise VireidError(
            f'{error.given}\n{path} was trained with the plugin files {", ".join(named)}',
            todo=f'if you trust them: vireid.load(..., plugins={named!r})',
        ) from error
    model.experiment = experiment  # type: ignore[assignment]
    return model


def restore_model(experiment: Experiment, content: Mapping[str, Any], source: str | Path) -> nn.Module:
    """Builds the experiment's model and fills it from a loaded checkpoint; in evaluation mode."""
    model = experiment.build_model(int(content['num_identities']), pretrained=False)
    checkpoint.load_weights(model, content['model'], source)
    return model.eval()


def initialize_from(model: nn.Module, source: str, partial: bool, show: bool = True) -> dict[str, Any]:
    """Initialises a model with the weights of another run; returns which these are, for run.json.

    Args:
        model: what is initialised.
        source: the checkpoint.
        partial: take what fits.
        show: say how much that is.
    """
    weights = checkpoint.load(source)['model']
    about = {'file': str(Path(source).absolute()), 'weights': checkpoint.digest(weights), 'partial': partial}
    if not partial:
        checkpoint.load_weights(model, weights, source)
        return about
    for part, (loaded, total) in checkpoint.load_partly(model, weights, source).items():
        if show:
            print(f'from {source}: {part:<16} {loaded:>12,} of {total:>12,} values ({100 * loaded / total:.0f} %)')
    return about
