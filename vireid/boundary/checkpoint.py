"""Checkpoints: tensors and plain values, written so that a crash or a full disk never destroys the previous one."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from vireid.boundary.checkpoint_schema import SCHEMA
from vireid.boundary.malformed import kind_of
from vireid.boundary.reading import reads, reason
from vireid.boundary.showing import error_text, some
from vireid.boundary.tensors import is_foreign, load_tensors
from vireid.boundary.writing import open_whole
from vireid.errors import Mismatch, MissingFile, UnsupportedFile, VireidError, WriteFailed

FORMAT = 2  # other formats are rejected
MAX_KEPT = 100  # most checkpoints to keep


def save(path: str | Path, content: Mapping[str, Any], keep: int = 1) -> None:
    """Writes `content` to `path` atomically, with a temporary file that is synced and renamed.

    Args:
        path: the checkpoint file.
        content: tensors and plain Python values only.
        keep: number of checkpoints to keep: this one, and earlier ones as `last-1.pt`, `last-2.pt` and so on.

    Raises:
        WriteFailed: if it cannot be written; an existing file at `path` is unchanged.
    """
    path = Path(path)
    try:
        with open_whole(path) as file:
            torch.save({'format': FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
            _keep(path, keep)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
        kept = f'; the previous checkpoint {path} is intact' if path.exists() else ''
        raise WriteFailed(
            f'checkpoint {path} could not be written: {error_text(error)}{kept}',
            todo='free some space, fix the permissions or choose another path; a training continues with --resume',
        ) from error


def amend(path: Path, more: Mapping[str, Any]) -> None:
    """Adds entries to an existing checkpoint, which is unchanged if the new file cannot be read back.

    Raises:
        VireidError: if the entries are not tensors and plain values, or the checkpoint cannot be read or written.
    """
    aside = path.with_suffix('.amended')
    save(aside, {**load(path), **more})
    try:
        load(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def earlier(path: Path, age: int) -> Path:
    """Returns the path of the checkpoint written `age` saves before the one at `path`."""
    return path.with_name(f'{path.stem}-{age}{path.suffix}') if age else path


def last_of(run: Path) -> Path | None:
    """Returns the last checkpoint of the folder of a run; None if the folder is another one."""
    path = run / 'checkpoints/last.pt'
    return path if path.is_file() else None


def kept(path: Path) -> list[Path]:
    """Returns the existing checkpoints of `path`, the latest first."""
    paths = [path] if path.is_file() else []
    for age in range(1, MAX_KEPT):
        if not earlier(path, age).is_file():
            break
        paths.append(earlier(path, age))
    return paths


def step_of(path: Path) -> int | None:
    """Returns the step after which a checkpoint was written; None if it is damaged or has no step."""
    try:
        return load(path).get('progress', {}).get('step')
    except VireidError:
        return None


def _keep(path: Path, keep: int) -> None:
    """Renames earlier checkpoints; at any time a complete one is at `path` or at its first earlier path."""
    if keep <= 1 or not path.exists():
        return
    for age in range(keep - 1, 1, -1):
        if earlier(path, age - 1).exists():
            earlier(path, age - 1).replace(earlier(path, age))
    first = earlier(path, 1)
    link = path.with_name(f'.{first.name}.{secrets.token_hex(8)}.part')
    try:
        os.link(path, link)  # no copy needed: the new checkpoint replaces the name, not the data
    except OSError:  # the file system does not support links
        shutil.copyfile(path, link)
    link.replace(first)


@reads('a checkpoint of vireid', '*.pt', allowed='files that `vireid train` wrote under checkpoints/')
def load(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU, without executing code in it.

    Raises:
        VireidError: if the file is missing or damaged, or is not a checkpoint of vireid in the current format.
    """
    path = Path(path)
    if path.is_dir():
        last = last_of(path)
        raise UnsupportedFile(
            f'{path} is a folder', allowed='a .pt file of a run', todo=f'give its checkpoint: {last}' if last else None
        )
    try:
        content = load_tensors(path)
    except FileNotFoundError as error:
        raise MissingFile(f'no checkpoint {path}', todo='give the path of a .pt file of a run') from error
    except Exception as error:  # a damaged file may fail in any way
        # torch's message recommends unsafe loading
        why = 'it does not consist of tensors and plain values' if is_foreign(error) else reason(error)
        raise kind_of(error)(
            f'{path} is not a checkpoint of vireid or is damaged: {why}',
            allowed='files that `vireid train` wrote under checkpoints/',
            todo='give another checkpoint of the run, such as last-1.pt, or copy the file again',
        ) from error
    try:
        SCHEMA.validate_python(content)
    except ValidationError as error:
        where = '.'.join(map(str, error.errors()[0]['loc'][:3])) if isinstance(content, dict) else ''
        raise UnsupportedFile(
            f'{path} can be read but is not a checkpoint of vireid'
            + (f': {where} is missing or invalid' if where else ''),
            allowed='files written under checkpoints/',
            todo='to train from the weights of another program: --init FILE; to score released ones: vireid convert',
        ) from error
    if content.get('format') != FORMAT:
        wrote = content.get('versions', {}).get('vireid', 'of another version')
        raise UnsupportedFile(
            f'{path} was written by vireid {wrote} (format {content.get("format")}); this one reads format {FORMAT}',
            todo='use the version that wrote it, or train again',
        )
    return content


def digest(weights: Mapping[str, torch.Tensor]) -> str:
    """Returns the SHA-256 of the names, types, shapes and values of weights, independent of how they are stored."""
    total = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        total.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b'')
    return total.hexdigest()


def load_weights(module: torch.nn.Module, weights: Mapping[str, Any], source: str | Path) -> None:
    """Loads weights into a module; all keys and shapes must match.

    Args:
        module: the module.
        weights: the state dict.
        source: its name in messages.

    Raises:
        Mismatch: listing the tensors that are missing, unexpected or of another shape.
    """
    state = module.state_dict()
    missing = [k for k in state if k not in weights]
    unexpected = [k for k in weights if k not in state]
    misfits = [
        f'{k} is {tuple(weights[k].shape)}, the model expects {tuple(state[k].shape)}'
        for k in state
        if k in weights and weights[k].shape != state[k].shape
    ]
    other = [k for k in state if k in weights and weights[k].is_floating_point() != state[k].is_floating_point()]
    misfits += [f'{k} is {weights[k].dtype}, the model expects {state[k].dtype}' for k in other]
    if missing or unexpected or misfits:
        fits = len(state) - len(missing) - len(misfits)
        parts = [
            f'{len(names)} {what} ({some(names, 3, ", ...")})'
            for what, names in (('missing', missing), ('unexpected', unexpected), ('of another shape', misfits))
            if names
        ]
        raise Mismatch(
            f'{source} does not fit the model: {fits} of {len(state)} tensors fit; ' + '; '.join(parts),
            todo="use the config the checkpoint was trained with (config.yaml in its run's folder)",
        )
    module.load_state_dict(weights)


def _sync_folder(folder: Path) -> None:
    if os.name == 'posix':  # so that the rename survives a power failure
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
