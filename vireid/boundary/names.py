"""Identity and camera names: normalized spelling, and distinct names that look alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from vireid.errors import WrongContent

MAX_GROUPS = 5
CAMERA = re.compile(r'cam(?:era)?[ _-]?(\d{1,9})', re.IGNORECASE | re.ASCII)
_INVISIBLE = re.compile('[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]')
_SEPARATORS = re.compile('(?<=[^\\W_])[ _\u2010-\u2015\u2212-]+(?=[^\\W_])')  # not in front: `-1` is not `1`
_WHOLE = re.compile(r'(\d+)(?:\.0+|,00?)')  # not `10,000`


def plain_name(text: object) -> str:
    """Returns a name in its normalized spelling: without surrounding blanks, accents composed (Unicode NFC)."""
    return unicodedata.normalize('NFC', str(text)).strip()


def look(name: str) -> str:
    """Returns a name without case, leading zeros, a trailing `.0` or `,0`, and variants of blanks and letters.

    Blanks, hyphens and underscores between letters or digits are alike: `person_1` and `person-1`, but not `person1`.
    Two names with the same result are one identity to most readers, but two to a program.
    """
    folded = unicodedata.normalize('NFKC', _INVISIBLE.sub('', name)).casefold()
    folded = ' '.join(unicodedata.normalize('NFC', folded).split())
    folded = _SEPARATORS.sub(' ', folded)
    folded = whole[1] if (whole := _WHOLE.fullmatch(folded)) else folded
    return re.sub(r'(?<![\d.])0+(?=\d)', '', folded)


def lookalike_error(names: Iterable[str], source: str) -> WrongContent | None:
    """Returns an error with all spellings if different names look alike, else None."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(look(name), []).append(name)
    lookalikes = [group for group in groups.values() if len(group) > 1]
    if not lookalikes:
        return None
    shown = '; '.join(' and '.join(map(repr, group)) for group in lookalikes[:MAX_GROUPS])
    more = f'; and {len(lookalikes) - MAX_GROUPS:,} more' if len(lookalikes) > MAX_GROUPS else ''
    who = '1 identity seems' if len(lookalikes) == 1 else f'{len(lookalikes):,} identities seem'
    return WrongContent(
        f'{source}: {who} to have several spellings: {shown}{more}',
        allowed='names that differ by more than case, leading zeros, .0, blanks, hyphens or underscores',
        todo='use one spelling per identity; if they are different people, give them clearly different names',
    )


def camera_number(text: str) -> int | None:
    """Returns the number in `cam3`, `Cam 3` or `camera_03`; None if this is not a camera name."""
    match = CAMERA.fullmatch(text.strip())
    return int(match.group(1)) if match else None


def camera_name(text: str) -> str:
    """Returns the name of a camera in a gallery: the number for `4`, `04`, `4.0` and `cam4`, else the plain name."""
    name = plain_name(text)
    number = camera_number(name)
    seen = look(name)
    return str(number) if number is not None else seen if seen.isascii() and seen.isdecimal() else name


def find_listed(folder: Path, text: str) -> str:
    """Returns the path of a file that a list names, relative to the list's folder.

    If no file has exactly that name, also tries it without surrounding blanks, with `/` for `\\`, and with composed
    or decomposed accents.
    """
    path = str(folder / text)
    if text.isascii() and '\\' not in text and text.strip() == text:
        return path  # the usual case does not touch the disk
    written = (text, text.strip(), text.strip().replace('\\', '/'))
    for form in (None, 'NFC', 'NFD'):
        for name in dict.fromkeys(written):
            candidate = folder / (name if form is None else unicodedata.normalize(form, name))
            try:
                if candidate.exists():
                    return str(candidate)
            except OSError:  # for example, the name is too long
                break
    return path
