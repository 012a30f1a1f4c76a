"""What to do about an error of the operating system."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from vireid.boundary.showing import error_text
from vireid.errors import InUse, MissingFile, OutOfMemory, Unavailable, VireidError, WriteFailed, WrongValue


class _Advice(NamedTuple):
    """What an error of the system is to vireid.

    Attributes:
        numbers: the values of `errno` that it is for.
        kind: the class of error.
        todo: what to do next.
    """

    numbers: tuple[int, ...]
    kind: type[VireidError]
    todo: str


CONNECTION = 'check the address, and that its server runs and can be reached'
OTHER = 'repeat the command; if it fails again, check the disk, the network and the limits of this machine'
ADVICE = (
    _Advice((errno.ENOENT,), MissingFile, 'check the path'),
    _Advice((errno.ENAMETOOLONG,), WrongValue, 'choose a shorter name'),
    _Advice((errno.ENOSPC, errno.EDQUOT), WriteFailed, 'free some space'),
    _Advice((errno.EFBIG,), WriteFailed, 'raise the limit on the size of a file (ulimit -f), or choose another folder'),
    _Advice((errno.EACCES, errno.EPERM, errno.EROFS), WriteFailed, 'fix the permissions, or choose another folder'),
    _Advice(
        (errno.EEXIST, errno.ENOTDIR, errno.EISDIR), WriteFailed,
        'a file is where a folder is expected, or the reverse: choose another path',
    ),
    _Advice((errno.ENOTEMPTY, errno.ELOOP, errno.EXDEV), WriteFailed, 'check what is at that path'),
    _Advice((errno.EADDRINUSE,), InUse, 'choose another port, or stop the process that listens on this one'),
    _Advice((errno.EBUSY, errno.ETXTBSY), InUse, 'end the process that uses it, or choose another path'),
    _Advice((errno.ENOMEM,), OutOfMemory, 'end other processes, or use a machine with more memory'),
    _Advice((errno.EMFILE, errno.ENFILE), Unavailable, 'raise the limit on open files (ulimit -n 1024)'),
    _Advice((errno.EAGAIN,), Unavailable, 'end other processes, or raise the limit on processes (ulimit -u)'),
    _Advice((errno.EIO, errno.ESTALE), Unavailable, 'check the disk or the network folder, then repeat the command'),
    _Advice(
        (
            errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT, errno.EHOSTUNREACH,
            errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.ENOTCONN, errno.EPIPE,
        ),
        Unavailable, CONNECTION,
    ),
)  # fmt: skip


def explain(error: OSError, what: str = '', kind: type[VireidError] | None = None) -> VireidError:
    """Returns the error with what to do, without its number.

    Args:
        error: the error of the system, or of a library that derives its errors from `OSError`.
        what: put before its text.
        kind: the class of the result; by default the one that fits the error.
    """
    advice = _advice(error)
    path = f'{error.filename}: ' if error.filename else ''
    return (kind or advice.kind)(f'{what}{path}{error_text(error)}', todo=advice.todo)


def _advice(error: OSError) -> _Advice:
    """Returns the class and the advice for an error; the numbers of name resolution are not those of the system."""
    if isinstance(error, socket.gaierror | socket.herror):
        return _Advice((), Unavailable, CONNECTION)
    fitting = (advice for advice in ADVICE if error.errno in advice.numbers)
    lost = isinstance(error, ConnectionError | TimeoutError)
    return next(fitting, _Advice((), Unavailable, CONNECTION if lost else OTHER))
