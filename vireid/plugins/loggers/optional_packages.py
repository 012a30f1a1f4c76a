"""Imports optional packages of loggers."""

from __future__ import annotations

import importlib
from typing import Any

from vireid.errors import MissingPackage


def import_package(package: str, logger: str, extra: str) -> Any:
    """Imports a package for a logger.

    Args:
        package: name of its module.
        logger: the logger that needs it.
        extra: the extra of vireid that installs it.

    Raises:
        MissingPackage: if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # the package exists but lacks a dependency
            raise
        raise MissingPackage(
            f'the logger {logger} needs the package {package}', todo=f'pip install "vireid[{extra}]"'
        ) from error
