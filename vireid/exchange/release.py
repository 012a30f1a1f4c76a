"""Models rebuilt from what `vireid export weights` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from vireid.core.config import files as configs
from vireid.core.config.experiment import Experiment
from vireid.core.errors import VireidError
from vireid.core.registry.plugins import PluginManager, create_manager
from vireid.core.training import checkpoint
from vireid.core.training.restore import restore_model


def load_weights(
    folder: str | Path, plugins: Sequence[str | Path] = (), manager: PluginManager | None = None
) -> nn.Module:
    """Rebuilds a model from a folder that `vireid export weights` wrote; see `load`.

    Raises:
        VireidError: if a file is missing, or the weights are not those that were exported.
    """
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise VireidError('safetensors is not installed', todo="pip install 'vireid[export]'") from error
    path = Path(folder) / 'model.safetensors'
    try:
        with safe_open(path, 'pt') as file:
            about, weights = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors has errors of its own
        raise VireidError(f'{path} cannot be read: {error}', allowed='a folder of `vireid export weights`') from error
    if checkpoint.digest(weights) != about.get('sha256'):
        raise VireidError(f'{path} does not hold the weights that were exported', todo='export or download it again')
    config = configs.load(Path(folder) / 'config.yaml')
    experiment = Experiment.from_config(config, manager or create_manager(plugins))
    content = {'num_identities': int(about['num_identities']), 'model': weights}
    model = restore_model(experiment, content, path)
    model.experiment = experiment  # type: ignore[assignment]
    return model
