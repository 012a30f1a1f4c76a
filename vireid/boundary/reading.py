"""Reads files from outside as data: regular files of bounded size, with no code execution."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from pydantic import ValidationError

from vireid.boundary.malformed import BeyondLimit, Malformed, kind_of
from vireid.boundary.open_flags import BINARY, NO_BLOCK
from vireid.errors import VireidError

P = ParamSpec('P')
R = TypeVar('R')

TEXT = 64 * 2**20  # bytes of a text file
RECORD = 4 * 2**20  # bytes of JSON about a run or an evaluation; real ones have kilobytes
ARRAYS = 256 * 2**20  # bytes that an archive may unpack to, plus four times its own size
MEMBERS = 1000  # arrays of an archive: opening each takes time, however small it is
HEAD = 65_536  # bytes that identify a file, together with its size: the crops of a dataset are smaller
VALUES, DEPTH = 2_000_000, 64  # of nested lists and dicts, counting shared ones at every reference
OPEN = os.O_RDONLY | NO_BLOCK | BINARY


@dataclass(frozen=True)
class FileReader:
    """A function that reads a file from outside; the test suite feeds each one randomly damaged files.

    Attributes:
        function: takes the path as its first argument.
        kind: what messages call the file.
        names: patterns of the file names it reads, such as `*.yaml`.
    """

    function: Callable[..., Any]
    kind: str
    names: tuple[str, ...]


READERS: dict[str, FileReader] = {}  # by module and function


def reads(
    kind: str, *names: str, allowed: str | None = None, todo: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Marks a function that reads an untrusted file: every exception that it raises becomes a `VireidError`.

    Args:
        kind: what messages call the file, with its article: `a features file`.
        *names: patterns of the file names it reads.
        allowed: what the error says is accepted.
        todo: what the error says to do about a damaged file.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except VireidError:
                raise
            except Exception as error:  # a damaged file may fail in any way
                given = f'{args[0]} is damaged or is not {kind}: {reason(error)}'
                if isinstance(error, BeyondLimit):
                    given = f'{args[0]} cannot be read as {kind}: {reason(error)}'
                elif isinstance(error, FileNotFoundError) and not os.path.lexists(str(args[0])):
                    given = f'{args[0]} does not exist'
                raise kind_of(error)(given, allowed=allowed, todo=todo) from error

        READERS[f'{function.__module__}.{function.__qualname__}'] = FileReader(guarded, kind, names)
        return guarded

    return decorate


def reason(error: BaseException) -> str:
    """Returns the first line of an exception's message, or its type; for pydantic errors, the place and the problem."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f'{".".join(map(str, first["loc"])) or "its content"}: {first["msg"]}'
    if isinstance(error, IsADirectoryError):
        return 'it is a folder'
    if type(error) is KeyError and error.args:
        return f'it has no {error.args[0]!r}'
    lines = str(error).strip().splitlines()
    known = isinstance(error, (ValueError, OSError)) and not isinstance(error, UnicodeError)
    return (lines[0] if known else f'{type(error).__name__}: {lines[0]}') if lines else type(error).__name__


def open_regular(path: str | Path) -> BufferedReader:
    """Opens a regular file; a pipe, a device or a folder raises immediately instead of blocking.

    Raises:
        OSError: if it cannot be opened or is not a regular file.
    """
    handle = os.open(path, OPEN)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, 'it is a folder', str(path))
        raise OSError(errno.EINVAL, 'not a regular file', str(path))
    return os.fdopen(handle, 'rb')


def content_digest(path: str | Path) -> bytes:
    """Returns 8 bytes that identify an image file: BLAKE2b of its size and its first 64 KiB.

    Raises:
        OSError: if it cannot be read.
    """
    with open_regular(path) as file:
        head, size = file.read(HEAD), file.seek(0, 2)
    return hashlib.blake2b(size.to_bytes(8, 'little') + head, digest_size=8).digest()


def read_bytes(path: str | Path, most: int = TEXT) -> bytes:
    """Reads a file of at most `most` bytes.

    Raises:
        OSError: if it cannot be read.
        BeyondLimit: if it is larger.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BeyondLimit(f'it has more than {most / 2**20:,.0f} MiB')
    return content


def read_lines(path: str | Path, most: int, longest: int, lines: int) -> Iterator[bytes]:
    """Yields the lines of a file one at a time, including line ends.

    Args:
        path: the file.
        most: the maximum number of bytes of the file.
        longest: the maximum number of bytes of a line.
        lines: the maximum number of lines.

    Raises:
        OSError: if it cannot be read.
        BeyondLimit: if it exceeds one of the limits.
    """
    with open_regular(path) as file:
        for number in range(lines + 1):
            line = file.readline(longest + 1)
            if not line:
                return
            if number == lines:
                raise BeyondLimit(f'it has more than {lines:,} lines')
            if len(line) > longest:
                raise BeyondLimit(f'line {number + 1:,} has more than {longest / 2**10:,.0f} KiB')
            if file.tell() > most:
                raise BeyondLimit(f'it has more than {most / 2**20:,.0f} MiB')
            yield line


def read_text(path: str | Path, most: int = TEXT, errors: str = 'strict') -> str:
    """Reads UTF-8 text and drops the byte-order mark that Windows editors write.

    Args:
        path: the file.
        most: the maximum number of bytes.
        errors: as in `bytes.decode`; `surrogateescape` keeps bytes of file names that are not UTF-8.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is larger, or not text.
    """
    content = read_bytes(path, most)
    if b'\0' in content:
        raise Malformed('it is not text')
    return content.decode('utf-8-sig', errors).replace('\r\n', '\n')


def read_json(path: str | Path, most: int = TEXT) -> Any:
    """Reads a JSON file; raises what `read_text` and `parse_json` raise."""
    return parse_json(read_text(path, most))


def parse_json(text: str | bytes, most: int = TEXT) -> Any:
    """Parses JSON.

    Raises:
        BeyondLimit: if it is longer than `most`, or nested too deeply.
        ValueError: if it is invalid, or has a duplicate key or a lone surrogate.
    """
    if len(text) > most:
        raise BeyondLimit(f'it has more than {most / 2**20:,.0f} MiB of JSON')
    try:
        content = json.loads(text, object_pairs_hook=_once)
        if (b'\\u' if isinstance(text, bytes) else '\\u') in text:  # type: ignore[operator]
            for part in _texts(content):
                require_whole_characters(part)
        return content
    except RecursionError as error:
        raise BeyondLimit('it is nested too deeply') from error


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in [*value, *(value.values() if isinstance(value, dict) else ())]:
            yield from _texts(part)


def require_whole_characters(text: str) -> None:
    """Raises Malformed for a lone surrogate (half a character), which no file name, terminal or page can show.

    The surrogates that represent file-name bytes that are not UTF-8 (U+DC80 to U+DCFF) are allowed.
    """
    try:
        text.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError as error:
        raise Malformed(f'the text {text[:40]!a} contains half a character') from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise Malformed(f'duplicate key {duplicate(key for key, _ in pairs)!r}')
    return content


def duplicate(items: Iterable[Any]) -> Any:
    """Returns the first item that equals an earlier one; None if all differ."""
    seen = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None


def require_small(value: Any, most: int = VALUES) -> None:
    """Raises BeyondLimit if nested lists and dicts contain too many values or levels.

    A shared value counts at every reference: a few lines can define lists of lists of one list, which take no memory
    until something walks through them.
    """
    left, stack = most, [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, Mapping):
            inner: Iterable[Any] = item.values()
        elif isinstance(item, (list, tuple, set, frozenset)):
            inner = item
        else:
            continue
        left -= len(item)
        if depth >= DEPTH:
            raise BeyondLimit(f'it is nested more than {DEPTH} levels deep')
        if left < 0:
            raise BeyondLimit(f'it contains more than {most:,} values')
        stack += [(entry, depth + 1) for entry in inner]


def load_arrays(path: str | Path, most: int = ARRAYS) -> dict[str, np.ndarray]:
    """Reads the arrays of an `.npz` file without executing code.

    Args:
        path: the file.
        most: the bytes that it may unpack to, plus four times its own size.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, contains anything but plain arrays, or declares more than it contains.
    """
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        if len(archive.infolist()) > MEMBERS:
            raise BeyondLimit(f'it has {len(archive.infolist()):,} arrays; at most {MEMBERS:,} are read')
        require_sizes(archive.infolist(), os.fstat(file.fileno()).st_size, packed=True, most=most)
        return {info.filename.removesuffix('.npy'): _read_array(archive, info) for info in archive.infolist()}


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        version = np.lib.format.read_magic(member)
        if version not in read:
            raise Malformed(f'{info.filename} has format version {version}')
        shape, _, dtype = read[version](member)
        count = functools.reduce(int.__mul__, shape, 1)
        if dtype.hasobject or member.tell() + count * dtype.itemsize != info.file_size:
            kind = BeyondLimit if dtype.hasobject else Malformed  # objects are pickles, which run code
            raise kind(f'{info.filename} declares {dtype} of shape {shape} but has {info.file_size:,} bytes')
    with archive.open(info) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        member.read(1)  # reading to the end verifies the checksum
    return array


def require_sizes(members: list[zipfile.ZipInfo], size: int, packed: bool, most: int = ARRAYS) -> None:
    """Raises ValueError if the members of an archive declare more than its file can contain.

    Args:
        members: the members of the archive.
        size: the size of its file in bytes.
        packed: whether members may be compressed.
        most: the bytes that compressed members may declare, plus four times the size of the file.
    """
    twice = duplicate(member.filename for member in members)
    if twice is not None:
        raise Malformed(f'it has two parts named {twice!r}')
    announced = sum(member.file_size for member in members)
    if not packed and any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise Malformed('its parts are compressed')
    allowed = most + 4 * size if packed else size
    if announced > allowed or sum(member.compress_size for member in members) > size:
        raise BeyondLimit(f'its parts declare {announced:,} bytes and the file has {size:,}')
