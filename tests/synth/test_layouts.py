"""Folders, names and lists are those of the real data sets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vireid.plugins.datasets.folders import Folders
from vireid.plugins.datasets.manifest import Manifest
from vireid.plugins.datasets.sysu_mm01 import SYSUMM01
from vireid.plugins.protocols.cross import Cross
from vireid.plugins.protocols.sysu_official import SYSUOfficial
from vireid.synth import synthesize

VISIBLE, INFRARED = (1, 2, 4, 5), (3, 6)


def _ids(folder: Path, split: str) -> list[int]:
    text = (folder / 'exp' / f'{split}_id.txt').read_text()
    assert text.count('\n') == 1
    assert text.endswith('\n')
    return [int(number) for number in text.split(',')]


def test_sysu_lists_are_one_line_each_and_part_the_identities(sysu):
    splits = {split: _ids(sysu, split) for split in ('train', 'val', 'test')}
    assert {split: len(ids) for split, ids in splits.items()} == {'train': 5, 'val': 1, 'test': 2}
    assert sorted(number for ids in splits.values() for number in ids) == list(range(1, 9))


def test_sysu_folders_and_names(sysu):
    names = [str(path.relative_to(sysu)) for path in sysu.rglob('*.jpg')]
    assert all(re.fullmatch(r'cam[1-6]/\d{4}/\d{4}\.jpg', name) for name in names)
    for folder in sysu.glob('cam*/*'):
        assert sorted(path.name for path in folder.iterdir()) == ['0001.jpg', '0002.jpg']


def test_every_sysu_identity_has_both_modalities_and_an_answer_for_camera_3(sysu):
    for identity in range(1, 9):
        cameras = {number for number in range(1, 7) if (sysu / f'cam{number}' / f'{identity:04d}').is_dir()}
        assert cameras & set(INFRARED)
        assert cameras & {1, 4, 5}


@pytest.mark.parametrize('camera', range(1, 7))
def test_sysu_pictures_have_hue_in_visible_cameras_only(sysu, camera):
    pictures = sorted(sysu.glob(f'cam{camera}/*/*.jpg'))
    assert pictures
    for path in pictures:
        image = Image.open(path)
        assert image.mode == 'RGB'
        assert 1.9 < image.height / image.width < 2.7
        pixels = np.asarray(image, dtype=np.int16)
        spread = (pixels.max(axis=2) - pixels.min(axis=2)).mean()
        assert spread == 0 if camera in INFRARED else spread > 5


def test_regdb_lists(regdb):
    for trial in range(1, 11):
        halves = []
        for split in ('train', 'test'):
            lists = {}
            for sensor in ('visible', 'thermal'):
                lines = (regdb / 'idx' / f'{split}_{sensor}_{trial}.txt').read_text().splitlines()
                assert len(lines) == 30
                pairs = [
                    re.fullmatch(rf'({sensor.title()}/(\d+)/\w+_{sensor[0]}_\d{{5}}_\2\.bmp) (\d+)', x) for x in lines
                ]
                assert all(pairs)
                assert all((regdb / pair[1]).is_file() for pair in pairs)
                assert [int(pair[3]) for pair in pairs] == [label for label in range(3) for _ in range(10)]
                lists[sensor] = [pair[2] for pair in pairs]
            assert lists['visible'] == lists['thermal']
            halves.append(set(lists['visible']))
        assert len(halves[0]) == len(halves[1]) == 3
        assert not halves[0] & halves[1]


def test_regdb_trials_differ(regdb):
    assert len({(regdb / 'idx' / f'train_visible_{trial}.txt').read_text() for trial in range(1, 11)}) > 3


def test_regdb_pictures(regdb):
    for sensor in ('Visible', 'Thermal'):
        pictures = sorted(regdb.glob(f'{sensor}/*/*.bmp'))
        assert len(pictures) == 60
        for path in pictures:
            image = Image.open(path)
            assert (image.mode, image.size) == ('RGB', (64, 128))
            pixels = np.asarray(image, dtype=np.int16)
            spread = (pixels.max(axis=2) - pixels.min(axis=2)).mean()
            assert spread == 0 if sensor == 'Thermal' else spread > 5


def test_llcm_lists_and_folders(llcm):
    test = [int(number) for number in (llcm / 'idx' / 'test_id.txt').read_text().split(',')]
    assert len(test) == 2
    trained = {}
    for short in ('vis', 'nir'):
        lines = (llcm / 'idx' / f'train_{short}.txt').read_text().splitlines()
        pairs = [re.fullmatch(rf'({short}/(\d{{4}})/\2_c\d\d_\d{{4}}\.jpg) (\d+)', line) for line in lines]
        assert all(pairs)
        assert all((llcm / pair[1]).is_file() for pair in pairs)
        trained[short] = [(int(pair[2]), int(pair[3])) for pair in pairs]
    assert set(trained['vis']) == set(trained['nir'])
    assert {label for _, label in trained['vis']} == {0, 1, 2, 3}
    assert not {identity for identity, _ in trained['vis']} & set(test)
    for short in ('vis', 'nir'):
        for identity in test:
            cameras = {p.parent.name for p in llcm.glob(f'test_{short}/cam*/{identity:04d}')}
            assert len(cameras) >= 2  # a query does not count the camera of its own number
    assert not (llcm / 'test_nir' / 'cam3').exists()


def test_llcm_pictures_have_hue_in_visible_ones_only(llcm):
    for short in ('vis', 'nir'):
        for path in [*llcm.glob(f'{short}/*/*.jpg'), *llcm.glob(f'test_{short}/*/*/*.jpg')]:
            pixels = np.asarray(Image.open(path), dtype=np.int16)
            spread = (pixels.max(axis=2) - pixels.min(axis=2)).mean()
            assert spread == 0 if short == 'nir' else spread > 5


def test_sysu_permutations_fit_the_official_protocol(sysu):
    protocol = SYSUOfficial(shots=['single', 'multi'])
    dataset = SYSUMM01(str(sysu))
    trials = protocol.trials(dataset)
    assert len(trials) == 40
    cells = {(s.identity, s.camera) for s in dataset.split('test') if s.modality == 'visible'}
    for trial in trials[:20]:  # all-search
        wanted = 1 if 'single' in trial.name else 2  # there are 2 pictures in each cell
        assert len(trial.gallery) == wanted * len(cells)
    assert len({trial.gallery for trial in trials[:10]}) > 5
    # nothing in the file tells when it was written
    assert (sysu / 'exp/rand_perm_cam.mat').read_bytes()[:116].strip() == (
        b'MATLAB 5.0 MAT-file, written by vireid data synth'
    )


@pytest.mark.parametrize(('layout', 'reader'), [('folders', Folders), ('manifest', Manifest)])
def test_ones_own_layouts_hold_the_same_pictures(few, tmp_path, layout, reader):
    synthesize(tmp_path / 'own', layout=layout, ids=5, seed=3, images=1, workers=1)
    own, reference = reader(str(tmp_path / 'own')), SYSUMM01(str(few))
    for split in ('train', 'test'):
        found = own.split(split)
        expected = reference.split(split)
        if layout == 'manifest' and split == 'train':
            found = [*found, *own.split('val')]
        for modality in ('visible', 'infrared'):
            ours, theirs = (
                sorted((s.identity, Path(s.path).read_bytes()) for s in some if s.modality == modality)
                for some in (found, expected)
            )
            assert ours == theirs
    assert len(Cross().trials(own)) == 2
