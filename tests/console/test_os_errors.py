"""What to do about errors of the operating system."""

import errno
import os
import socket

import pytest

from vireid.console.os_errors import ADVICE, explain
from vireid.errors import InUse, MissingFile, OutOfMemory, Unavailable, WriteFailed, WrongValue


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


@pytest.mark.parametrize(
    ('number', 'kind', 'todo'),
    [
        ('EADDRINUSE', InUse, 'port'),
        ('EBUSY', InUse, 'process'),
        ('ECONNREFUSED', Unavailable, 'server'),
        ('ETIMEDOUT', Unavailable, 'server'),
        ('EHOSTUNREACH', Unavailable, 'server'),
        ('EMFILE', Unavailable, 'ulimit -n'),
        ('EAGAIN', Unavailable, 'ulimit -u'),
        ('EIO', Unavailable, 'disk'),
        ('ENOMEM', OutOfMemory, 'memory'),
        ('ENAMETOOLONG', WrongValue, 'shorter'),
        ('EFBIG', WriteFailed, 'ulimit -f'),
        ('ENXIO', Unavailable, 'repeat'),
    ],
)
def test_only_what_concerns_writing_is_a_failure_to_write(number, kind, todo):
    number = getattr(errno, number)
    error = explain(OSError(number, os.strerror(number)))
    assert type(error) is kind
    assert error.given == os.strerror(number)
    assert todo in error.todo


@pytest.mark.parametrize(
    'error',
    [
        socket.gaierror(socket.EAI_NONAME, 'Name or service not known'),
        socket.gaierror(errno.EPERM, 'a number of name resolution that is also one of the system'),
        ConnectionError('closed'),
        TimeoutError('timed out'),
    ],
    ids=repr,
)
def test_a_lost_connection_without_a_number_of_the_system_is_one_too(error):
    explained = explain(error)
    assert type(explained) is Unavailable
    assert 'server' in explained.todo


def test_the_error_of_a_library_without_a_number_blames_no_write():
    error = explain(OSError('cannot identify it'))
    assert type(error) is Unavailable
    assert error.given == 'cannot identify it'


def test_a_caller_that_writes_says_so():
    error = explain(BlockingIOError(errno.EAGAIN, 'not now'), 'some output could not be written: ', WriteFailed)
    assert type(error) is WriteFailed


def test_no_number_has_two_meanings():
    numbers = [number for advice in ADVICE for number in advice.numbers]
    assert len(numbers) == len(set(numbers))
