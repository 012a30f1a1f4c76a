"""What to do about errors of the operating system."""

import errno

import pytest

from vireid.console.os_errors import explain


@pytest.mark.parametrize(
    ('number', 'todo'),
    [
        (errno.ENOSPC, 'free some space'),
        (errno.EACCES, 'fix the permissions'),
        (errno.ENOTDIR, 'a file is where a folder is expected'),
        (errno.ELOOP, 'check what is at that path'),
    ],
)
def test_each_says_what_to_do(number: int, todo: str):
    error = explain(OSError(number, 'no', 'runs/x'), 'cannot write: ')
    assert error.given.startswith('cannot write: [Errno')
    assert 'runs/x' in error.given
    assert (error.todo or '').startswith(todo)
