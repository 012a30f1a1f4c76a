"""Why the content of a file from outside is not read; `reads` turns these errors into errors for users."""

from __future__ import annotations

from vireid.errors import DamagedFile, MissingFile, UnsafeFile, VireidError


class Malformed(ValueError):
    """Content that breaks the rules of its format, or is none of what is read."""


class BeyondLimit(ValueError):
    """Content that asks for more than a file from outside gets: memory, time, other files, or to run code."""


def kind_of(error: Exception) -> type[VireidError]:
    """Returns the class for users of whatever reading a file raised."""
    if isinstance(error, FileNotFoundError):
        return MissingFile
    return UnsafeFile if isinstance(error, BeyondLimit) else DamagedFile
