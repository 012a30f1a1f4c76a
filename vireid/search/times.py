"""When an image was taken: from its name, its EXIF data or its file."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

from vireid.boundary.image_files import open_image
from vireid.boundary.reading import open_regular
from vireid.errors import NoMatch, VireidError, WrongValue

# 20261129_224105, 2026-11-29T22-41-05, 2026-11-29 22:41:05.250, 2026-11-29 10.41.05 PM, 20261129_224105250
# (milliseconds), 20261129T224105Z, 20261129T224105+0100; no digit before or after
_IN_NAME = re.compile(
    r'(?<!\d)(20\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[T _-]?(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)(?:[.,](\d{1,6})|(\d{3}))?(?!\d)'
    r'(?:[ _-]?([AP])M(?![A-Z]))?(Z(?![A-Z])|\+\d\d:?\d\d(?!\d))?',
    re.ASCII | re.IGNORECASE,
)
TAKEN, EXIF_FOLDER, CHANGED = 0x9003, 0x8769, 0x0132  # DateTimeOriginal, the folder that contains it, DateTime
EXAMPLE = '2026-11-29 22:41:05'


def parse_time(text: str, source: str) -> datetime:
    """Reads a time in ISO 8601, such as `2026-11-29 22:41:05` or `2026-11-29`, as local time without a zone.

    Args:
        text: the time. With a zone, it is converted to the zone of this machine.
        source: where it comes from, for the error.

    Raises:
        WrongValue: if it is not a time.
    """
    try:
        time = datetime.fromisoformat(text.strip())
        return time.astimezone().replace(tzinfo=None) if time.tzinfo else time
    except (ValueError, OverflowError) as error:  # the second in the first and the last year
        raise WrongValue(f'{source} is {text!r}', allowed=f'a date or time such as {EXAMPLE}') from error


def parse_end(text: str, source: str) -> datetime:
    """Reads the end of a range as `parse_time` does, and returns the last moment of what the text names.

    `2026-11-29` means that whole day, `2026-11-29 22:41` that whole minute, and `2026-11-29 22:41:05` that second.

    Raises:
        WrongValue: if it is not a time.
    """
    time = parse_time(text, source)
    clock = re.sub(r'^\d{4}-?(\d\d-?\d\d|W\d\d(-?\d)?)|([Zz]|[+-]\d\d:?\d\d(:?\d\d)?)$', '', text.strip())
    if '.' in clock or ',' in clock:
        return time
    units = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))
    length = units[len(re.findall(r'\d\d', clock))] - timedelta(microseconds=1)
    return time + min(length, datetime.max - time)


def find_time(path: str | Path, pattern: str | None = None) -> tuple[datetime, str]:
    """Returns when an image was taken, and the source: `name`, `EXIF` or `file time`, the first that has a time.

    Args:
        path: the image.
        pattern: how the file name without its suffix gives the time, in the codes of `strptime`, such as
            `cam4_%Y%m%d-%H%M%S_*`; `*` matches any text. With None, the name is searched for a date
            followed by a time of day.

    Raises:
        NoMatch: if the name does not match the pattern.
        OSError: if the file does not exist.
    """
    stem = Path(path).stem
    if pattern is not None:
        return _by_pattern(stem, pattern, path), 'name'
    for match in _IN_NAME.finditer(stem):
        *parts, fraction, thousandths, half, zone = match.groups()
        try:
            year, month, day, hour, minute, second = map(int, parts)
            micros = int((fraction or thousandths or '0').ljust(6, '0'))
            if half and not 1 <= hour <= 12:
                continue
            hour = hour % 12 + 12 * (half in 'pP') if half else hour
            time = datetime(year, month, day, hour, minute, second, micros)
            return parse_time(f'{time.isoformat()}{(zone or "").upper()}', stem), 'name'
        except (ValueError, VireidError):  # such as month 13
            continue
    taken = _exif_time(path)
    if taken is not None:
        return taken, 'EXIF'
    return datetime.fromtimestamp(Path(path).stat().st_mtime).replace(microsecond=0), 'file time'


def _by_pattern(stem: str, pattern: str, path: str | Path) -> datetime:
    """Reads the time from a name; each `*` of the pattern matches as little text as possible."""
    fixed = [re.escape(part) for part in pattern.split('*')]
    digits = {'Y': r'\d{4}', 'f': r'\d{1,6}', 'j': r'\d{1,3}'}
    parts = [re.sub(r'%([A-Za-z])', lambda code: f'(?:{digits.get(code[1], "[0-9A-Za-z]{1,9}")})', p) for p in fixed]
    match = re.fullmatch('(.*?)'.join(f'({part})' for part in parts), stem)
    try:
        if match is None:
            raise ValueError
        kept = match.groups()[::2]  # without the text that the stars match
        return datetime.strptime('\n'.join(kept), '\n'.join(pattern.split('*')))
    except ValueError as error:
        raise NoMatch(
            f'{path}: its name does not match --time-pattern {pattern!r}',
            allowed='strptime codes, and * for any text, as in cam4_%Y%m%d-%H%M%S_*',
            todo='correct the pattern, or list the times in the column `time` of a table',
        ) from error


def _exif_time(path: str | Path) -> datetime | None:
    try:
        with open_regular(path) as file, open_image(file, f'image {path}') as image:
            exif = image.getexif()
            text = exif.get_ifd(EXIF_FOLDER).get(TAKEN) or exif.get(CHANGED)
            return datetime.strptime(str(text).strip('\0 ')[:19], '%Y:%m:%d %H:%M:%S') if text else None
    except Exception:  # metadata may be damaged in any way; reading the image reports what matters
        return None
