"""Packages that a logger needs and vireid does not install by itself."""

from __future__ import annotations

import importlib
from typing import Any

from vireid.core.errors import VireidError


def import_package(package: str, logger: str, extra: str) -> Any:
    """Imports a package for a logger.

    Args:
        package: its module's name.
        logger: the logger that needs it.
        extra: of vireid, which installs it.

    Raises:
        VireidError: if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # it is there, and itself lacks something
            raise
        raise VireidError(
            f'the logger {logger} needs the package {package}', todo=f'pip install "vireid[{extra}]"'
        ) from error
