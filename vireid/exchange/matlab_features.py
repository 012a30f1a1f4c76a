"""Embeddings in MATLAB files, one per camera, in the format of SYSU-MM01's official evaluation code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.mat_files import read_cell, read_variable
from vireid.boundary.reading import read_text, reads
from vireid.console.wording import counted
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import Mismatch, MissingFile, MissingKey, NotFinite, UnsafeFile, WrongContent, did_you_mean
from vireid.exchange.features import SavedFeatures

CAMERAS = {1: VISIBLE, 2: VISIBLE, 3: INFRARED, 4: VISIBLE, 5: VISIBLE, 6: INFRARED}
NAME = 'vireid'  # prefix of the files that `export` writes
FILE = re.compile(r'(.*)_cam([1-6])\.mat')
PERMUTATION = 'rand_perm_cam.mat'
TEST_IDENTITIES = ('test_id.mat', 'test_id.txt')  # from the authors' evaluation code, and from the dataset
UNIT = 1e-5  # tolerance for a norm of 1 in float32
MAX_FEATURES = 1_000_000  # images per camera; SYSU-MM01 has 45,863 in total


class EuclideanDistance:
    """Ranks by the Euclidean distance of the original features, without normalization.

    The official evaluation computes `pdist2(..., 'euclidean')` of unnormalized features. Distances are sums of squared
    differences in float64, which is accurate for similar images.

    Args:
        raw: the features, (N, D) float32 or float64.
    """

    name = 'Euclidean distance'

    def __init__(self, raw: Embeddings) -> None:
        self.raw = raw
        self._query: tuple[Sample, ...] = ()
        self._columns: dict[str, np.ndarray] = {}  # path of a gallery image -> (Q,) distances

    def similarity(self, query: np.ndarray, gallery: np.ndarray, trial: Trial) -> Callable[[slice], np.ndarray]:
        """Returns a function from a slice of the queries to their (q, G) negative distances."""
        from scipy.spatial.distance import cdist

        # trials share their queries and many gallery images, so each distance is computed once
        if trial.query != self._query:
            self._query, self._columns = trial.query, {}
        new = [sample for sample in trial.gallery if sample.path not in self._columns]
        if new:
            distances = cdist(self.raw.of(trial.query), self.raw.of(new))  # (Q, n)
            self._columns.update(zip((sample.path for sample in new), distances.T, strict=True))
        distances = np.stack([self._columns[sample.path] for sample in trial.gallery], axis=1)  # (Q, G)
        return lambda rows: -distances[rows]


class MatlabFeatures(SavedFeatures):
    """Features read by `load`.

    Attributes:
        similarity: ranks the gallery as the official code does; None if cosine similarity gives the same ranking.
        notes: lines for the user about the identities and the ranking.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        about: dict[str, Any],
        root: str,
        similarity: EuclideanDistance | None,
        notes: Sequence[str],
        test_identities: Sequence[int] | None,
    ) -> None:
        super().__init__(embeddings, about, root)
        self.similarity, self.notes = similarity, list(notes)
        self._test_identities = test_identities

    def require_permutation(self, protocol: Mapping[str, Any]) -> None:
        """Checks the features against the permutation file of `sysu/official`; other protocols use none.

        Raises:
            Mismatch: if the permutation lacks an identity or has another number of images.
        """
        path = protocol.get('permutation')
        if protocol.get('type') != 'sysu/official' or not path or not Path(path).is_file():
            return  # the protocol reports a missing file
        permutation = _read_permutation(Path(path))
        identities = {s.identity for s in self.split('test')}
        unknown = sorted(identities - {identity for identity, _ in permutation})
        if unknown:
            raise Mismatch(
                f'there are features of {_listed(unknown)}, but {path} has no permutation for them',
                allowed='features of the identities in that file',
                todo=f'put {TEST_IDENTITIES[0]}, the list of test identities, into the same folder'
                if self._test_identities is None
                else "for validation identities, use --protocol sysu/agw; the authors' file does not include them",
            )
        given: dict[tuple[int, int], int] = {}
        for sample in self.split('test'):
            place = sample.identity, sample.camera
            given[place] = given.get(place, 0) + 1
        # the authors' permutation has more identities than the test; skip them if there is no list of test identities
        for identity, camera in sorted(given.keys() | {place for place in permutation if place[0] in identities}):
            counts = given.get((identity, camera), 0), permutation.get((identity, camera), 0)
            if counts[0] != counts[1]:
                raise Mismatch(
                    f'identity {identity} has {counted(counts[0], "feature")} on camera {camera}, but {path} '
                    f'permutes {counted(counts[1], "image")}',
                    allowed='one feature per image, in the order of the file names',
                    todo='extract the features again from a complete copy of the dataset',
                )


def load(folder: str | Path, name: str | None = None, data_root: str | Path | None = None) -> MatlabFeatures:
    """Reads `NAME_cam1.mat` ... `NAME_cam6.mat` in the formats of MATLAB 5 to 7.3.

    Each file holds a cell array `feature`; `feature{id}(i, :)` is the feature of the i-th image of an identity on that
    camera, and an empty cell means no images. The i-th image gets the path `cam1/0001/000i.jpg`. Embeddings are
    normalized float32; if the features are not, `similarity` ranks by the original features.

    `test_id.mat` or `test_id.txt` lists the test identities, and `rand_perm_cam.mat` defines the images that the
    official protocol draws. Each is searched for in `data_root/exp`, `data_root`, `folder/exp` and `folder`.

    Args:
        folder: the folder of the files.
        name: NAME; None if all files in the folder have the same name.
        data_root: the folder of the dataset, or another one with those two files.

    Returns:
        The features.

    Raises:
        VireidError: if a file is missing, damaged or of another kind, a feature has NaN or infinite values or another
            dimension, or a test identity has no features.
    """
    folder = Path(folder)
    name = _choose(folder, name)
    places = [place for base in (data_root, folder) if base for place in (Path(base) / 'exp', Path(base))]
    list_file = _first(places, TEST_IDENTITIES)
    listed = None if list_file is None else _read_identities(list_file)
    rows: dict[Sample, np.ndarray] = {}
    for camera in CAMERAS:
        rows |= _read_camera(folder / f'{name}_cam{camera}.mat', camera, listed, next(iter(rows.values()), None))
    samples = tuple(sorted(rows, key=lambda s: (s.modality != VISIBLE, s.identity, s.camera, s.path)))
    identities = {s.identity for s in samples}
    lacking = sorted(set(listed or ()) - identities)
    if lacking:
        raise Mismatch(
            f'{folder}/{name}_cam*.mat: {list_file} lists {_listed(lacking)}, but there are no features of them',
            todo='extract the missing features, or replace that file by the list of your test identities',
        )
    if not samples:
        raise WrongContent(f'{folder}/{name}_cam*.mat: all cells are empty', allowed='one row per test image')
    notes = [
        f'{counted(len(identities), "identity", "identities")}, '
        + (f'listed in {list_file}' if list_file else f'all in the files: no {" or ".join(TEST_IDENTITIES)} found')
    ]
    features = np.stack([rows[s] for s in samples])
    if features.dtype != np.float32:
        features = features.astype(np.float64)
    with np.errstate(over='ignore'):
        lengths = np.linalg.norm(features.astype(np.float64), axis=1)
    if not np.isfinite(lengths).all():
        raise NotFinite(
            f'{folder}/{name}_cam*.mat: the norm of the feature of {samples[lengths.argmax()].path} overflows float64',
            allowed='features with a finite norm',
            todo='check the code that extracted the features',
        )
    unit = np.allclose(lengths, 1, atol=UNIT)
    raw = Embeddings(samples, features)
    embeddings, similarity = raw, None
    # with float64 features, cosine similarity in float32 is less accurate than the official code
    if not unit or features.dtype != np.float32:
        # zero vectors stay zero
        normal = features / np.where(lengths > 0, lengths, 1)[:, None]
        embeddings, similarity = Embeddings(samples, normal.astype(np.float32)), EuclideanDistance(raw)
    if not unit:
        notes.append(
            f'the norms of the features are {lengths.min():.4g} to {lengths.max():.4g}, not 1: they are ranked by '
            'Euclidean distance without normalization, as in the official code; re-ranking normalizes them'
        )
    permutation = _first(places, [PERMUTATION])
    protocol = {'type': 'sysu/official'} | ({'permutation': str(permutation)} if permutation else {})
    about = {'experiment': name, 'data': f'features from {folder}', 'protocol': protocol}
    return MatlabFeatures(embeddings, about, str(data_root or folder), similarity, notes, listed)


def export(saved: SavedFeatures, folder: Path) -> list[Path]:
    """Writes one MATLAB file per camera in the format of SYSU-MM01's official evaluation code.

    `vireid_camN.mat` holds the cell array `feature`; `feature{id}(i, :)` is the embedding of the i-th image of an
    identity on that camera, in the order of file names. Embeddings have norm 1, so the Euclidean distance of the
    official code ranks like cosine similarity.

    Returns:
        The files written.

    Raises:
        Mismatch: if the identities are not valid indices of a cell array.
    """
    from scipy.io import savemat

    samples = sorted(saved.embeddings.samples, key=lambda s: s.path)
    identities = [s.identity for s in samples]
    if min(identities) < 1 or max(identities) > 99_999:
        raise Mismatch(
            f'identities range from {min(identities)} to {max(identities)}, but MATLAB indices start at 1',
            allowed='identities from 1 to 99,999, as in SYSU-MM01 and datasets with its layout',
        )
    folder.mkdir(parents=True, exist_ok=True)
    places: dict[tuple[int, int], list[Sample]] = {}
    for sample in samples:
        places.setdefault((sample.camera, sample.identity), []).append(sample)
    written = []
    for camera in CAMERAS:
        cells = np.empty((1, max(identities)), dtype=object)
        for place in range(cells.shape[1]):
            own = places.get((camera, place + 1))
            cells[0, place] = saved.embeddings.of(own) if own else np.zeros((0, 0), dtype=np.float32)
        path = folder / f'{NAME}_cam{camera}.mat'
        savemat(path, {'feature': cells}, do_compression=True)
        written.append(path)
    return written


def _choose(folder: Path, name: str | None) -> str:
    """Returns the name of the files to read; raises unless there is one per camera."""
    cameras: dict[str, set[int]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = FILE.fullmatch(path.name)
        if match and path.is_file():
            cameras.setdefault(match[1], set()).add(int(match[2]))
    names = ', '.join(map(repr, cameras))
    if not cameras:
        raise MissingFile(
            f'{folder} contains no features',
            allowed="NAME_cam1.mat ... NAME_cam6.mat, in the format of SYSU-MM01's official code",
            todo='give the folder of these files, or a file written by `vireid test --save-features`',
        )
    if name is None and len(cameras) > 1:
        raise MissingKey(f'{folder} contains features of several names', allowed=names, todo='choose one with --name')
    if name is None:
        name = next(iter(cameras))
    if name not in cameras:
        given = f'{folder} contains no features named {name!r}{did_you_mean(name, cameras)}'
        raise MissingFile(given, allowed=names, todo='choose one with --name')
    missing = [f'{name}_cam{camera}.mat' for camera in CAMERAS if camera not in cameras[name]]
    if missing:
        raise MissingFile(
            f'{folder} lacks {", ".join(missing)}',
            allowed='one file for each of the six cameras',
            todo='add the file; a camera without images has empty cells',
        )
    return name


def _read_camera(
    path: Path, camera: int, identities: Sequence[int] | None, other: np.ndarray | None
) -> dict[Sample, np.ndarray]:
    """Returns the (D,) feature of each image of a camera.

    Args:
        path: the file.
        camera: the number of the camera.
        identities: the identities to read; None reads all.
        other: a feature of another camera, whose dimension must match; None if there is none.
    """
    chosen = None if identities is None else set(identities)
    rows: dict[Sample, np.ndarray] = {}
    for identity, cell in enumerate(_read_cells(path, 'feature'), start=1):
        empty = not cell if isinstance(cell, list) else np.size(cell) == 0
        if empty or (chosen is not None and identity not in chosen):
            continue
        where = f'{path}, identity {identity}'
        if not isinstance(cell, np.ndarray) or cell.ndim != 2 or cell.dtype.kind not in 'fiu':
            raise WrongContent(f'{where}: the cell is not a real matrix', allowed='one row of numbers per image')
        if len(rows) + len(cell) > MAX_FEATURES:
            raise UnsafeFile(f'{where}: there are more than {MAX_FEATURES:,} features', allowed='one row per image')
        if other is not None and cell.shape[1] != len(other):
            raise WrongContent(
                f'{where}: features have {counted(cell.shape[1], "dimension")}, but earlier ones have {len(other)}',
                allowed='features of the same dimension',
            )
        bad = np.flatnonzero(~np.isfinite(cell).all(axis=1))
        if len(bad):
            raise NotFinite(
                f'{where}: NaN or infinity in {len(bad)} of {counted(len(cell), "feature")}, first in image '
                f'{bad[0] + 1}',
                todo='check the code that extracted the features',
            )
        for number, row in enumerate(cell, start=1):
            rows[Sample(f'cam{camera}/{identity:04d}/{number:04d}.jpg', identity, camera, CAMERAS[camera])] = row
        other = cell[0]
    return rows


def _read_permutation(path: Path) -> dict[tuple[int, int], int]:
    """Returns the number of images that `rand_perm_cam.mat` permutes, by identity and camera, without zeros."""
    counts: dict[tuple[int, int], int] = {}
    for camera, cells in enumerate(_read_cells(path, 'rand_perm_cam'), start=1):
        if not isinstance(cells, list):
            raise WrongContent(
                f'{path}: camera {camera} has no cell array',
                allowed='one cell per camera, with one cell per identity',
                todo="restore it from the authors' evaluation code",
            )
        counts |= {
            (identity, camera): np.atleast_2d(rows).shape[1]
            for identity, rows in enumerate(cells, start=1)
            if isinstance(rows, np.ndarray) and rows.size
        }
    return counts


@reads(
    'a MATLAB file', '*.mat',
    allowed='a .mat file with a cell array',
    todo="copy or save it again; in MATLAB, save(..., '-v6') writes without compression",
)  # fmt: skip
def _read_cells(path: Path, variable: str) -> list[Any]:
    return read_cell(path, variable)


@reads(
    'a list of identities', 'test_id.txt', 'test_id.mat',
    allowed='numbers separated by commas; in a .mat file, a variable `id`',
    todo="restore it from the dataset or the authors' evaluation code",
)  # fmt: skip
def _read_identities(path: Path) -> list[int]:
    """Reads test identities from comma-separated numbers or the variable `id` of a MATLAB file."""
    values = read_variable(path, 'id') if path.suffix == '.mat' else read_text(path).replace(',', ' ').split()
    if values is None:
        raise ValueError('there is no variable `id`')
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if not len(numbers) or (numbers < 1).any() or (numbers % 1 != 0).any():
        raise ValueError('the values are not positive integers')
    return sorted({int(number) for number in numbers})


def _first(places: Sequence[Path], names: Sequence[str]) -> Path | None:
    return next((place / name for place in places for name in names if (place / name).is_file()), None)


def _listed(identities: Sequence[int]) -> str:
    shown = ', '.join(map(str, identities[:5])) + (', ...' if len(identities) > 5 else '')
    return f'{"identity" if len(identities) == 1 else "identities"} {shown}'
