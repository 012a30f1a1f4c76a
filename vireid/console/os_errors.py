"""What to do about an error of the operating system."""

from __future__ import annotations

import errno

from vireid.boundary.showing import error_text
from vireid.errors import MissingFile, VireidError, WriteFailed

ADVICE = {
    (errno.ENOSPC, errno.EDQUOT): 'free some space',
    (errno.EACCES, errno.EPERM, errno.EROFS): 'fix the permissions, or choose another folder',
    (errno.EEXIST, errno.ENOTDIR, errno.EISDIR): 'a file is where a folder is expected, or the reverse: choose another '
    'path',
}


def explain(error: OSError, what: str = '') -> VireidError:
    """Returns the error with what to do, without its number; `what` is put before its text."""
    advice = (text for numbers, text in ADVICE.items() if error.errno in numbers)
    kind = MissingFile if isinstance(error, FileNotFoundError) else WriteFailed
    path = f'{error.filename}: ' if error.filename else ''
    return kind(f'{what}{path}{error_text(error)}', todo=next(advice, 'check what is at that path'))
