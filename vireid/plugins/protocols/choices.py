"""Checks of protocol settings."""

from __future__ import annotations

from collections.abc import Sequence

from vireid.errors import WrongValue


def require_choices(**choices: Sequence[str]) -> None:
    """Checks that no setting is empty or has a duplicate, which would be scored as an additional trial.

    Raises:
        WrongValue: if one is.
    """
    for name, values in choices.items():
        if not values:
            raise WrongValue(f'{name} is empty', allowed='at least one entry')
        twice = next((value for value in values if list(values).count(value) > 1), None)
        if twice is not None:
            raise WrongValue(f'{name} has {twice!r} twice', allowed='each entry once')


MAX_TRIALS = 1000  # limits memory, as each trial is a list of samples


def require_trials(count: int, most: int | None = None) -> None:
    """Checks the number of trials.

    Raises:
        WrongValue: if it is out of range.
    """
    if not 1 <= count <= (most or MAX_TRIALS):
        raise WrongValue(f'trials is {count}', allowed=f'1 to {most or MAX_TRIALS:,}')
