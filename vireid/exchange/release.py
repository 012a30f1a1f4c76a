"""Exports of a trained model: its weights with a model card, or one ONNX file per modality."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from vireid.boundary import checkpoint
from vireid.boundary.config_text import dump
from vireid.boundary.reading import duplicate
from vireid.boundary.showing import as_json
from vireid.boundary.writing import write_whole
from vireid.core.config.frozen import thaw
from vireid.core.types import MODALITIES, Modality
from vireid.errors import (
    AlreadyExists,
    Conflict,
    DamagedFile,
    Mismatch,
    MissingFile,
    MissingPackage,
    Unavailable,
    UnsafeFile,
)
from vireid.exchange.model_card import model_card
from vireid.exchange.models import load
from vireid.exchange.public_config import public_config
from vireid.launch.weights import require_whole

TOLERANCE = 1e-4  # largest allowed difference between ONNX and torch, relative to the largest value


def release_weights(
    source: Path, out: Path, plugins: Sequence[Path] = (), log: Callable[[str], None] = print
) -> list[Path]:
    """Writes `model.safetensors`, `config.yaml`, the model card, and copies of the plugin files.

    The optimizer state, the loggers, and the paths of this machine are left out.

    Args:
        source: a checkpoint of a run.
        out: the folder, which may hold an earlier release; it is created if needed.
        plugins: plugin files that may be copied. A checkpoint can name any file, so each of its plugin files must be
            listed here.
        log: called with a line for each plugin file.

    Returns:
        The files written.

    Raises:
        VireidError: if safetensors is missing, the checkpoint is damaged, a plugin file is missing or not listed, or
            `out` holds other files.
    """
    _import('safetensors.torch')
    content = checkpoint.load(source)
    require_whole(content, source)
    files = plugin_files(source, content['config'].get('plugins', ()), plugins)
    existing = [name for name in ('README.md', 'config.yaml') if (out / name).exists()]
    if existing and not (out / 'model.safetensors').exists():
        raise AlreadyExists(
            f'{out} contains {existing[0]}, which is not part of a release', todo='choose another folder'
        )
    for file in files:
        log(f'copying {file} into the release')
    digest = checkpoint.digest(content['model'])
    try:
        config, _ = public_config(content['config'], own=False)
        card = model_card(source, content, digest)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        given = f'the config in {source} is damaged: {type(error).__name__}: {error}'
        raise DamagedFile(given, allowed='files that `vireid train` wrote') from error
    with atomic_folder(out) as folder:
        write_release(folder, content, config, card, files)
    return [out / name for name in ('model.safetensors', 'config.yaml', 'README.md', *(file.name for file in files))]


def write_release(
    folder: Path, content: Mapping[str, Any], config: Mapping[str, Any], card: str, files: Sequence[Path]
) -> None:
    """Writes the files of a release.

    Args:
        folder: an existing folder.
        content: the checkpoint; its weights, number of identities and calibration are released.
        config: the config to release, without paths of this machine.
        card: the model card.
        files: plugin files to copy.

    Raises:
        MissingPackage: if safetensors is missing.
    """
    (safetensors,) = _import('safetensors.torch')
    digest = checkpoint.digest(content['model'])
    metadata = {'format': 'pt', 'num_identities': str(content['num_identities']), 'sha256': digest}
    if content.get('calibration') and not content.get('adapted'):
        metadata['calibration'] = json.dumps(content['calibration'])
    # cloned because safetensors refuses tensors that share memory, as those of a module with two names do
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in content['model'].items()}
    safetensors.save_file(tensors, str(folder / 'model.safetensors'), metadata=metadata)
    for file in files:
        write_whole(folder / file.name, file.read_bytes())
    write_whole(folder / 'config.yaml', dump(config))
    write_whole(folder / 'README.md', card)
    # safetensors creates files that only their owner can read
    (folder / 'model.safetensors').chmod((folder / 'config.yaml').stat().st_mode)


def release_onnx(source: Path, out: Path, plugins: Sequence[Path] = (), log: Callable[[str], None] = print) -> float:
    """Writes `visible.onnx`, `infrared.onnx` and `model.json`, and compares the ONNX models with torch.

    Args:
        source: a checkpoint of a run.
        out: the folder; it is created if needed.
        plugins: Python files with components of the model.
        log: called with the path of each ONNX file.

    Returns:
        The largest difference between the embeddings of ONNX and torch, relative to the largest value.

    Raises:
        VireidError: if a package is missing, the model cannot be exported, or the difference exceeds 1e-4.
    """
    onnx, runtime, _ = _import('onnx', 'onnxruntime', 'onnxscript')
    model: Any = load(source, plugins)
    height, width = model.experiment.images.size
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    worst, length = 0.0, 0
    for modality in MODALITIES:
        path = out / f'{modality}.onnx'
        with _export_errors(modality):
            program = torch.onnx.export(
                _Embedder(model, modality).eval(), (torch.randn(2, 3, height, width),), dynamo=True, verbose=False,
                input_names=['images'], output_names=['embeddings'], dynamic_shapes=({0: torch.export.Dim('batch')},),
            )  # fmt: skip
            assert program is not None
            program.save(str(path))
            onnx.checker.check_model(str(path))
            session = runtime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
        for count in (1, 3):
            images = torch.randn(count, 3, height, width)
            with torch.inference_mode():
                expected = model.embed(images, modality).numpy()
            with _export_errors(modality):
                (embeddings,) = session.run(None, {'images': images.numpy()})
            length = embeddings.shape[1]
            worst = max(worst, float(np.abs(embeddings - expected).max() / np.abs(expected).max()))
        log(str(path))
    about = {
        'size': [height, width],
        'embedding': length,
        'differs by': worst,
        'test': thaw(model.experiment.images.test),
        'search': 'L2-normalize the embeddings; a larger inner product means more similar',
    }
    if rerank := model.experiment.evaluation.rerank:
        about['re-rank'] = {'with all queries and the whole gallery at once': rerank}
    write_whole(out / 'model.json', as_json(about, indent=1) + '\n')
    if worst > TOLERANCE:
        raise Mismatch(
            f'the exported model differs from torch by {worst:.1e}', allowed=f'at most {TOLERANCE:.0e}',
            todo='do not use these files; `vireid export weights` needs no conversion',
        )  # fmt: skip
    return worst


def _import(*modules: str) -> list[ModuleType]:
    try:
        return [import_module(module) for module in modules]
    except ImportError as error:
        raise MissingPackage(f'{error.name} is not installed', todo='pip install "vireid[export]"') from error


def plugin_files(source: Path, named: Sequence[str], plugins: Sequence[Path]) -> list[Path]:
    """Returns the plugin files of a checkpoint.

    Args:
        source: the checkpoint, for messages.
        named: paths of the plugin files that the checkpoint names.
        plugins: the files that the user has listed.

    Raises:
        VireidError: if the user has not listed one, one is not an existing Python file, or two have the same name.
    """
    given = {file.resolve() for file in plugins}
    files = [Path(file) for file in named]
    refused = [file for file in files if file.resolve() not in given]
    if refused:
        flags = ' '.join(f'--plugin {shlex.quote(str(file))}' for file in refused)
        raise UnsafeFile(
            f'{source} was trained with {", ".join(map(str, refused))}, which a release would copy',
            todo=f'if these are your plugin files, add {flags}',
        )
    wrong = next((file for file in files if file.suffix != '.py' or not file.is_file()), None)
    if wrong is not None:
        raise MissingFile(f'no plugin file {wrong}', allowed='existing Python files', todo='restore it')
    repeated = duplicate(file.name for file in files)
    if repeated is not None:
        raise Conflict(f'two plugin files are named {repeated}', todo='rename one of them, and train again')
    return files


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Yields a temporary folder whose files move to `out` together when the block ends; none move if it raises."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{out.name[:80]}.', suffix='.part', dir=out.parent) as temporary:
        yield Path(temporary)
        out.mkdir(exist_ok=True)
        for file in sorted(Path(temporary).iterdir(), key=lambda file: file.suffix == '.safetensors'):
            file.replace(out / file.name)


@contextmanager
def _export_errors(modality: Modality) -> Iterator[None]:
    """Reports what torch cannot export as an error of the model."""
    try:
        yield
    except Exception as error:  # torch's exporter has its own errors, and wraps whatever the model raises
        cause = error.__cause__ or error
        reason = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise Unavailable(
            f'the embedding of {modality} images cannot be exported to ONNX: {type(cause).__name__}: {reason.strip()}',
            todo='remove data-dependent control flow and non-torch code from the embedding, or use '
            '`vireid export weights`',
        ) from error


class _Embedder(torch.nn.Module):
    """The embedding of one modality as a module."""

    def __init__(self, model: Any, modality: Modality) -> None:
        super().__init__()
        self.model, self.modality = model, modality

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.embed(images, self.modality)
