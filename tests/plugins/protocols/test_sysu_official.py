"""The `official` family on SYSU-MM01: galleries from the authors' permutation file."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import DamagedFile, Mismatch, MissingFile, MissingKey, WrongContent, WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.datasets.sysu_mm01 import SYSUMM01
from vireid.plugins.protocols.sysu_agw import SYSUAgw
from vireid.plugins.protocols.sysu_official import SYSUOfficial

DRAWS = Path(__file__).parents[2] / 'fixtures' / 'sysu_official_draws.npz'


def write_permutation(path: Path, cells: dict[tuple[int, int], np.ndarray]) -> Path:
    """Writes `rand_perm_cam.mat` from (identity, camera) -> (10, n) numbers."""
    cameras = np.empty((6, 1), dtype=object)
    for camera in range(6):
        cameras[camera, 0] = np.empty((533, 1), dtype=object)
        for identity in range(533):
            cameras[camera, 0][identity, 0] = cells.get((identity + 1, camera + 1), np.empty((0, 0)))
    savemat(path, {'rand_perm_cam': cameras})
    return path


@pytest.fixture(scope='module')
def permutation(sysu: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the published draws: the first ten numbers of each row, for the test identities."""
    cells = {}
    for row in np.load(DRAWS)['draws'].astype(int):
        identity, camera, count = row[0] * 256 + row[1], row[2], row[3]
        number = sysu.counts['test'][identity][camera - 1]
        drawn = row[4:].reshape(10, 10)[:, :count]
        # the fixture has the first ten of each row; the order of the others does not matter
        rest = [[n for n in range(1, number + 1) if n not in first] for first in drawn]
        cells[identity, camera] = np.array([[*first, *more] for first, more in zip(drawn, rest, strict=True)])
    return write_permutation(tmp_path_factory.mktemp('official') / 'rand_perm_cam.mat', cells)


@pytest.fixture(scope='module')
def trials(sysu_root: Path, permutation: Path) -> list[Trial]:
    return SYSUOfficial(permutation=str(permutation)).trials(SYSUMM01(str(sysu_root)))


def digest(gallery: tuple[Sample, ...]) -> str:
    names = sorted('/'.join(Path(s.path).parts[-3:]) for s in gallery)
    return hashlib.sha1('\n'.join(names).encode()).hexdigest()


def test_all_forty_galleries_are_those_of_the_authors(trials: list[Trial], sysu: Any) -> None:
    found: dict[str, list[str]] = {}
    for trial in trials:
        found.setdefault(trial.name, []).append(digest(trial.gallery))
    assert found == sysu.official_galleries


def test_sizes_and_numbers_of_trials(trials: list[Trial]) -> None:
    assert Counter((t.name, len(t.gallery), len(t.query), t.cmc) for t in trials) == {
        ('all single-shot', 301, 3_803, 'identity'): 10,
        ('all multi-shot', 3_010, 3_803, 'identity'): 10,
        ('indoor single-shot', 112, 3_803, 'identity'): 10,
        ('indoor multi-shot', 1_120, 3_803, 'identity'): 10,
    }


def test_the_two_families_share_few_gallery_images(trials: list[Trial], sysu_root: Path) -> None:
    """Only 14 of 301 on average, which is why a table must name the family."""
    agw = SYSUAgw(['all']).trials(SYSUMM01(str(sysu_root)))
    official = [t for t in trials if t.name == 'all single-shot']
    shared = [len(set(a.gallery) & set(b.gallery)) for a, b in zip(agw, official, strict=True)]
    assert np.mean(shared) == pytest.approx(14, abs=1)


class Few:
    """Three images of one identity on camera 1, and one infrared image."""

    root = Path('/nowhere')

    def split(self, name: str) -> tuple[Sample, ...]:
        return (
            *(Sample(f'cam1/0001/{n:04d}.jpg', 1, 1, VISIBLE) for n in (1, 2, 3)),
            Sample('cam6/0001/0001.jpg', 1, 6, INFRARED),
        )


def test_single_is_the_first_and_multi_the_first_ten_of_a_row(tmp_path: Path) -> None:
    rows = np.array([[2, 3, 1], [3, 1, 2]] * 5)
    path = write_permutation(tmp_path / 'p.mat', {(1, 1): rows})
    single, multi = (
        SYSUOfficial(['all'], 2, [shots], str(path)).trials(Few())
        for shots in ('single', 'multi')  # type: ignore[list-item]
    )
    numbers = [[int(s.path[-8:-4]) for s in t.gallery] for t in (*single, *multi)]
    assert numbers == [[2], [3], [2, 3, 1], [3, 1, 2]]


def test_a_missing_permutation_says_where_it_goes_and_how_to_do_without() -> None:
    with pytest.raises(MissingFile) as caught:
        SYSUOfficial().trials(Few())
    for text in ('/nowhere/exp/rand_perm_cam.mat', 'github.com/wuancong/SYSU-MM01', "protocol.type='sysu/agw'"):
        assert text in str(caught.value)


def test_a_file_that_is_no_permutation_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'p.mat'
    for content in (b'', b'not matlab', b'MATLAB 5.0 MAT-file' + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match=str(path)):
            SYSUOfficial(permutation=str(path)).trials(Few())


def test_a_matlab_file_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'p.mat'
    for content, kind in (({'x': 1}, MissingKey), ({'rand_perm_cam': np.eye(6)}, WrongContent)):
        savemat(path, content)
        with pytest.raises(kind, match=f"{path}.*'rand_perm_cam'"):
            SYSUOfficial(permutation=str(path)).trials(Few())


@pytest.mark.parametrize(
    'rows', [np.ones((10, 3, 2)), np.array(['text']), np.ones((10, 3)) * np.nan, np.zeros((10, 0))]
)
def test_cells_of_something_else_are_no_permutations(tmp_path: Path, rows: np.ndarray) -> None:
    path = write_permutation(tmp_path / 'p.mat', {(1, 1): rows})
    with pytest.raises(Mismatch, match=str(path)):
        SYSUOfficial(permutation=str(path)).trials(Few())


def test_a_permutation_of_matlab_7_3_is_read_too(tmp_path: Path) -> None:
    h5py = pytest.importorskip('h5py')
    with h5py.File(tmp_path / 'p.mat', 'w') as file:
        rows = file.create_dataset('rows', data=np.tile([[2], [3], [1]], (1, 10)))  # transposed
        own = file.create_dataset('own', data=[[rows.ref]], dtype=h5py.ref_dtype)
        file.create_dataset('rand_perm_cam', data=[[own.ref] * 6], dtype=h5py.ref_dtype)
    (trial,) = SYSUOfficial(['all'], 1, ['multi'], str(tmp_path / 'p.mat')).trials(Few())
    assert [s.path[-8:-4] for s in trial.gallery] == ['0002', '0003', '0001']


def test_images_that_a_copy_lacks_are_named(tmp_path: Path) -> None:
    rows = np.tile(np.arange(4, 0, -1), (10, 1))
    path = write_permutation(tmp_path / 'p.mat', {(1, 1): rows})
    with pytest.raises(Mismatch, match=r' 4 .* identity 1 .* camera 1, .* 3\n'):
        SYSUOfficial(permutation=str(path)).trials(Few())


def test_an_image_of_ones_own_in_a_copy_is_noticed_whatever_its_name(tmp_path: Path) -> None:
    path = write_permutation(tmp_path / 'p.mat', {(1, 1): np.tile([2, 1], (10, 1))})
    with pytest.raises(Mismatch, match=r' 2 .* identity 1 .* camera 1, .* 3\n'):
        SYSUOfficial(permutation=str(path)).trials(Few())


@pytest.mark.parametrize('row', [[1, 2, 2], [0, 1, 2], [2, 3, 4]])
def test_rows_that_are_no_permutations_are_refused(tmp_path: Path, row: list[int]) -> None:
    path = write_permutation(tmp_path / 'p.mat', {(1, 1): np.tile(row, (10, 1))})
    with pytest.raises(Mismatch, match=r'identity 1 .* camera 1\n'):
        SYSUOfficial(permutation=str(path)).trials(Few())


def test_an_identity_the_file_does_not_know_is_named(tmp_path: Path) -> None:
    path = write_permutation(tmp_path / 'p.mat', {(2, 1): np.ones((10, 1))})
    with pytest.raises(Mismatch, match=r'identity 1 .* camera 1\n') as caught:
        SYSUOfficial(permutation=str(path)).trials(Few())
    assert "protocol.type='sysu/agw'" in str(caught.value)  # validation identities are not in the authors' file


def test_there_are_ten_rows() -> None:
    with pytest.raises(WrongValue, match='trials is 11'):
        create_manager().components.build('protocols', {'type': 'sysu/official', 'trials': 11}, where='protocol')
