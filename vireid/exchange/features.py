"""Embeddings in a file, which can be scored again without the model or the images."""

from __future__ import annotations

import json
import posixpath
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Required

import numpy as np
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from vireid.boundary.reading import RECORD, duplicate, load_arrays, parse_json, reads
from vireid.boundary.showing import error_text
from vireid.boundary.writing import open_whole
from vireid.core.config.experiment import Experiment
from vireid.core.config.frozen import thaw
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.results import Results
from vireid.core.training.state import versions
from vireid.core.types import MODALITIES, Sample
from vireid.errors import UnknownName, UnsafeFile, UnsupportedFile, WriteFailed, WrongContent
from vireid.interfaces import Dataset
from vireid.runtime.processes import world

FORMAT = 1
WRITE = 'write one: vireid test CONFIG CHECKPOINT --save-features FILE'
IMAGES = 500_000  # of a file; published test splits have at most some ten thousand


class SavedFeatures:
    """A features file, which protocols accept as a dataset.

    Attributes:
        embeddings: embeddings of all images of the test split.
        about: metadata: `experiment`, `checkpoint`, `dataset`, `split`, `protocol`, `weights`.
        root: the folder of the dataset, which need not exist on this machine.
        split_name: the split of the dataset, if it has several.
    """

    def __init__(self, embeddings: Embeddings, about: dict[str, Any], root: str) -> None:
        self.embeddings, self.about, self.root = embeddings, about, root
        self.split_name = about.get('split', '')

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the samples of the test split.

        Raises:
            UnknownName: for any other split.
        """
        if name != 'test':
            raise UnknownName(f'a features file has no split {name!r}', allowed='test')
        return self.embeddings.samples


def save(path: str | Path, embeddings: Embeddings, about: Mapping[str, Any], root: str | Path | None) -> None:
    """Writes an `.npz` file atomically.

    It holds `features` (N, D) float32, optionally `flipped` of the same shape, `paths` relative to `root`,
    `identities`, `cameras`, `modalities`, and `about` as JSON.

    Args:
        path: the file.
        embeddings: the embeddings and their samples.
        about: metadata; see `SavedFeatures`.
        root: the folder of the dataset; None keeps the paths as they are.

    Raises:
        WriteFailed: if the file cannot be written.
    """
    path = Path(path)
    samples = embeddings.samples
    arrays = {
        'features': embeddings.features,
        'paths': np.array([_below(s.path, root) for s in samples]),
        'identities': np.array([s.identity for s in samples], dtype=np.int64),
        'cameras': np.array([s.camera for s in samples], dtype=np.int64),
        'modalities': np.array([s.modality for s in samples]),
        'about': np.array(json.dumps({'format': FORMAT, 'root': str(root or ''), **about})),
    }
    if embeddings.flipped is not None:
        arrays['flipped'] = embeddings.flipped
    try:
        with open_whole(path, sync=True) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise WriteFailed(
            f'cannot write features to {path}: {error_text(error)}', todo='free some space or fix the permissions'
        ) from error


def save_results(path: str | Path, experiment: Experiment, source: str | Path | None, results: Results) -> None:
    """Writes the embeddings of an evaluation; only rank 0 does.

    Args:
        path: the file.
        experiment: the evaluated experiment.
        source: the checkpoint, if any.
        results: the results of `score_checkpoint(..., whole_split=True)`.

    Raises:
        WriteFailed: if the file cannot be written.
    """
    dataset = experiment.build_dataset()
    about = {
        'experiment': experiment.name,
        'checkpoint': str(Path(source).absolute()) if source is not None else None,
        'dataset': experiment.dataset,
        'data': results.data,
        'split': Dataset.split_name(dataset),
        'protocol': experiment.protocol,
        'weights': results.weights,
        'similarity': thaw(experiment.evaluation.similarity),
        'versions': versions(),
    }
    if world()[0] == 0:
        save(path, results.embeddings, about, Dataset.root(dataset))


def require_writable(path: str | Path) -> None:
    """Checks that a features file can be written.

    Raises:
        WriteFailed: if the path is a folder or is not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise WriteFailed(f'{path} is a folder', allowed='a file name, such as features.npz')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise WriteFailed(
            f'cannot write features to {path}: {error_text(error)}', todo='choose another file'
        ) from error


class _About(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow', strict=True)  # type: ignore[misc]
    format: int
    root: str
    experiment: str
    checkpoint: str | None
    dataset: dict
    data: str
    split: str
    protocol: Required[dict]
    weights: str
    similarity: _Named | None


class _Named(TypedDict):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    type: str


@reads('a features file', '*.npz', todo=WRITE)
def load(path: str | Path) -> SavedFeatures:
    """Reads a features file without executing anything in it.

    Raises:
        VireidError: if the file is missing, damaged, or not a features file.
    """
    path = Path(path)
    arrays = load_arrays(path)
    if 'identities' not in arrays and 'path' in arrays:
        raise UnsupportedFile(f'{path} was written by `vireid extract`: it has no identities to score', todo=WRITE)
    about: Any = TypeAdapter(_About).validate_python(parse_json(str(arrays['about']), RECORD))
    kinds = {'paths': 'U', 'identities': 'iu', 'cameras': 'iu', 'modalities': 'U'}
    if any(arrays[key].ndim != 1 or arrays[key].dtype.kind not in kind for key, kind in kinds.items()):
        raise ValueError('paths and modalities must be lists of strings, identities and cameras lists of integers')
    if any(len(arrays[key]) and arrays[key].max() >= 2**63 for key in ('identities', 'cameras')):
        raise ValueError('identities and cameras must be below 2**63')
    features, flipped = arrays['features'], arrays.get('flipped')
    # before the columns become objects: a small file can unpack to millions of rows
    counts = {key: len(arrays[key]) for key in kinds}
    if len(set(counts.values())) > 1:
        raise ValueError('its columns differ in length: ' + ', '.join(f'{n:,} {key}' for key, n in counts.items()))
    count = counts['paths']
    if count > IMAGES:
        raise UnsafeFile(f'{path} has {count:,} images', allowed=f'at most {IMAGES:,}')
    fits = features.ndim == 2 and 0 not in features.shape and len(features) == count
    if not fits or (flipped is not None and flipped.shape != features.shape):
        raise ValueError(f'features of shape {features.shape} for {count:,} images')
    if any(array is not None and array.dtype != np.float32 for array in (features, flipped)):
        raise ValueError('the features are not float32')
    columns = [arrays[key].tolist() for key in kinds]
    samples = tuple(Sample(*row) for row in zip(*columns, strict=True))
    if about.get('format', 0) > FORMAT:
        raise UnsupportedFile(f'{path} was written by a newer vireid (format {about["format"]})', todo='upgrade vireid')
    repeated = duplicate(posixpath.normpath(sample.path) for sample in samples)
    if repeated is not None:
        raise WrongContent(
            f'{path} has the image {repeated} twice',
            allowed='a unique path for each image, such as cam1/0001/0001.jpg',
            todo='write paths relative to the folder of the dataset, not file names only',
        )
    for array in (features, flipped):
        lengths = np.linalg.norm(array, axis=1) if array is not None else np.ones(1)
        if not np.allclose(lengths, 1, atol=1e-3):
            raise WrongContent(
                f'{path} holds embeddings of norm {lengths.min():.3g} to {lengths.max():.3g}',
                allowed='rows of norm 1, so that inner products are cosine similarities',
                todo='normalize them: features / np.linalg.norm(features, axis=1, keepdims=True)',
            )
    unknown = {s.modality for s in samples} - set(MODALITIES)
    if unknown:
        raise WrongContent(f'{path} has the unknown modalities {sorted(unknown)}', allowed=', '.join(MODALITIES))
    return SavedFeatures(Embeddings(samples, features, flipped), about, about.get('root', ''))


def _below(path: str, root: str | Path | None) -> str:
    if root is None:
        return path
    try:
        return Path(path).relative_to(root).as_posix()
    except ValueError:  # a manifest may list images outside the folder
        return path
