"""What to do about errors of the operating system."""

import errno

from vireid.console.os_errors import explain
from vireid.errors import MissingFile, WriteFailed


def test_each_error_says_what_to_do():
    todo = {}
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
        error = explain(OSError(number, 'no', 'runs/x'), 'cannot write: ')
        assert type(error) is WriteFailed
        assert error.given == 'cannot write: runs/x: no'
        todo[number] = error.todo
    assert todo[errno.ENOSPC] == todo[errno.EDQUOT]
    assert todo[errno.EACCES] == todo[errno.EROFS]
    assert todo[errno.ENOTDIR] == todo[errno.EISDIR]
    assert len(set(todo.values())) == 4


def test_a_path_that_does_not_exist_is_a_missing_file():
    assert type(explain(FileNotFoundError(errno.ENOENT, 'no', 'runs/x'))) is MissingFile
