"""Loading of models from a checkpoint or from a folder of `vireid export weights`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from vireid.boundary import checkpoint, config_text
from vireid.boundary.checkpoint_schema import CALIBRATION
from vireid.boundary.paths import inside
from vireid.boundary.reading import reads
from vireid.boundary.weights import require_modest_header
from vireid.core.config.overrides import Overrides
from vireid.errors import (
    Changed,
    DamagedFile,
    MissingPackage,
    UnknownComponent,
    UnsafeFile,
    UnsupportedFile,
    VireidError,
)
from vireid.exchange.evaluation import is_fitted
from vireid.interfaces import Model
from vireid.launch.resolve import Record, resolve
from vireid.launch.weights import restore_model
from vireid.plugin_manager.manager import PluginManager, create_manager
from vireid.statistics.calibration import Calibration


def load(
    path: str | Path,
    plugins: Sequence[str | Path] = (),
    manager: PluginManager | None = None,
    options: Sequence[str] = (),
) -> nn.Module:
    """Loads a trained model from its checkpoint, without the dataset.

    Args:
        path: a checkpoint of a run.
        plugins: Python files with components of the model. Files that the checkpoint names are not executed unless they
            are listed here.
        manager: the plugins to use instead of the installed ones.
        options: overrides of the stored config, such as `images.scale_raw=percentiles`.

    Returns:
        The model in evaluation mode, on the CPU: `model.embed(images, 'infrared')` gives (B, D) embeddings of
        (B, 3, H, W) float32 images; `model.experiment.build_transform('test')` prepares an image for it;
        `model.calibration` says what similarities mean, None if it was not calibrated.

    Raises:
        VireidError: if the checkpoint is damaged, or its weights do not fit the config stored with them.
    """
    content = checkpoint.load(path)
    try:
        overrides = Overrides(plugins=plugins, options=options)
        experiment = resolve(Record(content['config']), overrides, manager=manager or create_manager())
        model = restore_model(experiment, content, path)
    except VireidError as error:
        named = content['config'].get('plugins', [])
        absent = set(named) - {str(Path(file).resolve()) for file in plugins}
        if manager is not None or not absent or not _lacks_component(error):
            raise
        raise UnsafeFile(
            f'{path} has components of the plugin files {", ".join(named)}, which run only if you list them',
            todo=_trusting(named),
        ) from error
    if Model.fit(model) and not is_fitted(content):
        print(
            f'warning: {path} was saved before its model was fitted to the training images (means, whitening); use '
            'checkpoints/best.pt, or last.pt of a finished run',
            file=sys.stderr,
        )
    model.experiment = experiment  # type: ignore[assignment]
    known = None if content.get('adapted') else content.get('calibration')  # of the statistics before adapting
    model.calibration = None if known is None else Calibration.of(known)  # type: ignore[assignment]
    return model


@reads('the weights of a release', 'model.safetensors', allowed='a folder of `vireid export weights`')
def read_release(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Reads `model.safetensors` of a release: its metadata, and its tensors by name.

    Raises:
        VireidError: if the file is missing or damaged, was not written by `vireid export weights`, or the package
            safetensors is not installed.
    """
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise MissingPackage('safetensors is not installed', todo='pip install "vireid[export]"') from error
    require_modest_header(path)
    with safe_open(path, 'pt') as file:
        about, weights = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if not about.get('num_identities', '').isdecimal() or len(about['num_identities']) > 9:
        raise DamagedFile(f'{path} does not state its number of identities', todo='export or download it again')
    if 'calibration' in about:
        CALIBRATION.validate_json(about['calibration'])
    return about, weights


def load_weights(
    folder: str | Path,
    plugins: Sequence[str | Path] = (),
    manager: PluginManager | None = None,
    options: Sequence[str] = (),
) -> nn.Module:
    """Loads a model from a folder of `vireid export weights`.

    Args:
        folder: the folder.
        plugins: see `load`.
        manager: see `load`.
        options: see `load`.

    Returns:
        The model; see `load`.

    Raises:
        VireidError: if a file is missing, or the weights differ from those that were exported.
    """
    path = inside(Path(folder), 'model.safetensors')
    if not path.exists() and (last := checkpoint.last_of(Path(folder))):
        raise UnsupportedFile(
            f'{folder} is the folder of a run', allowed='a folder of `vireid export weights`, or a checkpoint',
            todo=f'give its checkpoint: {last}',
        )  # fmt: skip
    about, weights = read_release(path)
    if checkpoint.digest(weights) != about.get('sha256'):
        raise Changed(f'the weights in {path} differ from those that were exported', todo='export or download it again')
    config = config_text.read_record(inside(Path(folder), 'config.yaml'))
    try:
        overrides = Overrides(plugins=plugins, options=options)
        experiment = resolve(Record(config), overrides, manager=manager or create_manager())
    except VireidError as error:
        files = sorted(str(file) for file in Path(folder).glob('*.py'))
        if plugins or manager is not None or not files or not _lacks_component(error):
            raise
        raise UnsafeFile(
            f'{error.given}\n{folder} contains the plugin files {", ".join(files)}',
            todo=_trusting(files),
        ) from error
    content = {'num_identities': int(about['num_identities']), 'model': weights}
    model = restore_model(experiment, content, path)
    model.experiment = experiment  # type: ignore[assignment]
    known = json.loads(about['calibration']) if 'calibration' in about else None
    model.calibration = None if known is None else Calibration.of(known)  # type: ignore[assignment]
    return model


def _trusting(files: Sequence[str]) -> str:
    """Returns how to allow plugin files."""
    flags = ' '.join(f'--plugin {shlex.quote(file)}' for file in files)
    return f'if you trust them, add {flags} (from Python: vireid.load(..., plugins={list(files)!r}))'


def _lacks_component(error: VireidError) -> bool:
    """Returns whether a component is unknown, perhaps because a plugin file has it."""
    return any(isinstance(problem, UnknownComponent) for problem in error.errors or (error,))
