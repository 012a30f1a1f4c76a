"""Names as a person means them: what is one name in two spellings, and what looks like one and may not be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from vireid.core.errors import VireidError

SHOWN = 5
CAMERA = re.compile(r'cam(?:era)?[ _-]?(\d{1,9})', re.IGNORECASE | re.ASCII)
_INVISIBLE = re.compile('[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]')


def plain_name(text: object) -> str:
    """Returns a name in one spelling: blanks at its ends are no part of it, and accents are composed (Unicode NFC)."""
    return unicodedata.normalize('NFC', str(text)).strip()


def look(name: str) -> str:
    """Returns what is left of a name without case, leading zeros, a `.0` at the end, and kinds of blanks and letters.

    Two names of one look are one person to most readers, and two to a program.
    """
    folded = unicodedata.normalize('NFKC', _INVISIBLE.sub('', name)).casefold()
    folded = ' '.join(unicodedata.normalize('NFC', folded).split())
    folded = re.sub(r'(?<=\d)\.0+$', '', folded) if re.fullmatch(r'\d+\.0+', folded) else folded
    return re.sub(r'(?<![\d.])0+(?=\d)', '', folded)


def alike(names: Iterable[str], source: str) -> VireidError | None:
    """Returns the error that different names look alike, with all their spellings; None if none do."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(look(name), []).append(name)
    found = [group for group in groups.values() if len(group) > 1]
    if not found:
        return None
    shown = '; '.join(' and '.join(map(repr, group)) for group in found[:SHOWN])
    more = f'; and {len(found) - SHOWN:,} more' if len(found) > SHOWN else ''
    who = '1 person seems' if len(found) == 1 else f'{len(found):,} people seem'
    return VireidError(
        f'{source}: {who} to be spelled in several ways: {shown}{more}',
        allowed='names that differ by more than case, leading zeros, .0 or blanks',
        todo='spell each person in one way; if they are different people, give them names that say so',
    )


def camera_number(text: str) -> int | None:
    """Returns the number in `cam3`, `Cam 3`, `camera_03`; None if this is no camera's name."""
    found = CAMERA.fullmatch(text.strip())
    return int(found.group(1)) if found else None


def find_listed(folder: Path, text: str) -> str:
    """Returns the path of a file that a list names, below the list's folder.

    If there is none of that very name, blanks at its ends, `\\` for `/`, and composed or decomposed accents are
    forgiven, where that leads to a file.
    """
    path = str(folder / text)
    if text.isascii() and '\\' not in text and text.strip() == text:
        return path  # the usual case asks the disk nothing
    written = (text, text.strip(), text.strip().replace('\\', '/'))
    for form in (None, 'NFC', 'NFD'):
        for name in dict.fromkeys(written):
            candidate = folder / (name if form is None else unicodedata.normalize(form, name))
            try:
                if candidate.exists():
                    return str(candidate)
            except OSError:  # the name is too long, say
                break
    return path
