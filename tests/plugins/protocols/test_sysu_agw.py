"""The `agw` family on SYSU-MM01: the same galleries as the original code, drawn from a tree of the real size."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.datasets.sysu_mm01 import SYSUMM01
from vireid.plugins.protocols.sysu import drop_same_place
from vireid.plugins.protocols.sysu_agw import SYSUAgw

STRAYS = ('Thumbs.db', '.DS_Store', 'desktop.ini', '._0001.jpg', '0000.txt')


@pytest.fixture(scope='module')
def trials(sysu_root: Path) -> list[Trial]:
    return SYSUAgw().trials(SYSUMM01(str(sysu_root)))


@pytest.fixture
def littered_root(sysu_root: Path) -> Iterator[Path]:
    """The same tree with stray files in every folder, which are removed afterwards."""
    folders = [sysu_root, *sysu_root.glob('*'), *(p for c in (1, 2, 3, 4, 5, 6) for p in sysu_root.glob(f'cam{c}/*'))]
    litter = [folder / name for folder in folders for name in STRAYS]
    for path in litter:
        path.write_bytes(b'stray')
    yield sysu_root
    for path in litter:
        path.unlink()


def digest(gallery: tuple[Sample, ...]) -> str:
    names = ['/'.join(Path(s.path).parts[-3:]) for s in gallery]
    return hashlib.sha1('\n'.join(names).encode()).hexdigest()


def digests(trials: list[Trial]) -> dict[str, list[str]]:
    """Returns row -> trial -> digest of the gallery."""
    return {
        name: [digest(t.gallery) for t in sorted(trials, key=lambda t: t.index) if t.name == name]
        for name in dict.fromkeys(t.name for t in trials)
    }


class Few:
    """A dataset with the given samples."""

    def __init__(self, *samples: Sample) -> None:
        self.samples = samples

    def split(self, name: str) -> tuple[Sample, ...]:
        return {'test': self.samples}[name]


def visible(identity: int, camera: int, number: int) -> Sample:
    return Sample(f'cam{camera}/{identity:04d}/{number:04d}.jpg', identity, camera, VISIBLE)


def infrared(identity: int, camera: int) -> Sample:
    return Sample(f'cam{camera}/{identity:04d}/0001.jpg', identity, camera, INFRARED)


def test_all_twenty_galleries_are_those_of_the_fields_code(trials: list[Trial], sysu: Any) -> None:
    assert digests(trials) == sysu.agw_galleries


def test_there_are_ten_trials_of_each_mode(trials: list[Trial]) -> None:
    assert Counter(t.name for t in trials) == {'all single-shot': 10, 'indoor single-shot': 10}
    assert {t.index for t in trials} == set(range(10))


def test_all_search_draws_301_images_and_indoor_search_112(trials: list[Trial]) -> None:
    assert {(t.name, len(t.gallery)) for t in trials} == {('all single-shot', 301), ('indoor single-shot', 112)}


def test_every_trial_has_the_3803_infrared_queries_of_cameras_3_and_6(trials: list[Trial]) -> None:
    for trial in trials:
        assert len(trial.query) == 3_803
        assert {(s.camera, s.modality) for s in trial.query} == {(3, INFRARED), (6, INFRARED)}


def test_galleries_are_visible_with_one_image_of_each_identity_and_camera(trials: list[Trial]) -> None:
    for trial in trials:
        cells = [(s.identity, s.camera) for s in trial.gallery]
        assert cells == sorted(set(cells))
        assert {s.modality for s in trial.gallery} == {VISIBLE}
        assert {s.camera for s in trial.gallery} == ({1, 2, 4, 5} if trial.name.startswith('all') else {1, 2})


def test_cmc_counts_identities_and_camera_2_is_dropped_for_camera_3(trials: list[Trial]) -> None:
    assert {(t.cmc, t.drop) for t in trials} == {('identity', drop_same_place)}


def test_2208_indoor_queries_have_a_match_left_and_all_3803_of_all_search(trials: list[Trial]) -> None:
    for trial in trials:
        gallery: dict[int, set[int]] = {}
        for sample in trial.gallery:
            gallery.setdefault(sample.identity, set()).add(sample.camera)
        valid = sum(bool(gallery.get(s.identity, set()) - ({2} if s.camera == 3 else set())) for s in trial.query)
        assert valid == (3_803 if trial.name.startswith('all') else 2_208)


def test_drop_rule_by_hand() -> None:
    dropped = drop_same_place(
        query_ids=np.array([[1], [1], [2]]),
        query_cameras=np.array([[3], [6], [3]]),
        gallery_ids=np.array([[1, 1, 2, 3]]),
        gallery_cameras=np.array([[1, 2, 2, 4]]),
    )
    assert dropped.tolist() == [[False, True, True, False], [False] * 4, [False, True, True, False]]


def test_stray_files_do_not_shift_the_draw(littered_root: Path, sysu: Any) -> None:
    found = SYSUAgw().trials(SYSUMM01(str(littered_root)))
    assert digests(found) == sysu.agw_galleries
    assert {len(t.query) for t in found} == {3_803}


@pytest.mark.parametrize('given', ['cam1/cam2/data', 'cam1/cam2/data/', './cam1/../cam1/cam2/data'])
def test_the_draw_does_not_depend_on_how_the_root_is_written(
    sysu_root: Path, sysu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    (tmp_path / 'cam1' / 'cam2').mkdir(parents=True)
    (tmp_path / 'cam1' / 'cam2' / 'data').symlink_to(sysu_root)
    monkeypatch.chdir(tmp_path)
    assert digests(SYSUAgw().trials(SYSUMM01(given))) == sysu.agw_galleries


def test_modes_and_trials_choose_among_the_same_draws(sysu_root: Path, sysu: Any) -> None:
    found = SYSUAgw(modes=['indoor'], trials=3).trials(SYSUMM01(str(sysu_root)))
    assert [(t.name, t.index, digest(t.gallery)) for t in found] == [
        ('indoor single-shot', index, sysu.agw_galleries['indoor single-shot'][index]) for index in range(3)
    ]


def test_multi_shot_draws_up_to_ten_different_images_of_each_identity_and_camera(sysu_root: Path) -> None:
    found = SYSUAgw(shots=['multi'], trials=2).trials(SYSUMM01(str(sysu_root)))
    assert {(t.name, len(t.gallery)) for t in found} == {('all multi-shot', 3_010), ('indoor multi-shot', 1_120)}
    for trial in found:
        assert len(set(trial.gallery)) == len(trial.gallery)
    few = Few(*(visible(1, 1, n) for n in range(1, 4)), infrared(1, 6))
    (trial,) = SYSUAgw(['all'], 1, ['multi']).trials(few)
    assert len(set(trial.gallery)) == 3


def test_the_global_random_state_is_neither_read_nor_moved(sysu_root: Path, sysu: Any) -> None:
    reader = SYSUMM01(str(sysu_root))
    for seed in (0, 1):
        random.seed(seed)
        np.random.seed(seed)
        before = random.getstate(), str(np.random.get_state())
        assert digests(SYSUAgw().trials(reader)) == sysu.agw_galleries
        assert (random.getstate(), str(np.random.get_state())) == before


def test_the_draw_follows_identity_then_camera_then_file_name_not_the_order_of_samples() -> None:
    cells = [(7, 1), (7, 2), (12, 1), (12, 4), (12, 5)]
    samples = [visible(i, c, n) for i, c in cells for n in range(1, 6)]
    draw = random.Random(4)
    expected = [draw.choice([f'cam{c}/{i:04d}/{n:04d}.jpg' for n in range(1, 6)]) for i, c in cells]
    for order in (samples, samples[::-1], sorted(samples, key=lambda s: s.path)):
        found = SYSUAgw(['all'], 5).trials(Few(*order, infrared(7, 3)))
        assert [s.path for s in found[4].gallery] == expected


def test_an_identity_missing_on_a_camera_has_no_image_of_it_in_the_gallery() -> None:
    data = Few(visible(1, 1, 1), visible(1, 5, 1), visible(2, 4, 1), infrared(1, 6), infrared(2, 3))
    everywhere, indoor = SYSUAgw(trials=1).trials(data)
    assert [(s.identity, s.camera) for s in everywhere.gallery] == [(1, 1), (1, 5), (2, 4)]
    assert [(s.identity, s.camera) for s in indoor.gallery] == [(1, 1)]


def test_the_protocol_tells_its_family() -> None:
    assert SYSUAgw.name == 'sysu/agw'


@pytest.mark.parametrize(
    ('arguments', 'fact'),
    [
        ({'modes': ()}, 'modes'),
        ({'shots': ()}, 'shots'),
        ({'modes': ('all', 'all')}, "modes .*'all'"),
        ({'shots': ['multi', 'single', 'multi']}, "shots .*'multi'"),
        ({'trials': 0}, 'trials is 0'),
        ({'trials': 1001}, 'trials is 1001'),
    ],
)
def test_nothing_or_something_twice_is_refused(arguments: dict[str, Any], fact: str) -> None:
    with pytest.raises(WrongValue, match=fact):
        create_manager().components.build('protocols', {'type': 'sysu/agw', **arguments}, where='protocol')


@pytest.mark.parametrize('modes', [['outdoor'], 'all', ['all', 1]])
def test_a_mode_that_does_not_exist_is_refused_with_the_known_ones(modes: Any) -> None:
    with pytest.raises(WrongValue, match="'all', 'indoor'"):
        create_manager().components.build('protocols', {'type': 'sysu/agw', 'modes': modes}, where='protocol')
