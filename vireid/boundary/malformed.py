"""Exceptions for the content of an untrusted file; `reads` turns them into a `VireidError`."""

from __future__ import annotations

from vireid.errors import DamagedFile, MissingFile, UnsafeFile, VireidError


class Malformed(ValueError):
    """Content that violates its format, or that vireid does not read."""


class BeyondLimit(ValueError):
    """Content that would take too much memory or time, read other files, or run code."""


def kind_of(error: Exception) -> type[VireidError]:
    """Returns the subclass of `VireidError` for an exception that was raised while reading a file."""
    if isinstance(error, FileNotFoundError):
        return MissingFile
    return UnsafeFile if isinstance(error, BeyondLimit) else DamagedFile
