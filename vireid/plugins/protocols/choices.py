"""Settings of protocols and their checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Le

from vireid.errors import WrongValue

Trials = Annotated[int, Ge(1), Le(1000)]  # limits memory, as each trial is a list of samples


def require_choices(**choices: Sequence[str]) -> None:
    """Checks that no setting is empty or has a duplicate, which would be scored as an additional trial.

    Raises:
        WrongValue: if a setting is empty or has a duplicate.
    """
    for name, values in choices.items():
        if not values:
            raise WrongValue(f'{name} is empty', allowed='at least one entry')
        twice = next((value for value in values if list(values).count(value) > 1), None)
        if twice is not None:
            raise WrongValue(f'{name} has {twice!r} twice', allowed='each entry once')
