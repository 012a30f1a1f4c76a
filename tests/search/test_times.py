"""When an image was taken."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

import pytest
from PIL import Image

from vireid.errors import NoMatch, WrongValue
from vireid.search.times import find_time, parse_end, parse_time

NIGHT = datetime(2026, 11, 29, 22, 41, 5)


@pytest.mark.parametrize(
    'name',
    [
        '20261129_224105', 'cam4_2026-11-29T22-41-05', '2026-11-29 22.41.05', 'x20261129224105',
        '2026_11_29-22_41_05_7', 'cam12345_20261129-224105_00012', '2026-11-29_22h41m05',
    ],
)  # fmt: skip
def test_a_date_and_time_in_the_name(name, tmp_path):
    (tmp_path / f'{name}.jpg').write_bytes(b'')
    assert find_time(tmp_path / f'{name}.jpg') == (NIGHT, 'name')


@pytest.mark.parametrize('name', ['20261129_224105.250', 'IMG_20261129_224105250'])
def test_fractions_of_a_second(tmp_path, name):
    (tmp_path / f'{name}.png').write_bytes(b'')
    assert find_time(tmp_path / f'{name}.png')[0] == NIGHT.replace(microsecond=250_000)


@pytest.mark.parametrize(
    ('name', 'hour'),
    [
        ('2026-11-29 10.41.05 PM', 22), ('2026-11-29_10-41-05_am', 10), ('2026-11-29 12.41.05 AM', 0),
        ('2026-11-29 12.41.05PM', 12), ('2026-11-29 10.41.05 pmr', 10),
    ],
)  # fmt: skip
def test_halves_of_the_day(tmp_path, name, hour):
    (tmp_path / f'{name}.jpg').write_bytes(b'')
    assert find_time(tmp_path / f'{name}.jpg') == (NIGHT.replace(hour=hour), 'name')


@pytest.mark.parametrize(('zone', 'hours'), [('Z', 0), ('+0200', 2), ('+02:00', 2), ('-0007', None), ('Zoe', None)])
def test_a_zone_in_the_name_and_a_number_that_is_none(tmp_path, zone, hours):
    (tmp_path / f'20261129T224105{zone}.jpg').write_bytes(b'')
    there = None if hours is None else timezone(timedelta(hours=hours))
    expected = NIGHT if there is None else NIGHT.replace(tzinfo=there).astimezone().replace(tzinfo=None)
    assert find_time(tmp_path / f'20261129T224105{zone}.jpg') == (expected, 'name')


@pytest.mark.parametrize('name', ['0001', '20261329_224105', '120261129_224105', '20261129_2241', 'IMG_4711'])
def test_other_names_have_none_and_the_file_time_is_used(name, tmp_path):
    path = tmp_path / f'{name}.jpg'
    path.write_bytes(b'')
    os.utime(path, (0, NIGHT.timestamp()))
    assert find_time(path) == (NIGHT, 'file time')


def test_exif_comes_before_the_file_time(tmp_path):
    image, exif = Image.new('RGB', (8, 8)), Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = '2026:11:29 22:41:05'
    image.save(tmp_path / 'a.jpg', exif=exif)
    assert find_time(tmp_path / 'a.jpg') == (NIGHT, 'EXIF')


def test_damaged_exif_is_ignored(tmp_path):
    image, exif = Image.new('RGB', (8, 8)), Image.Exif()
    exif[0x0132] = 'yesterday'
    image.save(tmp_path / 'a.jpg', exif=exif)
    assert find_time(tmp_path / 'a.jpg')[1] == 'file time'


def test_a_header_that_pillow_would_read_for_minutes_is_not_read(tmp_path, monkeypatch):
    (tmp_path / 'a.pgm').write_bytes(b'P5\n' + b'#' * 60_000_000)
    monkeypatch.setattr(Image, 'open', lambda *args, **kwargs: pytest.fail('it was read'))
    assert find_time(tmp_path / 'a.pgm')[1] == 'file time'


@pytest.mark.parametrize(
    ('pattern', 'name'),
    [
        ('cam4_%Y%m%d-%H%M%S_*', 'cam4_20261129-224105_0007'), ('*_%d.%m.%y_%H-%M-%S', 'back door_29.11.26_22-41-05'),
        ('*@%Y%j%H%M%S', 'a@b@2026333224105'),
    ],
)  # fmt: skip
def test_a_pattern(pattern, name, tmp_path):
    (tmp_path / f'{name}.jpg').write_bytes(b'')
    assert find_time(tmp_path / f'{name}.jpg', pattern) == (NIGHT, 'name')


def test_a_pattern_that_does_not_match_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(NoMatch, match=r"0001\.jpg.*'cam_%Y'"):
        find_time(tmp_path / '0001.jpg', 'cam_%Y')


def test_iso_times_and_zones():
    assert parse_time(' 2026-11-29 22:41:05 ', 'x') == NIGHT
    assert parse_time('2026-11-29', 'x') == datetime(2026, 11, 29)
    assert parse_time('2026-11-29T22:41:05+00:00', 'x') == NIGHT.astimezone().replace(tzinfo=None) + (
        NIGHT.astimezone().utcoffset() or NIGHT - NIGHT
    )
    with pytest.raises(WrongValue, match=r"table, line 3: time .*'22:41 Uhr'"):
        parse_time('22:41 Uhr', 'table, line 3: time')


@pytest.mark.parametrize(
    ('text', 'last'),
    [
        ('2026-11-29', '2026-11-29 23:59:59.999999'),
        ('20261129', '2026-11-29 23:59:59.999999'),
        ('2026-W48-7', '2026-11-29 23:59:59.999999'),
        ('2026-11-29 22', '2026-11-29 22:59:59.999999'),
        ('2026-11-29 00:00', '2026-11-29 00:00:59.999999'),
        ('2026-11-29T22:41', '2026-11-29 22:41:59.999999'),
        ('20261129T224105', '2026-11-29 22:41:05.999999'),
        ('2026-11-29 22:41:05.25', '2026-11-29 22:41:05.250000'),
        ('9999-12-31', '9999-12-31 23:59:59.999999'),
    ],
)
def test_the_end_of_a_range_is_the_last_moment_of_what_it_names(text, last):
    assert str(parse_end(text, 'x')) == last


def test_the_end_of_a_range_may_have_a_zone():
    for zone in ('Z', '+00:00', '-0130', '+01:00:30'):
        start = parse_time(f'2026-11-29T22:41{zone}', 'x')
        assert parse_end(f'2026-11-29T22:41{zone}', 'x') == start + timedelta(seconds=59, microseconds=999_999)


@pytest.mark.parametrize('text', ['0001-01-01T00:00:00+14:00', '9999-12-31T23:59:59-14:00'])
def test_a_time_that_another_zone_does_not_have(text):
    with pytest.raises(WrongValue, match='--after'):
        parse_time(text, '--after')
