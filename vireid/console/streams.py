"""Console output that never fails a run: a closed pipe, a full disk or a limited encoding only affects the console.

Text from outside never reaches a terminal unescaped: `sys.stdout` and `sys.stderr` show control characters as escapes.
rich writes its own escape sequences to `terminal()`; see `vireid/console/terminal.py`.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import stat
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TextIO

from vireid.boundary.showing import error_text, printable
from vireid.console.os_errors import explain
from vireid.errors import VireidError, WriteFailed

# errors that mean that the other end of a pipe, a socket or a terminal is closed
GONE = {errno.EPIPE, errno.EIO, errno.ENXIO, errno.ECONNRESET, errno.ESHUTDOWN}
WAIT = 60.0  # seconds to wait for a slow reader of a non-blocking pipe


def _without(error: UnicodeError) -> tuple[str, int]:
    """Returns the replacement for characters that an encoding lacks: escapes, except for the ± in tables of metrics."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return ''.join('+-' if c == '±' else c.encode('ascii', 'backslashreplace').decode() for c in lacking), error.end


codecs.register_error('vireid.without', _without)


class Output:
    """Writes bytes to the target of a standard stream and survives its loss.

    Args:
        stream: `sys.stdout` or `sys.stderr` as Python created it.
        flushes: flush the stream first, because others write to it too.

    Attributes:
        error: the first error other than a closed reader, such as a full disk.
    """

    def __init__(self, stream: TextIO, flushes: bool = False) -> None:
        self.stream, self._flushes = stream, flushes
        self.error: OSError | None = None
        self._patience = WAIT
        buffer: Any = stream.buffer
        self._raw: Any = buffer.raw if isinstance(buffer, (io.BufferedWriter, io.BufferedRandom)) else buffer
        self._encoder = codecs.getincrementalencoder(stream.encoding or 'utf-8')('vireid.without')

    def write(self, text: str) -> None:
        """Writes text immediately; characters that the encoding lacks become escapes."""
        if self._flushes:
            with suppress(OSError, ValueError):
                self.stream.flush()
        if os.linesep != '\n':
            text = text.replace('\n', os.linesep)
        left = memoryview(self._encoder.encode(text))
        while len(left):
            try:
                done = self._raw.write(left)
            except OSError as error:
                if not self._is_gone(error):
                    self.error = self.error or error
                    return
                self.silence()
                return
            except ValueError:  # closed by someone else
                return
            if not done and not self._wait():
                self._patience = 0.0  # wait once, not on every line
                self.error = self.error or BlockingIOError(errno.EAGAIN, 'the reader does not read')
                return
            left = left[done or 0 :]

    def silence(self) -> None:
        """Discards all further output, including that of child processes."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, self._raw.fileno())
            finally:
                os.close(nowhere)

    def _is_gone(self, error: OSError) -> bool:
        """Returns whether an error means that the reader is gone; on a disk, EIO is a defect."""
        with suppress(OSError, ValueError):
            if stat.S_ISREG(os.fstat(self._raw.fileno()).st_mode):
                return False
        return error.errno in GONE or (os.name == 'nt' and error.errno == errno.EINVAL)

    def _wait(self) -> bool:
        """Waits for a non-blocking pipe; returns whether it accepts more."""
        try:
            return bool(select.select([], [self._raw], [], self._patience)[1])
        except (OSError, ValueError):
            return False


class Stream(io.TextIOBase):
    """A text stream that writes whole lines to an `Output`.

    Args:
        output: the target.
        own_escapes: whether to pass escape sequences through, for a writer that emits its own; else they are escaped.
    """

    def __init__(self, output: Output, own_escapes: bool = False) -> None:
        self.output, self._own_escapes = output, own_escapes
        self._parts: deque[str] = deque()
        self._line = ''  # the start of the current, unfinished line

    def write(self, text: str) -> int:
        """Buffers text and writes it as soon as a line ends."""
        shown = text if self._own_escapes else self._shown(text)
        self._parts.append(shown)
        if '\n' in shown or '\r' in shown:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Writes the buffered text."""
        parts = []
        with suppress(IndexError):
            while True:
                parts.append(self._parts.popleft())
        if parts:
            self.output.write(''.join(parts))

    def _shown(self, text: str) -> str:
        """Returns text without control characters, but keeps a carriage return that restarts a line.

        Progress bars of libraries thus stay on their line, and a name cannot overwrite the text before it.
        """
        body, before, after = text, '', ''
        if text.startswith('\r') and self._line in ('', '\r'):
            body, before = text[1:], '\r'
            if body.endswith('\r'):
                body, after = body[:-1], '\r'
        rest = text.rpartition('\n')[2]
        self._line = rest[:1] if '\n' in text else self._line or text[:1]
        return before + printable(body) + after

    def __getattr__(self, name: str) -> Any:
        if name == 'output':  # not set yet
            raise AttributeError(name)
        return getattr(self.output.stream, name)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.output.stream.isatty()

    def fileno(self) -> int:
        return self.output.stream.fileno()

    @property
    def buffer(self) -> Any:
        """The underlying byte stream."""
        self.flush()
        return self.output.stream.buffer  # type: ignore[attr-defined]

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.output.stream.encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        return 'backslashreplace'

    @property
    def name(self) -> Any:
        return self.output.stream.name

    def close(self) -> None:
        """Writes the buffered text; the stream of the process stays open."""
        with suppress(ValueError):
            self.flush()


@contextmanager
def surviving() -> Iterator[list[Output]]:
    """Makes printing within the block survive a broken console; yields the outputs.

    Replaces only the streams that Python created for the process; those of a notebook or a test stay in place.
    """
    before: dict[str, TextIO | None] = {}
    taken: dict[str, Any] = {}
    outputs: list[Output] = []
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        if stream is None:
            taken[name] = _nowhere()
        elif stream is getattr(sys, f'__{name}__') and _is_of_the_process(stream):
            with suppress(OSError, ValueError):
                stream.flush()
            outputs.append(Output(stream))
            taken[name] = Stream(outputs[-1])
        else:
            continue
        before[name] = stream
        setattr(sys, name, taken[name])
    try:
        yield outputs
    except Exception:
        if outputs:  # Python is about to print the exception, which may contain names from outside
            sys.excepthook = _show_exception
        raise
    finally:
        for name, stream in taken.items():
            for last in (getattr(sys, name), stream):  # rich replaces the stream while it shows a progress bar
                with suppress(OSError, ValueError, AttributeError):
                    last.flush()
            setattr(sys, name, before[name])
        for output in outputs:
            _settle(output)


def terminal() -> TextIO:
    """Returns the stream for a rich console: `sys.stdout` with rich's own escape sequences passed through.

    Text from outside must be `printable` before it reaches rich; `Terminal` takes care of that.
    """
    from rich.file_proxy import FileProxy  # loaded only by those that use a terminal

    stream: Any = sys.stdout
    if isinstance(stream, FileProxy):  # while rich shows a progress bar
        stream = stream.rich_proxied_file
    if isinstance(stream, Stream):
        return Stream(stream.output, own_escapes=True)  # type: ignore[return-value]
    if stream is None or not _is_of_the_process(stream):
        return stream
    # the stream of a script: flush first what the script has printed
    return Stream(Output(stream, flushes=True), own_escapes=True)  # type: ignore[return-value]


def _is_of_the_process(stream: Any) -> bool:
    try:
        return stream.fileno() in (1, 2) and stream.buffer is not None
    except (AttributeError, OSError, ValueError):
        return False


def _show_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    with surviving():
        traceback.print_exception(kind, error, trace)


def _nowhere() -> TextIO:
    """Opens a replacement for a closed stream, so that no file opened later gets its descriptor."""
    handle = os.open(os.devnull, os.O_WRONLY)
    while handle == 0:
        handle = os.dup(handle)
    return os.fdopen(handle, 'w', encoding='utf-8', closefd=False)


def _settle(output: Output) -> None:
    """Empties the buffer, so that Python does not write it again at exit and report an error."""
    try:
        output.stream.flush()
    except OSError as error:
        if not output._is_gone(error):
            output.error = output.error or error
        output.silence()
        with suppress(OSError, ValueError):
            output.stream.flush()
    except ValueError:  # closed
        pass


def find_lost(outputs: Sequence[Output]) -> list[VireidError]:
    """Returns an error for each output with text that could not be written, to a full disk for example."""
    for stream in (sys.stdout, sys.stderr) if outputs else ():
        stream.flush()
    return [
        _lost(output.error, f'some output could not be written to {output.stream.name}: ')
        for output in outputs
        if output.error
    ]


def _lost(error: OSError, what: str) -> VireidError:
    """Returns the error for text that could not be written."""
    if isinstance(error, BlockingIOError):
        todo = 'read the output while the command runs, or write it to a file'
        return WriteFailed(f'{what}{error_text(error)}', todo=todo)
    return explain(error, what, WriteFailed)


def process_name() -> str:
    """Returns a prefix with the rank of this process; empty for rank 0. Launchers set one of these variables."""
    rank = next((os.environ[name] for name in ('RANK', 'LOCAL_RANK', 'SLURM_PROCID') if name in os.environ), '0')
    return '' if rank == '0' else f'process {rank}: '
