"""Embeddings in MATLAB files, a file for each camera, as SYSU-MM01's official evaluation reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.mat_files import read_cell, read_variable
from vireid.boundary.reading import read_text, reads
from vireid.core.errors import VireidError, did_you_mean
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.core.wording import counted
from vireid.exchange.features import SavedFeatures

CAMERAS = {1: VISIBLE, 2: VISIBLE, 3: INFRARED, 4: VISIBLE, 5: VISIBLE, 6: INFRARED}
NAME = 'vireid'  # of the files that `export` writes
FILE = re.compile(r'(.*)_cam([1-6])\.mat')
PERMUTATION = 'rand_perm_cam.mat'
TEST_IDENTITIES = ('test_id.mat', 'test_id.txt')  # of the authors' evaluation code, and of the dataset
UNIT = 1e-5  # what float32 leaves of a length of 1
MOST = 1_000_000  # images of a camera; SYSU-MM01 has 45,863 on all six together


class EuclideanDistance:
    """Ranks by the Euclidean distance of features as they were read, whatever their length.

    The official evaluation takes `pdist2(..., 'euclidean')` of the features and does not normalise them. Distances are
    summed in float64 from the differences, so those of near images keep their digits.

    Args:
        raw: the features, (N, D) float32 or float64.
    """

    name = 'Euclidean distance'

    def __init__(self, raw: Embeddings) -> None:
        self.raw = raw
        self._query: tuple[Sample, ...] = ()
        self._columns: dict[str, np.ndarray] = {}  # path of a gallery image -> (Q,) distances

    def similarity(self, query: np.ndarray, gallery: np.ndarray, trial: Trial) -> Callable[[slice], np.ndarray]:
        """Prepares a trial by its samples; the result gives the (q, G) negative distances of some queries."""
        from scipy.spatial.distance import cdist

        # trials share their queries and many gallery images: each pair is compared once
        if trial.query != self._query:
            self._query, self._columns = trial.query, {}
        new = [sample for sample in trial.gallery if sample.path not in self._columns]
        if new:
            distances = cdist(self.raw.of(trial.query), self.raw.of(new))  # (Q, n)
            self._columns.update(zip((sample.path for sample in new), distances.T, strict=True))
        found = np.stack([self._columns[sample.path] for sample in trial.gallery], axis=1)  # (Q, G)
        return lambda rows: -found[rows]


class MatlabFeatures(SavedFeatures):
    """What `load` read.

    Attributes:
        similarity: ranks the gallery as the official code does; None where cosine of the embeddings does the same.
        notes: lines for the user: whose features these are, and how they are ranked.
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
        """Compares the features with the permutation that `sysu/official` draws by; other protocols read none.

        Raises:
            VireidError: if the permutation is of other identities, or of another number of images of one.
        """
        path = protocol.get('permutation')
        if protocol.get('type') != 'sysu/official' or not path or not Path(path).is_file():
            return  # the protocol itself says where the file has to be
        wanted = _read_permutation(Path(path))
        own = {s.identity for s in self.split('test')}
        strange = sorted(own - {identity for identity, _ in wanted})
        if strange:
            raise VireidError(
                f'there are features of {_listed(strange)}, for whom {path} has no permutation',
                allowed='features of the identities in it',
                todo=f'put {TEST_IDENTITIES[0]} beside it, which says whose features count'
                if self._test_identities is None
                else "choose weights on validation identities by --protocol sysu/agw; the authors' file has none",
            )
        given: dict[tuple[int, int], int] = {}
        for sample in self.split('test'):
            place = sample.identity, sample.camera
            given[place] = given.get(place, 0) + 1
        # without the list of test identities, the permutation may know more of them: the authors' one does
        for identity, camera in sorted(given.keys() | {place for place in wanted if place[0] in own}):
            counts = given.get((identity, camera), 0), wanted.get((identity, camera), 0)
            if counts[0] != counts[1]:
                raise VireidError(
                    f'there are {counted(counts[0], "feature")} of identity {identity} on camera {camera}, and {path} '
                    f'permutes {counted(counts[1], "image")}',
                    allowed='a feature of every image, in the order of the file names',
                    todo='extract the features again from a complete copy of the dataset',
                )


def load(folder: str | Path, name: str | None = None, data_root: str | Path | None = None) -> MatlabFeatures:
    """Reads `NAME_cam1.mat` ... `NAME_cam6.mat`, of MATLAB 5 to 7.3.

    Each holds a cell array `feature`; `feature{id}(i, :)` is the feature of the identity's i-th image on that camera,
    and an empty cell says there is none. The i-th image gets the path `cam1/0001/000i.jpg`. Embeddings are of
    length 1, float32; if the features are not, `similarity` ranks by the features as they are.

    `test_id.mat` or `test_id.txt` says whose features count, and `rand_perm_cam.mat` which images the official
    protocol draws. Each is looked for in `exp` of `data_root`, in `data_root`, and so in `folder`.

    Args:
        folder: holds the files.
        name: NAME; None if the folder has files of one name alone.
        data_root: the dataset's folder, or another one that holds those two.

    Raises:
        VireidError: if a file is missing, damaged or something else, features are not finite or not of one length, or
            test identities have none.
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
        raise VireidError(
            f'{folder}/{name}_cam*.mat: there are no features of {_listed(lacking)}, whom {list_file} names',
            todo='extract their features too, or put the list of your own test identities there',
        )
    if not samples:
        raise VireidError(f'{folder}/{name}_cam*.mat: every cell is empty', allowed='a row for each test image')
    # as `list_file` says, or of all there are
    notes = [
        f'{counted(len(identities), "identity", "identities")}, '
        + (f'those of {list_file}' if list_file else f'all in the files: there is no {" or ".join(TEST_IDENTITIES)}')
    ]
    features = np.stack([rows[s] for s in samples])
    if features.dtype != np.float32:
        features = features.astype(np.float64)
    with np.errstate(over='ignore'):
        lengths = np.linalg.norm(features.astype(np.float64), axis=1)
    if not np.isfinite(lengths).all():
        raise VireidError(
            f'{folder}/{name}_cam*.mat: the features of {samples[lengths.argmax()].path} are too large to be compared',
            allowed='features of a length that float64 can hold',
            todo='look for what went wrong where the features were made',
        )
    unit = np.allclose(lengths, 1, atol=UNIT)
    raw = Embeddings(samples, features)
    embeddings, similarity = raw, None
    # of float64, cosine in float32 would lose digits that the official code has
    if not unit or features.dtype != np.float32:
        # what is all zeros stays so
        normal = features / np.where(lengths > 0, lengths, 1)[:, None]
        embeddings, similarity = Embeddings(samples, normal.astype(np.float32)), EuclideanDistance(raw)
    if not unit:
        notes.append(
            f'features are of length {lengths.min():.4g} to {lengths.max():.4g}, not 1: they are ranked by Euclidean '
            'distance as they are, as the official code does; re-ranking takes them at length 1'
        )
    permutation = _first(places, [PERMUTATION])
    protocol = {'type': 'sysu/official'} | ({'permutation': str(permutation)} if permutation else {})
    about = {'experiment': name, 'data': f'features from {folder}', 'protocol': protocol}
    return MatlabFeatures(embeddings, about, str(data_root or folder), similarity, notes, listed)


def export(saved: SavedFeatures, folder: Path) -> list[Path]:
    """Writes a MATLAB file for each camera, as SYSU-MM01's official evaluation reads them.

    `NAME_camN.mat` holds `feature`, a cell for each identity from 1 on; `feature{id}(i, :)` is the embedding of the
    identity's i-th image on that camera, by file name. Embeddings have length 1, so the code's Euclidean distance
    ranks as cosine similarity does.

    Raises:
        VireidError: if identities cannot be places in a cell array.
    """
    from scipy.io import savemat

    samples = sorted(saved.embeddings.samples, key=lambda s: s.path)
    identities = [s.identity for s in samples]
    if min(identities) < 1 or max(identities) > 99_999:
        raise VireidError(
            f'identities are {min(identities)} to {max(identities)}, and the MATLAB code counts from 1',
            allowed="features of SYSU-MM01 or of a dataset in its layout, with the reader's own identities",
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
    """Returns the name of the files to read, and makes sure that there is one of each camera."""
    found: dict[str, set[int]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = FILE.fullmatch(path.name)
        if match and path.is_file():
            found.setdefault(match[1], set()).add(int(match[2]))
    names = ', '.join(map(repr, found))
    if not found:
        raise VireidError(
            f'{folder} holds no features',
            allowed="NAME_cam1.mat ... NAME_cam6.mat, as SYSU-MM01's official code reads them",
            todo='name their folder, or a file that `vireid test --save-features` wrote',
        )
    if name is None and len(found) > 1:
        raise VireidError(f'{folder} holds features of several names', allowed=names, todo='choose one by --name')
    if name is None:
        name = next(iter(found))
    if name not in found:
        raise VireidError(f'{folder} holds no features named {name!r}{did_you_mean(name, found)}', allowed=names)
    missing = [f'{name}_cam{camera}.mat' for camera in CAMERAS if camera not in found[name]]
    if missing:
        raise VireidError(
            f'{folder} lacks {", ".join(missing)}',
            allowed='a file for each of the six cameras',
            todo='put it there; for a camera without images, with empty cells',
        )
    return name


def _read_camera(
    path: Path, camera: int, identities: Sequence[int] | None, other: np.ndarray | None
) -> dict[Sample, np.ndarray]:
    """Returns the (D,) feature of each image of a camera, by sample.

    Args:
        path: the file.
        camera: its number.
        identities: whose; None is everybody's.
        other: a feature of another camera, if there is one.
    """
    wanted = None if identities is None else set(identities)
    rows: dict[Sample, np.ndarray] = {}
    for identity, found in enumerate(_read_cells(path, 'feature'), start=1):
        empty = not found if isinstance(found, list) else np.size(found) == 0
        if empty or (wanted is not None and identity not in wanted):
            continue
        where = f'{path}, identity {identity}'
        if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in 'fiu':
            raise VireidError(f'{where}: the cell holds no real matrix', allowed='a row of numbers for each image')
        if len(rows) + len(found) > MOST:
            raise VireidError(f'{where}: there are more than {MOST:,} features', allowed='a row for each image')
        if other is not None and found.shape[1] != len(other):
            raise VireidError(
                f'{where}: features are of {counted(found.shape[1], "number")}, and those before of {len(other)}',
                allowed='features of one length',
            )
        bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(bad):
            raise VireidError(
                f'{where}: NaN or infinity in {len(bad)} of {counted(len(found), "feature")}, the first is image '
                f'{bad[0] + 1}',
                todo='look for it where the features were made',
            )
        for number, row in enumerate(found, start=1):
            rows[Sample(f'cam{camera}/{identity:04d}/{number:04d}.jpg', identity, camera, CAMERAS[camera])] = row
        other = found[0]
    return rows


def _read_permutation(path: Path) -> dict[tuple[int, int], int]:
    """Returns how many images `rand_perm_cam.mat` permutes, by identity and camera; none are left out."""
    found: dict[tuple[int, int], int] = {}
    for camera, cells in enumerate(_read_cells(path, 'rand_perm_cam'), start=1):
        if not isinstance(cells, list):
            raise VireidError(
                f'{path}: camera {camera} has no cell array',
                allowed='a cell for each camera, and in it one for each identity',
                todo="restore it from the authors' evaluation code",
            )
        found |= {
            (identity, camera): np.atleast_2d(rows).shape[1]
            for identity, rows in enumerate(cells, start=1)
            if isinstance(rows, np.ndarray) and rows.size
        }
    return found


@reads(
    'a MATLAB file', '*.mat',
    allowed='a .mat file with a cell array',
    todo="copy or write it again; if it is sound, save(..., '-v6') writes it without compression",
)  # fmt: skip
def _read_cells(path: Path, variable: str) -> list[Any]:
    return read_cell(path, variable)


@reads(
    'a list of identities', 'test_id.txt', 'test_id.mat',
    allowed='numbers separated by commas; in a .mat file, a variable `id`',
    todo="restore it from the dataset or the authors' evaluation code",
)  # fmt: skip
def _read_identities(path: Path) -> list[int]:
    """Reads test identities: numbers separated by commas, or a variable `id` of a MATLAB file."""
    found = read_variable(path, 'id') if path.suffix == '.mat' else read_text(path).replace(',', ' ').split()
    if found is None:
        raise ValueError('there is no variable `id`')
    numbers = np.asarray(found, dtype=np.float64).ravel()
    if not len(numbers) or (numbers < 1).any() or (numbers % 1 != 0).any():
        raise ValueError('these are not whole numbers from 1 on')
    return sorted({int(number) for number in numbers})


def _first(places: Sequence[Path], names: Sequence[str]) -> Path | None:
    return next((place / name for place in places for name in names if (place / name).is_file()), None)


def _listed(identities: Sequence[int]) -> str:
    shown = ', '.join(map(str, identities[:5])) + (', ...' if len(identities) > 5 else '')
    return f'{"identity" if len(identities) == 1 else "identities"} {shown}'
