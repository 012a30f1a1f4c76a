"""Exceptions for errors that a user can fix. Each says what was given, what is allowed, and what to do next."""

from __future__ import annotations

import copyreg
import re
from collections.abc import Iterable, Sequence
from copy import copy
from difflib import get_close_matches
from typing import Any

MAX_LENGTH = 4_000  # characters in each part of an error
_BREAKS = re.compile('\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]')  # line breaks other than newlines
MAX_ERRORS = 100  # errors listed in a combined error


class VireidError(Exception):
    """An error that a user can fix. The text is for people; programs read the class (or `code`) and `path`.

    Args:
        given: what was given and why it does not work, in one sentence.
        allowed: what is accepted.
        todo: what to type or change next.
        path: the config key at fault, such as `model.heads.s2.losses`; empty if the error is not about a key.

    Attributes:
        code: the class name in lower case with hyphens, such as `unknown-key`; empty for `VireidError` itself.
        errors: the individual errors of a combined error; empty for a single error.
    """

    code = ''
    errors: tuple[VireidError, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.code = re.sub(r'\B([A-Z])', r'-\1', cls.__name__).lower()

    def __init__(self, given: str, *, allowed: str | None = None, todo: str | None = None, path: str = '') -> None:
        self.given, self.allowed, self.todo, self.path = given, allowed, todo, path
        lines = [_shown(given)]
        if allowed:
            lines.append(f'  allowed: {_shown(allowed)}')
        if todo:
            lines.append(f'  next:    {_shown(todo)}')
        super().__init__('\n'.join(lines))

    def at(self, path: str, todo: str | None = None) -> VireidError:
        """Returns this error with the config key `path` as its location, or as a prefix of the path it already has."""
        if self.errors:
            within = [error.at(path) for error in self.errors]
            return self if within == list(self.errors) else combined(within)
        if self.path == path or self.path.startswith(f'{path}.'):
            return self
        whole = f'{path}.{self.path}' if self.path else path
        return self.reworded(f'{path}: {self.given}', allowed=self.allowed, todo=todo or self.todo, path=whole)

    def reworded(
        self, given: str, *, allowed: str | None = None, todo: str | None = None, path: str = ''
    ) -> VireidError:
        """Returns an error of this class, with its other attributes, whatever its constructor accepts."""
        error = copy(self)
        error.errors = ()
        VireidError.__init__(error, given, allowed=allowed, todo=todo, path=path)
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        # Loader workers pickle exceptions; the default calls the constructor with `args`, which are the whole text.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class UnknownKey(VireidError):
    """A key, flag, or column that does not exist."""


class MissingKey(VireidError):
    """A required key, flag, argument, or column was not given."""


class UnknownName(VireidError):
    """An unknown name, such as that of a component, figure, metric, modality, or split."""


class UnknownComponent(UnknownName):
    """A component name that no plugin registers."""


class WrongValue(VireidError):
    """A value that has the wrong type, is out of range, or is not one of the choices."""


class Conflict(VireidError):
    """Settings or flags that exclude each other, a name that is taken, or answers that contradict each other."""


class Mismatch(VireidError):
    """Things that do not fit together, such as a checkpoint and a model, or images and a protocol."""


class MissingPackage(VireidError):
    """A package that is not installed or is too old."""


class MissingFile(VireidError):
    """A file or folder that does not exist, or a folder that lacks required files."""


class DamagedFile(VireidError):
    """A file that cannot be read, is truncated, or violates its format."""


class UnsupportedFile(VireidError):
    """A readable file whose format, version, or kind is not supported."""


class UnsafeFile(VireidError):
    """A file that exceeds a limit, would run code, or leads out of its folder."""


class WrongContent(VireidError):
    """A readable file or table whose values are invalid, contradictory, or duplicated."""


class NotFinite(VireidError):
    """NaN or infinity where finite numbers are needed."""


class AlreadyExists(VireidError):
    """An output that would overwrite existing files or mix with them."""


class WriteFailed(VireidError):
    """A file that could not be written."""


class InUse(VireidError):
    """A folder or port that another process uses."""


class Changed(VireidError):
    """Something that changed since it was recorded: a checkpoint, plugin code, images, or settings."""


class NotReady(VireidError):
    """A step that must come first is not done: a training stage, fitting, labeling, a run, or an index."""


class TooFew(VireidError):
    """Too few images, identities, rows, seeds, or systems."""


class NoMatch(VireidError):
    """A search, filter, or pattern that matches nothing."""


class OutOfMemory(VireidError):
    """There is not enough memory."""


class Unavailable(VireidError):
    """A device, service, process, or function that is not available on this machine."""


def _shown(text: str) -> str:
    """Returns one part of an error, shortened for display: external files may contain lists of any length."""
    return indented(text if len(text) <= MAX_LENGTH else f'{text[: MAX_LENGTH // 2]} ... {text[-MAX_LENGTH // 2 :]}')


def indented(text: str) -> str:
    """Returns a message with all lines after the first indented, so that none looks like a separate message.

    Names in external files may contain line breaks.
    """
    return text if text.isprintable() else re.sub(r'\n(?! {4})', '\n    ', _BREAKS.sub(' ', text))


def raise_all(problems: Sequence[VireidError]) -> None:
    """Raises one error that lists all `problems`; does nothing if there are none.

    Raises:
        VireidError: if there are any problems.
    """
    if problems:
        raise combined(problems)


def combined(problems: Sequence[VireidError]) -> VireidError:
    """Returns one error that lists all `problems`."""
    if len(problems) == 1:
        return problems[0]
    error = VireidError('')
    more = [f'and {len(problems) - MAX_ERRORS:,} more errors'] if len(problems) > MAX_ERRORS else []
    error.given = '\n'.join([*(str(problem) for problem in problems[:MAX_ERRORS]), *more])
    error.args = (error.given,)
    error.errors = tuple(problems)
    return error


class IncompleteData(MissingFile):
    """A split with missing images.

    Attributes:
        samples: the images that exist, so that a check can count them.
    """

    samples: tuple[Any, ...] = ()


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Returns the closest match for `name` among `names`, ignoring case, or None if nothing is similar."""
    by_lower = {str(candidate).lower(): str(candidate) for candidate in names}
    matches = get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns `, did you mean 'X'?` for the closest match among `names`, or an empty string."""
    match = nearest(name, names)
    return f", did you mean '{match}'?" if match else ''
