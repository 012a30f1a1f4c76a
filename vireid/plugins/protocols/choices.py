"""What protocols share in reading their settings."""

from __future__ import annotations

from collections.abc import Sequence

from vireid.core.errors import VireidError


def require_choices(**choices: Sequence[str]) -> None:
    """Raises if one of several settings is empty or names something twice, which would count as more trials."""
    for name, values in choices.items():
        if not values:
            raise VireidError(f'{name} is empty', allowed='at least one')
        twice = next((value for value in values if list(values).count(value) > 1), None)
        if twice is not None:
            raise VireidError(f'{name} names {twice!r} twice', allowed='each once')


MOST_TRIALS = 1000  # each is a list of samples: a number from outside may be any


def require_trials(count: int, most: int | None = None) -> None:
    """Raises if a number of trials is out of range."""
    if not 1 <= count <= (most or MOST_TRIALS):
        raise VireidError(f'trials is {count}', allowed=f'1 to {most or MOST_TRIALS:,}')
