"""The `agw` family on RegDB: both directions, every image against every image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vireid.core.types import INFRARED, VISIBLE
from vireid.errors import WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.datasets.regdb import RegDB
from vireid.plugins.protocols.regdb_agw import RegDBAgw


@pytest.mark.parametrize('split', range(1, 11))
def test_both_directions_search_2060_images_with_2060_of_206_identities(regdb_root: Path, split: int) -> None:
    found = RegDBAgw().trials(RegDB(str(regdb_root), split))
    assert [(t.name, {s.modality for s in t.query}, {s.modality for s in t.gallery}) for t in found] == [
        ('visible to thermal', {VISIBLE}, {INFRARED}),
        ('thermal to visible', {INFRARED}, {VISIBLE}),
    ]
    for side in (side for t in found for side in (t.query, t.gallery)):
        assert (len(side), len({s.identity for s in side})) == (2_060, 206)


def test_the_second_direction_swaps_query_and_gallery(regdb_root: Path) -> None:
    there, back = RegDBAgw().trials(RegDB(str(regdb_root)))
    assert (there.query, there.gallery) == (back.gallery, back.query)


def test_only_test_images_are_scored(regdb_root: Path) -> None:
    reader = RegDB(str(regdb_root), 2)
    there, _ = RegDBAgw().trials(reader)
    assert {*there.query, *there.gallery} == set(reader.split('test'))


def test_cmc_counts_images_and_nothing_is_dropped(regdb_root: Path) -> None:
    assert [(t.cmc, t.drop, t.index) for t in RegDBAgw().trials(RegDB(str(regdb_root)))] == [('image', None, 0)] * 2


def test_galleries_keep_the_order_of_the_index(regdb_root: Path) -> None:
    names = [line.split()[0] for line in (regdb_root / 'idx/test_thermal_1.txt').read_text().splitlines()]
    there, _ = RegDBAgw().trials(RegDB(str(regdb_root)))
    assert [str(Path(s.path).relative_to(regdb_root)) for s in there.gallery] == names


def test_one_direction_may_be_chosen(regdb_root: Path) -> None:
    assert [t.name for t in RegDBAgw(['thermal to visible']).trials(RegDB(str(regdb_root)))] == ['thermal to visible']


def test_the_protocol_tells_its_family() -> None:
    assert RegDBAgw.name == 'regdb/agw'


def test_no_direction_is_refused() -> None:
    with pytest.raises(WrongValue, match='directions'):
        RegDBAgw([])
    with pytest.raises(WrongValue, match=r"directions .*'thermal to visible'"):
        RegDBAgw(['thermal to visible', 'thermal to visible'])


@pytest.mark.parametrize('directions', [['V2T'], 'visible to thermal'])
def test_a_direction_that_does_not_exist_is_refused_with_the_known_ones(directions: Any) -> None:
    config = {'type': 'regdb/agw', 'directions': directions}
    with pytest.raises(WrongValue, match="'visible to thermal', 'thermal to visible'"):
        create_manager().components.build('protocols', config, where='protocol')
