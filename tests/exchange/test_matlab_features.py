"""MATLAB files of SYSU-MM01's official evaluation are read, ranked as its code does, and bad ones are refused."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from vireid.cli import main
from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import (
    DamagedFile,
    Mismatch,
    MissingFile,
    MissingKey,
    MissingPackage,
    NotFinite,
    UnsafeFile,
    VireidError,
    WrongContent,
)
from vireid.exchange import features, matlab_features
from vireid.exchange.matlab_features import MatlabFeatures
from vireid.plugins.protocols.sysu_official import SYSUOfficial

VISIBLE_CAMERAS = (1, 2, 4, 5)
IDENTITIES = (2, 5, 6)
EMPTY = np.zeros((0, 0))
Cells = dict[tuple[int, int], np.ndarray]  # (camera, identity) -> a row for each image


def images(camera: int, identity: int) -> int:
    """How many images there are: 12 on visible cameras, 3 on infrared ones; identity 5 was not at camera 4."""
    return 0 if (camera, identity) == (4, 5) else 12 if camera in VISIBLE_CAMERAS else 3


def make_cells(dtype: Any = np.float64, unit: bool = False) -> Cells:
    """Features of 3 identities, of lengths from about 1 to 10."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((7, 8))
    cells = {}
    for camera in range(1, 7):
        for identity in IDENTITIES:
            rows = centers[identity] + 1.5 * rng.standard_normal((images(camera, identity), 8))
            rows *= rng.uniform(0.3, 3, (len(rows), 1))
            cells[camera, identity] = (rows / np.linalg.norm(rows, axis=1, keepdims=True) if unit else rows).astype(
                dtype
            )
    return {place: rows for place, rows in cells.items() if len(rows)}


def write_mat(path: Path, cells: list[Any]) -> None:
    """Writes `feature`, 1 x N, as MATLAB 5 has it."""
    found = np.empty((1, len(cells)), dtype=object)
    for place, rows in enumerate(cells):
        found[0, place] = rows
    savemat(path, {'feature': found})


def write_hdf5(path: Path, cells: list[Any]) -> None:
    """Writes `feature`, 1 x N, as MATLAB 7.3 lays it out."""
    h5py = pytest.importorskip('h5py')
    with h5py.File(path, 'w', userblock_size=512) as file:
        references = file.create_dataset('feature', (len(cells), 1), dtype=h5py.ref_dtype)
        references.attrs['MATLAB_class'] = np.bytes_('cell')
        for place, rows in enumerate(cells):
            # the transpose; of an empty array, its sizes
            stored = file.create_dataset(
                f'#refs#/c{place}', data=rows.T if rows.size else np.array(rows.shape, dtype=np.uint64)
            )
            stored.attrs['MATLAB_class'] = np.bytes_('single' if rows.dtype == np.float32 else 'double')
            if not rows.size:
                stored.attrs['MATLAB_empty'] = np.uint8(1)
            references[place, 0] = stored.ref
    with path.open('r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64'.ljust(124) + b'\x00\x02IM')


def write(folder: Path, cells: Cells, name: str = 'mine', writer: Callable[..., None] = write_mat) -> Path:
    """Writes the six files."""
    folder.mkdir(exist_ok=True)
    for camera in range(1, 7):
        writer(folder / f'{name}_cam{camera}.mat', [cells.get((camera, i), EMPTY) for i in range(1, 7)])
    return folder


def write_permutation(
    folder: Path, count: Callable[[int, int], int] = images, ids: tuple[int, ...] = (2, 5, 6)
) -> Path:
    """Writes `rand_perm_cam.mat`."""
    rng = np.random.default_rng(1)
    cameras = np.empty((6, 1), dtype=object)
    for camera in range(1, 7):
        own = np.empty((max(ids), 1), dtype=object)
        for identity in range(1, max(ids) + 1):
            n = count(camera, identity) if identity in ids else 0
            rows = np.stack([rng.permutation(n) + 1 for _ in range(10)]) if n else np.zeros((10, 0))
            own[identity - 1, 0] = rows.astype(np.uint16)
        cameras[camera - 1, 0] = own
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / 'rand_perm_cam.mat', {'rand_perm_cam': cameras})
    return folder / 'rand_perm_cam.mat'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six files of features that are not of length 1, and the permutation beside them."""
    write_permutation(tmp_path / 'mat')
    return write(tmp_path / 'mat', make_cells())


def scored(words: list[str], result: Path, capsys: Any) -> tuple[dict[str, Any], str]:
    """The `result.json` and the output of `vireid score`."""
    assert main(['score', *words, '--result', str(result)]) == 0, capsys.readouterr().err
    return json.loads((result / 'result.json').read_text()), capsys.readouterr().out


class TestReading:
    def test_rows_become_images_by_identity_and_camera_visible_ones_first(self, folder: Path) -> None:
        found = matlab_features.load(folder)
        samples = found.split('test')
        assert [s.path for s in samples] == [
            f'cam{camera}/{identity:04d}/{number:04d}.jpg'
            for cameras in (VISIBLE_CAMERAS, (3, 6))
            for identity in IDENTITIES
            for camera in cameras
            for number in range(1, images(camera, identity) + 1)
        ]
        for sample in samples:
            assert sample.path.startswith(f'cam{sample.camera}/{sample.identity:04d}/')
            assert sample.modality == (VISIBLE if sample.camera in VISIBLE_CAMERAS else INFRARED)
        assert found.about['data'] == f'features from {folder}'
        assert found.about['experiment'] == 'mine'
        assert found.about['protocol'] == {
            'type': 'sysu/official', 'permutation': str(folder / 'rand_perm_cam.mat')
        }  # fmt: skip

    @pytest.mark.parametrize('writer', [write_mat, write_hdf5])
    @pytest.mark.parametrize('dtype', [np.float32, np.float64])
    def test_features_are_read_as_they_are_from_either_format(self, tmp_path: Path, writer: Any, dtype: Any) -> None:
        cells = make_cells(dtype)
        found = matlab_features.load(write(tmp_path / 'mat', cells, writer=writer))
        assert found.similarity is not None
        raw = found.similarity.raw.features
        assert raw.dtype == dtype
        number = {s: int(s.path[-8:-4]) - 1 for s in found.split('test')}
        assert (raw == [cells[s.camera, s.identity][n] for s, n in number.items()]).all()
        # and what re-ranking takes has length 1
        assert found.embeddings.features.dtype == np.float32
        assert np.allclose(np.linalg.norm(found.embeddings.features, axis=1), 1)

    def test_the_user_is_told_that_features_are_not_of_length_1(self, folder: Path, tmp_path: Path) -> None:
        told = 'not 1: they are ranked by Euclidean distance without normalization, as in the official code'
        assert told in matlab_features.load(folder).notes[1]
        unit = matlab_features.load(write(tmp_path / 'unit', make_cells(np.float32, unit=True)))
        assert unit.notes == ['3 identities, all in the files: no test_id.mat or test_id.txt found']
        assert unit.similarity is None

    def test_integers_and_features_of_zeros_alone_are_features_too(self, tmp_path: Path) -> None:
        cells: Cells = {place: np.rint(rows).astype(np.int16) for place, rows in make_cells().items()}
        cells[1, 2][0] = 0
        found = matlab_features.load(write(tmp_path / 'mat', cells))
        assert (found.embeddings.features[0] == 0).all()
        assert np.isfinite(found.embeddings.features).all()

    @pytest.mark.parametrize('shape', [(1, 6), (6, 1)])
    def test_a_cell_array_may_be_a_row_or_a_column(self, folder: Path, shape: tuple[int, int]) -> None:
        before = matlab_features.load(folder).embeddings.features
        path = folder / 'mine_cam2.mat'
        savemat(path, {'feature': loadmat(str(path))['feature'].reshape(shape)})
        assert (matlab_features.load(folder).embeddings.features == before).all()

    @pytest.mark.parametrize('name', ['test_id.mat', 'test_id.txt'])
    @pytest.mark.parametrize('place', ['root', 'root/exp', 'mat', 'mat/exp'])
    def test_only_test_identities_count_if_a_list_says_who_they_are(self, folder: Path, name: str, place: str) -> None:
        where = folder.parent / place
        where.mkdir(parents=True, exist_ok=True)
        if name.endswith('.mat'):
            savemat(where / name, {'id': np.array([[2, 6]])})
        else:
            (where / name).write_text('2,6')
        found = matlab_features.load(folder, data_root=folder.parent / 'root')
        assert {s.identity for s in found.split('test')} == {2, 6}
        assert found.notes[0] == f'2 identities, listed in {where / name}'

    def test_the_list_may_be_of_matlab_7_3(self, folder: Path) -> None:
        h5py = pytest.importorskip('h5py')
        with h5py.File(folder / 'test_id.mat', 'w') as file:
            file['id'] = np.array([[2.0], [6.0]])
        assert {s.identity for s in matlab_features.load(folder).split('test')} == {2, 6}

    def test_features_of_others_may_be_anything(self, tmp_path: Path) -> None:
        cells = make_cells()
        cells[1, 5][0, 0] = np.nan
        cells[2, 5] = np.ones((2, 99))
        folder = write(tmp_path / 'mat', cells)
        (folder / 'test_id.txt').write_text('2,6')
        assert {s.identity for s in matlab_features.load(folder).split('test')} == {2, 6}

    def test_the_folder_of_the_data_goes_before_that_of_the_features(self, folder: Path, tmp_path: Path) -> None:
        path = write_permutation(tmp_path / 'root')
        assert matlab_features.load(folder, data_root=tmp_path / 'root').about['protocol']['permutation'] == str(path)


class TestRoundTrip:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> Path:
        """A features file whose images are in the order in which datasets have them."""
        cells = make_cells(np.float32, unit=True)
        rows = {
            Sample(f'cam{c}/{i:04d}/{n + 1:04d}.jpg', i, c, VISIBLE if c in VISIBLE_CAMERAS else INFRARED): row
            for (c, i), found in cells.items()
            for n, row in enumerate(found)
        }
        samples = tuple(sorted(rows, key=lambda s: (s.modality != VISIBLE, s.identity, s.camera, s.path)))
        about = {'protocol': {'type': 'sysu/agw'}}
        features.save(tmp_path / 'f.npz', Embeddings(samples, np.stack([rows[s] for s in samples])), about, None)
        return tmp_path / 'f.npz'

    @pytest.mark.parametrize('protocol', ['sysu/official', 'sysu/agw'])
    @pytest.mark.parametrize('version', ['5', '7.3'])
    def test_exported_files_give_the_same_figures_to_the_last_bit(
        self, saved: Path, tmp_path: Path, capsys: Any, protocol: str, version: str
    ) -> None:
        write_permutation(tmp_path / 'root' / 'exp')
        words = ['--protocol', protocol, '--data-root', str(tmp_path / 'root'), '--rerank']
        first, _ = scored([str(saved), *words], tmp_path / 'a', capsys)
        assert main(['score', str(saved), '--matlab', str(tmp_path / 'mat')]) == 0
        if version == '7.3':
            for path in (tmp_path / 'mat').iterdir():
                write_hdf5(path, list(loadmat(str(path))['feature'][0]))
        capsys.readouterr()
        second, text = scored([str(tmp_path / 'mat'), *words], tmp_path / 'b', capsys)
        assert second['rows'] == first['rows']
        assert second['protocol'] == first['protocol'] == protocol
        assert second['data'] == f'features from {tmp_path / "mat"}'
        assert f'vireid, features from {tmp_path / "mat"}, in percent:\n{protocol}' in text

    def test_sysu_official_is_the_default(self, folder: Path, tmp_path: Path, capsys: Any) -> None:
        found, text = scored([str(folder)], tmp_path / 'r', capsys)
        assert found['protocol'] == 'sysu/official, Euclidean distance'
        assert f'permutation: {folder / "rand_perm_cam.mat"}\n' in text
        assert 'as in the official code' in text
        assert [row['name'] for row in found['rows']] == [
            f'{mode} {shot}-shot' for mode in ('all', 'indoor') for shot in ('single', 'multi')
        ]

    def test_re_ranking_and_options_work_as_with_a_file(self, folder: Path, tmp_path: Path, capsys: Any) -> None:
        words = [str(folder), '--rerank', '--cfg-options', 'protocol.modes=["all"]', 'protocol.shots=["single"]']
        found, _ = scored(words, tmp_path / 'r', capsys)
        assert [row['variant'] for row in found['rows']] == ['', 're-ranked (20, 6, 0.3) of cosine']
        assert found['rows'][0]['trials'] == 10


class TestOfficialEvaluation:
    """Each step as the authors' MATLAB code does it, in their order, from the features as they are."""

    @pytest.mark.parametrize(('mode', 'cameras'), [('all', (1, 2, 4, 5)), ('indoor', (1, 2))])
    @pytest.mark.parametrize(('shots', 'wanted'), [('single', 1), ('multi', 10)])
    @pytest.mark.parametrize('unit', [False, True])
    def test_the_same_figures(
        self, tmp_path: Path, mode: Any, cameras: tuple[int, ...], shots: Any, wanted: int, unit: bool
    ) -> None:
        cells = make_cells(unit=unit)
        folder = write(tmp_path / 'mat', cells)
        permutation = loadmat(str(write_permutation(folder)))['rand_perm_cam'][:, 0]
        location = {1: 1, 2: 2, 3: 2, 4: 4, 5: 5, 6: 6}
        rank_1, mean_ap = [], []
        for trial in range(10):
            gallery = [
                (cells[camera, identity][number - 1], identity, location[camera])
                for camera in cameras
                for identity in IDENTITIES
                if (camera, identity) in cells
                for number in permutation[camera - 1][identity - 1, 0][trial][:wanted]
            ]
            hits, precisions = [], []
            for camera in (3, 6):
                for identity in IDENTITIES:
                    for query in cells[camera, identity]:
                        kept = [g for g in gallery if g[2] != location[camera]]
                        kept.sort(key=lambda g, q=query: float(np.sqrt(((q - g[0]) ** 2).sum())))  # type: ignore[misc]
                        match = [g[1] == identity for g in kept]
                        if any(match):
                            places = [place for place, m in enumerate(match, 1) if m]
                            hits.append(match[0])
                            precisions.append(np.mean([n / place for n, place in enumerate(places, 1)]))
            rank_1.append(np.mean(hits))
            mean_ap.append(np.mean(precisions))
        found = matlab_features.load(folder)
        protocol = SYSUOfficial([mode], shots=[shots], permutation=str(folder / 'rand_perm_cam.mat'))
        trials = protocol.trials(found)
        results = score_trials(found.embeddings, protocol.name, trials, similarity=found.similarity)
        assert [scores.rank(1) for scores in results.scores] == rank_1
        assert [scores.mean_ap for scores in results.scores] == pytest.approx(mean_ap, abs=1e-12)

    def test_length_matters_so_figures_by_cosine_are_others(self, folder: Path) -> None:
        found = matlab_features.load(folder)
        trials = SYSUOfficial(['all'], 1, ['multi'], str(folder / 'rand_perm_cam.mat')).trials(found)
        official = score_trials(found.embeddings, '', trials, similarity=found.similarity)
        assert official.scores[0].mean_ap != score_trials(found.embeddings, '', trials).scores[0].mean_ap

    def test_distances_kept_from_other_trials_are_those_of_the_images(self, folder: Path) -> None:
        found = matlab_features.load(folder)
        trials = SYSUOfficial(permutation=str(folder / 'rand_perm_cam.mat')).trials(found)
        assert found.similarity is not None
        for trial in (*trials[::3], trials[0]):
            query, gallery = (found.similarity.raw.of(samples) for samples in (trial.query, trial.gallery))
            rows = found.similarity.similarity(query, gallery, trial)
            expected = -np.sqrt(((query[2:5, None] - gallery[None]) ** 2).sum(axis=2))
            assert rows(slice(2, 5)) == pytest.approx(expected, rel=1e-12)


class TestNames:
    def test_of_several_one_has_to_be_chosen(self, folder: Path, tmp_path: Path, capsys: Any) -> None:
        write(folder, make_cells(np.float32), name='other_net')
        assert main(['score', str(folder)]) == 2
        said = capsys.readouterr().err
        assert "allowed: 'mine', 'other_net'" in said
        assert '--name' in said
        text = scored([str(folder), '--name', 'other_net'], tmp_path / 'r', capsys)[1]
        assert 'other_net, features from' in text

    def test_a_misspelt_one_is_corrected(self, folder: Path) -> None:
        with pytest.raises(MissingFile, match=r"'mime'.*'mine'"):
            matlab_features.load(folder, 'mime')

    def test_a_features_file_has_no_names(self, tmp_path: Path, capsys: Any) -> None:
        assert main(['score', str(tmp_path / 'f.npz'), '--name', 'mine']) == 2
        assert 'is not a folder' in capsys.readouterr().err

    def test_what_is_matlab_already_is_not_exported(self, folder: Path, tmp_path: Path, capsys: Any) -> None:
        assert main(['score', str(folder), '--matlab', str(tmp_path / 'new')]) == 2
        assert 'already holds MATLAB files' in capsys.readouterr().err


class TestRefused:
    def refused(self, folder: Path, kind: type[VireidError], *facts: str) -> None:
        with pytest.raises(kind) as caught:
            matlab_features.load(folder)
        for fact in facts:
            assert fact in str(caught.value)

    @pytest.mark.parametrize('files', [[], ['notes.txt', 'mine_cam7.mat', 'mine.mat']])
    def test_a_folder_with_nothing(self, tmp_path: Path, capsys: Any, files: list[str]) -> None:
        for name in files:
            (tmp_path / name).touch()
        assert main(['score', str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert f'{tmp_path} contains no features' in said
        assert 'NAME_cam1.mat ... NAME_cam6.mat' in said

    def test_a_missing_camera(self, folder: Path) -> None:
        (folder / 'mine_cam4.mat').unlink()
        (folder / 'mine_cam6.mat').unlink()
        self.refused(folder, MissingFile, 'mine_cam4.mat, mine_cam6.mat')

    @pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize('writer', [write_mat, write_hdf5])
    def test_nan_and_infinity(self, tmp_path: Path, writer: Any, bad: float) -> None:
        cells = make_cells()
        cells[3, 5][1:, 4] = bad
        folder = write(tmp_path / 'mat', cells, writer=writer)
        self.refused(folder, NotFinite, 'mine_cam3.mat, identity 5', '2 of 3', 'image 2')

    def test_features_of_another_length(self, tmp_path: Path) -> None:
        cells = make_cells()
        cells |= {place: rows[:, :7] for place, rows in cells.items() if place[0] == 4}
        folder = write(tmp_path / 'mat', cells)
        self.refused(folder, WrongContent, 'mine_cam4.mat, identity 2', ' 7 ', ' 8')

    def test_features_of_another_length_within_a_camera(self, tmp_path: Path) -> None:
        cells = make_cells()
        cells[1, 6] = cells[1, 6][:, :1]
        folder = write(tmp_path / 'mat', cells)
        self.refused(folder, WrongContent, 'mine_cam1.mat, identity 6', ' 1 ', ' 8')

    def test_features_too_large_to_have_a_length(self, tmp_path: Path) -> None:
        cells = make_cells()
        cells[4, 2][2] = 1e300
        self.refused(write(tmp_path / 'mat', cells), NotFinite, 'cam4/0002/0003.jpg', 'float64')

    @pytest.mark.parametrize('content', [np.array(['text']), np.eye(8) * 1j, {'a': 1}, np.ones((2, 2, 2))])
    def test_a_cell_without_a_matrix(self, folder: Path, content: Any) -> None:
        path = folder / 'mine_cam1.mat'
        write_mat(path, [EMPTY, content])
        self.refused(folder, WrongContent, 'mine_cam1.mat, identity 2')

    @pytest.mark.parametrize('inner', [[np.ones((1, 8)), np.ones((2, 8))], [np.ones((1, 8))]])
    def test_a_cell_of_cells(self, folder: Path, inner: list[np.ndarray]) -> None:
        cells = np.empty((1, len(inner)), dtype=object)
        for place, rows in enumerate(inner):
            cells[0, place] = rows
        write_mat(folder / 'mine_cam1.mat', [EMPTY, cells])
        self.refused(folder, WrongContent, 'mine_cam1.mat, identity 2')

    def test_empty_text_and_an_empty_cell_array_are_empty_cells(self, folder: Path) -> None:
        write_mat(folder / 'mine_cam1.mat', [np.array(['']), np.empty((0, 0), dtype=object), np.ones((1, 8))])
        assert [s.path for s in matlab_features.load(folder).split('test') if s.camera == 1] == ['cam1/0003/0001.jpg']

    def test_more_rows_than_anybody_has_images(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(matlab_features, 'MAX_FEATURES', 30)  # there are 36 on camera 1, of which identity 6 has 12
        self.refused(folder, UnsafeFile, 'mine_cam1.mat, identity 6', ' 30 ')

    @pytest.mark.parametrize('writer', [write_mat, write_hdf5])
    def test_empty_cells_alone(self, tmp_path: Path, writer: Any) -> None:
        self.refused(write(tmp_path / 'mat', {}, writer=writer), WrongContent, 'mine_cam*.mat')

    @pytest.mark.parametrize('writer', [write_mat, write_hdf5])
    @pytest.mark.parametrize('part', [0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    def test_a_torn_file(self, tmp_path: Path, writer: Any, part: float) -> None:
        path = write(tmp_path / 'mat', make_cells(), writer=writer) / 'mine_cam2.mat'
        content = path.read_bytes()
        path.write_bytes(content[: int(part * len(content))])
        self.refused(tmp_path / 'mat', DamagedFile, str(path))

    def test_a_file_of_something_else(self, folder: Path) -> None:
        for content in (b'version https://git-lfs.github.com/spec/v1', b'MATLAB 7.3', b'\x89HDF\r\n\x1a\n', bytes(500)):
            (folder / 'mine_cam5.mat').write_bytes(content)
            self.refused(folder, DamagedFile, 'mine_cam5.mat')

    def test_no_feature_in_it(self, folder: Path) -> None:
        savemat(folder / 'mine_cam1.mat', {'features': np.ones((2, 2))})
        self.refused(folder, MissingKey, 'mine_cam1.mat', "'feature'")

    @pytest.mark.parametrize('content', [np.ones((3, 8)), {'a': 1}, 'text'])
    def test_a_feature_that_is_no_cell_array(self, folder: Path, content: Any) -> None:
        savemat(folder / 'mine_cam1.mat', {'feature': content})
        self.refused(folder, WrongContent, 'mine_cam1.mat', "'feature'")

    def test_the_same_in_hdf5(self, folder: Path) -> None:
        h5py = pytest.importorskip('h5py')
        path = folder / 'mine_cam1.mat'
        for name, kind in (('features', MissingKey), ('feature', WrongContent)):
            with h5py.File(path, 'w') as file:
                file[name] = np.ones((3, 8))
            self.refused(folder, kind, 'mine_cam1.mat', "'feature'")
        with h5py.File(path, 'w') as file:
            file.create_group('feature')
        self.refused(folder, WrongContent, 'mine_cam1.mat', "'feature'")
        with h5py.File(path, 'w') as file:  # references to nothing
            file.create_dataset('feature', (2, 1), dtype=h5py.ref_dtype)
        self.refused(folder, DamagedFile, 'mine_cam1.mat')

    @pytest.mark.parametrize('writer', [write_mat, write_hdf5])
    def test_a_table_of_cells(self, folder: Path, writer: Any) -> None:
        path = folder / 'mine_cam1.mat'
        if writer is write_mat:
            cells = np.empty((3, 2), dtype=object)
            cells[:] = [[EMPTY] * 2] * 3
            savemat(path, {'feature': cells})
        else:
            h5py = pytest.importorskip('h5py')
            with h5py.File(path, 'w') as file:
                file.create_dataset('feature', (2, 3), dtype=h5py.ref_dtype)
        self.refused(folder, WrongContent, 'mine_cam1.mat', '1 x N or N x 1')

    def test_matlab_7_3_without_h5py(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / 'mat', make_cells(), writer=write_hdf5)
        monkeypatch.setitem(sys.modules, 'h5py', None)
        self.refused(tmp_path / 'mat', MissingPackage, 'h5py', 'vireid[matlab]', "'-v7'")

    def test_a_list_that_names_others(self, folder: Path) -> None:
        (folder / 'test_id.txt').write_text('1,2,5,6,9')
        self.refused(folder, Mismatch, str(folder / 'test_id.txt'), '1, 9')

    def test_a_matlab_file_without_a_list(self, folder: Path) -> None:
        savemat(folder / 'test_id.mat', {'ids': np.array([[2, 6]])})
        self.refused(folder, DamagedFile, 'test_id.mat', '`id`')

    @pytest.mark.parametrize('content', ['', '2;5', '0,2', '2.5', '-1'])
    def test_a_list_of_something_else(self, folder: Path, content: str) -> None:
        (folder / 'test_id.txt').write_text(content)
        self.refused(folder, DamagedFile, 'test_id.txt')

    def test_a_torn_list(self, folder: Path) -> None:
        (folder / 'test_id.mat').write_bytes(b'MATLAB 5.0')
        self.refused(folder, DamagedFile, 'test_id.mat')


class TestPermutation:
    def found(self, folder: Path, path: Path) -> tuple[MatlabFeatures, dict[str, Any]]:
        return matlab_features.load(folder), {'type': 'sysu/official', 'permutation': str(path)}

    def refused(self, folder: Path, path: Path, kind: type[VireidError], *facts: str) -> None:
        found, protocol = self.found(folder, path)
        with pytest.raises(kind, match=re.escape(str(path))) as caught:
            found.require_permutation(protocol)
        for fact in facts:
            assert fact in str(caught.value)

    def test_one_that_fits_may_know_more_identities(self, folder: Path, tmp_path: Path) -> None:
        more = write_permutation(
            tmp_path / 'more', lambda camera, identity: images(camera, identity), (1, 2, 3, 5, 6, 8)
        )
        for path in (folder / 'rand_perm_cam.mat', more):
            found, protocol = self.found(folder, path)
            found.require_permutation(protocol)

    def test_one_of_other_identities(self, folder: Path, tmp_path: Path, capsys: Any) -> None:
        path = write_permutation(tmp_path / 'other', ids=(1, 2, 7))
        self.refused(folder, path, Mismatch, 'identities 5, 6')
        assert main(['score', str(folder), '--data-root', str(tmp_path / 'other')]) == 2
        assert 'has no permutation' in capsys.readouterr().err

    def test_one_of_more_images_than_there_are_features(self, folder: Path, tmp_path: Path) -> None:
        for camera, has in ((2, 12), (3, 3)):  # of gallery and queries
            path = write_permutation(
                tmp_path / f'p{camera}', lambda c, i, camera=camera: images(c, i) + ((c, i) == (camera, 6))
            )
            self.refused(folder, path, Mismatch, 'identity 6', f' {has} ', f'camera {camera}', f' {has + 1} ')

    def test_one_of_fewer_images(self, folder: Path, tmp_path: Path) -> None:
        path = write_permutation(tmp_path / 'p', lambda c, i: images(c, i) - ((c, i) == (5, 2)))
        self.refused(folder, path, Mismatch, 'identity 2', ' 12 ', 'camera 5', ' 11 ')

    def test_a_camera_without_features_of_an_identity(self, folder: Path, tmp_path: Path) -> None:
        path = write_permutation(tmp_path / 'p', lambda c, i: 4 if (c, i) == (4, 5) else images(c, i))
        self.refused(folder, path, Mismatch, 'identity 5', ' 0 ', 'camera 4', ' 4 ')

    def test_one_that_is_something_else(self, folder: Path, tmp_path: Path) -> None:
        path = tmp_path / 'rand_perm_cam.mat'
        path.write_bytes(b'nothing of MATLAB')
        self.refused(folder, path, DamagedFile)
        savemat(path, {'other': 1})
        self.refused(folder, path, MissingKey, "'rand_perm_cam'")
        cells = np.empty((6, 1), dtype=object)
        cells[:, 0] = [np.ones((2, 2))] * 6
        savemat(path, {'rand_perm_cam': cells})
        self.refused(folder, path, WrongContent, 'camera 1')
        inner = np.empty((6, 1), dtype=object)
        inner[:, 0] = ['text', np.array([EMPTY, np.ones(2)], dtype=object), EMPTY, EMPTY, 'text', np.ones((10, 3))]
        cells[:, 0] = [inner] * 6
        savemat(path, {'rand_perm_cam': cells})
        self.refused(folder, path, Mismatch, 'identities 2, 5')

    def test_other_protocols_read_none(self, folder: Path, tmp_path: Path, capsys: Any) -> None:
        (folder / 'rand_perm_cam.mat').write_bytes(b'nothing of MATLAB')
        found, _ = scored([str(folder), '--protocol', 'sysu/agw'], tmp_path / 'r', capsys)
        assert found['protocol'] == 'sysu/agw, Euclidean distance'

    def test_without_one_the_official_protocol_says_where_to_put_it(self, folder: Path, capsys: Any) -> None:
        (folder / 'rand_perm_cam.mat').unlink()
        assert main(['score', str(folder)]) == 2
        said = capsys.readouterr().err
        assert f'needs the permutation {folder / "exp" / "rand_perm_cam.mat"}' in said
        assert 'github.com/wuancong/SYSU-MM01' in said
