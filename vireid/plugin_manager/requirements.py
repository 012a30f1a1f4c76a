"""Checks `requires` of a config: the packages whose components it names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import InvalidRequirement, Requirement

from vireid.errors import MissingPackage, VireidError, WrongValue
from vireid.plugin_manager.info import PluginInfo

# without what shells replace between double quotes; cmd.exe on Windows does not understand single ones
_PLAIN = re.compile(r'(?:[^"$`\\!%\n]|!=)+')


def require(requirements: Sequence[str], plugins: Sequence[PluginInfo]) -> list[VireidError]:
    """Checks requirements against the installed packages.

    Args:
        requirements: in pip syntax, such as `vireid-gated-fusion>=0.1`.
        plugins: the loaded plugins; those of a required package must be active.

    Returns:
        An error for each requirement that is malformed, not installed, installed in another version, or whose plugins
        are unusable.
    """
    problems: list[VireidError] = []
    for text in requirements:
        try:
            needed = Requirement(text)
        except InvalidRequirement:
            problems.append(
                WrongValue(
                    f'requires: {text!r} is not a valid requirement',
                    allowed='a requirement in pip syntax, such as vireid-x>=0.1',
                    path='requires',
                )
            )
            continue
        if needed.marker is not None and not needed.marker.evaluate():
            continue  # not needed on this machine
        install = f'pip install {_quoted(text)}'
        try:
            installed = version(needed.name)
        except PackageNotFoundError:
            problems.append(
                MissingPackage(f'requires: the package {needed.name} is not installed', todo=install, path='requires')
            )
            continue
        if not needed.specifier.contains(installed, prereleases=True):
            problems.append(
                MissingPackage(
                    f'requires: {needed.name} is {installed}',
                    allowed=str(needed.specifier),
                    todo=install,
                    path='requires',
                )
            )
            continue
        own = [p for p in plugins if _normal(p.distribution) == _normal(needed.name)]
        if own and all(p.status != 'active' for p in own):
            problems.append(
                MissingPackage(
                    f'requires: {own[0].line()}', todo='fix the plugin, or see `vireid plugins`', path='requires'
                )
            )
    return problems


def _quoted(text: str) -> str:
    return f'"{text}"' if _PLAIN.fullmatch(text) else shlex.quote(text)


def _normal(name: str) -> str:
    return name.lower().replace('_', '-').replace('.', '-')
