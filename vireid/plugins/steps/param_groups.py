"""Groups parameters by name pattern."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from torch import nn

from vireid.errors import NoMatch


def parameter_groups(parameters: Mapping[str, nn.Parameter], patterns: Mapping[str, dict], where: str) -> list[dict]:
    """Groups the trainable parameters by name pattern; parameters without a match form the last group.

    Args:
        parameters: the parameters by name.
        patterns: optimizer settings by name pattern; the first matching pattern applies.
        where: config path of the optimizer settings.

    Raises:
        NoMatch: if a pattern matches no parameter that is left after the patterns before it.
    """
    named = {name: p for name, p in parameters.items() if p.requires_grad}
    groups, taken = list[dict](), list[str]()
    for pattern, settings in patterns.items():
        names = fnmatch.filter(named, pattern)
        if not names and fnmatch.filter(parameters, pattern) and not fnmatch.filter(taken, pattern):
            continue  # all parameters that match are frozen
        if not names:
            tops = sorted({name.split('.')[0] for name in parameters})
            raise NoMatch(
                f'{where}.groups: the pattern {pattern!r} matches no parameter',
                allowed='patterns such as ' + ', '.join(f'{top}.*' for top in tops),
                path=f'{where}.groups',
            )
        groups.append({'params': [named.pop(name) for name in names], **settings})
        taken += names
    if named:
        groups.append({'params': list(named.values())})
    return groups
