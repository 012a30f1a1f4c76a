"""Numbers as people write them: ranges, lists, and shares."""

from __future__ import annotations

import re

from vireid.errors import WrongValue

MAX_NUMBERS = 1000  # numbers in one text; more is probably a typo


def parse_numbers(flag: str, text: str) -> list[int]:
    """Parses `0-4` or `0,1,5`; returns each number once, in the given order.

    Raises:
        WrongValue: for anything else, or more than 1,000 numbers; `flag` says where the text is from.
    """
    numbers: list[int] = []
    for part in re.split(r'\s*,\s*|\s+', text.strip()):
        first, dash, last = part.partition('-')
        words = (first, last) if dash else (first,)
        if not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
            raise WrongValue(f'{flag} is {text!r}', allowed='a range such as 1-10, or a list such as 1,3,5')
        those = range(int(first), int(words[-1]) + 1)
        if not those or len(those) > MAX_NUMBERS:
            raise WrongValue(
                f'{flag} is {text!r}',
                allowed=f'a range such as 1-10, or a list such as 1,3,5; at most {MAX_NUMBERS:,} numbers',
            )
        numbers += those
    return list(dict.fromkeys(numbers))


def parse_share(flag: str, text: str) -> float:
    """Parses a share between 0 and 1, such as 0.05.

    Raises:
        WrongValue: for anything else; `flag` says where the text is from.
    """
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise WrongValue(f'{flag} is {text!r}', allowed='a share between 0 and 1, such as 0.05')
    return share
