"""A console that is gone, full or old costs what is printed and nothing else; no escape sequence gets through."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys

import pytest

from vireid.console import streams
from vireid.console.streams import Output, Stream

pty = pytest.importorskip('pty')

HOSTILE = 'a\x1b[2Jb\r\x07c\x9b31md\u202ee'
# what `main` does, with a command of a few lines
BEGIN = (
    'import sys, os\nimport vireid.cli as cli\n'
    'def run(arguments, command):\n{}\n    return 0\n'
    'cli._status = run\nsys.exit(cli.main([]))\n'
)


# here Python keeps what is written past us until the end
BUFFERED = {key: value for key, value in os.environ.items() if key != 'PYTHONUNBUFFERED'}


def program(*lines: str) -> list[str]:
    return [sys.executable, '-c', BEGIN.format('\n'.join(f'    {line}' for line in lines))]


def ended(*lines: str, **options) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(program(*lines), capture_output=True, timeout=600, **options)


def test_a_reader_that_is_gone_costs_nothing(tmp_path):
    mark = tmp_path / 'finished'
    lines = ['for n in range(20000): print("line", n)', f'open({str(mark)!r}, "w").close()']
    with subprocess.Popen(program(*lines), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b'line 0\n'
        process.stdout.close()
        assert process.stderr.read() == b''
        assert process.wait(600) == 0
    assert mark.exists()


def test_children_are_silent_then_too():
    lines = ['import time', 'print(1); time.sleep(0.3); print(2)', 'assert os.system("echo 3") == 0']
    with subprocess.Popen(program(*lines), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b''
        assert process.wait(600) == 0


@pytest.mark.parametrize('name', ['stdout', 'stderr'])
def test_text_without_a_line_end_and_no_reader_leaves_no_complaint_at_the_end(name):
    reads, writes = os.pipe()
    os.close(reads)
    others = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, name: writes}
    lines = [f'print("x", end="", file=sys.{name})', 'sys.__stdout__.write("y")']
    made = subprocess.run(program(*lines), env=BUFFERED, **others)
    os.close(writes)
    assert made.returncode == 0
    assert not made.stderr


@pytest.mark.skipif(not os.access('/dev/full', os.W_OK), reason='needs /dev/full')
@pytest.mark.parametrize('line', ['print("x")', 'sys.__stdout__.write("x")', 'print("x"); sys.exit(0)'])
def test_a_full_disk_is_told_at_the_end(line):
    with open('/dev/full', 'w') as full:
        made = subprocess.run(program(line, 'print("y")'), stdout=full, stderr=subprocess.PIPE, text=True, env=BUFFERED)
    assert made.returncode == 2
    assert f'could not be written to <stdout>: {os.strerror(errno.ENOSPC)}' in made.stderr
    assert 'Exception ignored' not in made.stderr
    assert 'Traceback' not in made.stderr


@pytest.mark.skipif(not os.access('/dev/full', os.W_OK), reason='needs /dev/full')
def test_a_run_that_a_signal_stopped_keeps_its_status():
    with open('/dev/full', 'w') as full:
        assert subprocess.run(program('print("x")', 'return 143'), stdout=full, stderr=full).returncode == 143


@pytest.mark.parametrize('closed', ['>&-', '2>&-', '<&- >&- 2>&-'])
def test_streams_that_were_closed_from_the_start(closed, tmp_path):
    """A file that is opened later must not become stdout."""
    lines = [f'with open({str(tmp_path / "f")!r}, "w") as file: os.system("echo x; echo x >&2"); print("y")']
    lines.append('sys.stdout.isatty()')
    environment = {**os.environ, 'PYTHON': sys.executable, 'CODE': program(*lines)[2]}
    made = subprocess.run(['sh', '-c', f'exec "$PYTHON" -c "$CODE" {closed}'], env=environment)
    assert made.returncode == 0
    assert (tmp_path / 'f').read_text() == ''


@pytest.mark.parametrize(
    ('encoding', 'expected'),
    [
        ('ascii', rb'\u5f20 +- \u2192'),
        ('cp1252', b'\\u5f20 \xb1 \\u2192'),
        ('gbk', '张 ± →'.encode('gbk')),
        ('latin-1:strict', b'\\u5f20 \xb1 \\u2192'),
        ('utf-8', '张 ± →'.encode()),
    ],
)
def test_what_an_encoding_lacks_becomes_an_escape(encoding, expected):
    made = ended('print("\\u5f20 \\xb1 \\u2192")', env={**os.environ, 'PYTHONIOENCODING': encoding})
    assert (made.returncode, made.stdout.strip(), made.stderr) == (0, expected, b'')


def test_control_characters_reach_no_terminal():
    made = ended(f'print({HOSTILE!r}, end=""); print({HOSTILE!r}, file=sys.stderr); print("\\udcff")')
    shown = rb'a\x1b[2Jb\r\x07c\x9b31md\u202ee'
    assert made.stdout == shown + b'\\udcff\n'
    assert made.stderr == shown + b'\n'


def test_neither_do_those_of_an_error_that_nobody_expected():
    made = ended(f'raise RuntimeError({HOSTILE!r})')
    assert made.returncode == 1
    assert made.stderr.endswith(rb'RuntimeError: a\x1b[2Jb\r\x07c\x9b31md\u202ee' + b'\n')


class Fake:
    """A stream of the process, of which each write to the file beneath is noted or fails."""

    encoding, name = 'utf-8', '<stdout>'

    def __init__(self, *errors: OSError | None, at_once: int = 1000, handle: int = -1) -> None:
        self.errors, self.at_once, self.handle, self.got = list(errors), at_once, handle, b''
        self.buffer = self.raw = self

    def write(self, data: memoryview) -> int:
        error = self.errors.pop(0) if self.errors else None
        if error:
            raise error
        self.got += bytes(data[: self.at_once])
        return min(len(data), self.at_once)

    def fileno(self) -> int:
        if self.handle < 0:
            raise OSError(errno.EBADF, 'no file')
        return self.handle

    def isatty(self) -> bool:
        return True


def test_a_write_may_take_a_part():
    fake = Fake(at_once=3)
    Stream(Output(fake)).write('some line\n')
    assert fake.got == b'some line\n'


def test_after_a_full_disk_it_is_tried_again():
    fake = Fake(OSError(errno.ENOSPC, 'full'))
    stream = Stream(Output(fake))
    for text in ('lost\n', 'there\n'):
        stream.write(text)
    assert fake.got == b'there\n'
    assert stream.output.error.errno == errno.ENOSPC


def test_a_defect_of_a_disk_is_no_terminal_that_is_gone(tmp_path):
    with (tmp_path / 'log').open('w') as log:
        stream = Stream(Output(Fake(OSError(errno.EIO, 'defect'), handle=log.fileno())))
        stream.write('x\n')
    assert stream.output.error.errno == errno.EIO


def test_a_reader_that_is_slow_is_waited_for():
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    text = 'x' * 300_000
    waiting = subprocess.Popen(['wc', '-c'], stdin=reads, stdout=subprocess.PIPE)
    with os.fdopen(writes, 'w') as pipe:
        output = Output(pipe)
        output.write(text)
    os.close(reads)
    assert int(waiting.communicate()[0]) == len(text)
    assert output.error is None


def test_a_reader_that_never_reads_is_not_waited_for_twice(monkeypatch):
    monkeypatch.setattr(streams, 'WAIT', 0.05)
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with os.fdopen(writes, 'w') as pipe:
        output = Output(pipe)
        output.write('x' * 300_000)
        assert output.error.errno == errno.EAGAIN
        waited = []
        monkeypatch.setattr(streams.select, 'select', lambda r, w, x, seconds: waited.append(seconds) or ([], [], []))
        output.write('x')
        assert waited == [0.0]
    os.close(reads)


def test_progress_of_libraries_stays_on_its_line_and_a_name_overwrites_nothing():
    fake = Fake()
    stream = Stream(Output(fake))
    for text in ('\r 10%', '\r 20%', '\r     \r', '\n', 'deleted ', '\rkept', '\n', '\rnext\n'):
        stream.write(text)
    stream.flush()
    assert fake.got == b'\r 10%\r 20%\r     \r\ndeleted \\rkept\n\rnext\n'


def test_streams_that_others_put_in_place_are_left_alone(monkeypatch):
    own = io.StringIO()
    monkeypatch.setattr(sys, 'stdout', own)
    with streams.surviving() as outputs:
        assert sys.stdout is own
        assert streams.terminal() is own
        print(HOSTILE)
    assert outputs == []
    assert own.getvalue() == HOSTILE + '\n'


def test_outside_all_is_as_it_was():
    made = ended('pass')
    assert made.returncode == 0
    code = 'import sys\nfrom vireid.console.streams import surviving\nbefore = sys.stdout, sys.stderr\n'
    code += 'with surviving(): assert (sys.stdout, sys.stderr) != before\nassert (sys.stdout, sys.stderr) == before'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


def on_terminal(*lines: str, closes_after: bytes | None = None) -> tuple[int, bytes]:
    """Runs a command on a terminal of its own; returns its status and all that it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        program(*lines), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, 'TERM': 'xterm', 'COLUMNS': '100'},
    )  # fmt: skip
    os.close(theirs)
    seen = b''
    try:
        while closes_after is None or closes_after not in seen:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux's way to say the end
                break
            if not part:
                break
            seen += part
    finally:
        os.close(ours)
    return process.wait(600), seen


def test_a_terminal_that_vanishes_costs_nothing(tmp_path):
    mark = tmp_path / 'finished'
    lines = ['import time', 'for n in range(60): print("line", n); time.sleep(0.01)', f'open({str(mark)!r}, "w")']
    assert on_terminal(*lines, closes_after=b'line 3')[0] == 0
    assert mark.exists()


def test_rich_has_its_escape_sequences_and_texts_have_none():
    status, seen = on_terminal(
        'from rich.progress import Progress, TextColumn',
        'from vireid.console.terminal import Terminal',
        f'hostile = {HOSTILE!r}',
        'link = "\\x1b]8;;http://a\\x07\\x1b[2J\\x1b\\\\here\\x1b]8;;\\x1b\\\\"',
        'terminal = Terminal()',
        'terminal.print("[bold]first[/] " + hostile)',
        'with Progress(TextColumn("{task.description}", markup=False), console=terminal) as bar:',
        '    bar.add_task("task " + hostile)',
        '    print("meanwhile", hostile, link)',
        '    print("warning", hostile, link, file=sys.stderr)',
        'print("last", hostile)',
    )
    assert status == 0
    assert b'\x1b[1mfirst\x1b[0m' in seen
    for beginning in (b'first', b'task', b'meanwhile', b'warning', b'last'):
        assert beginning in seen
    for planted in (b'\x1b[2J', b'\x07', b'\x1b]8', '\x9b'.encode(), '\u202e'.encode()):
        assert planted not in seen


def test_a_bar_survives_its_terminal(tmp_path):
    mark = tmp_path / 'finished'
    lines = [
        'import time', 'from rich.progress import Progress', 'from vireid.console.terminal import Terminal',
        'with Progress(console=Terminal(), refresh_per_second=50) as bar:',
        '    for n in bar.track(range(60)): time.sleep(0.01); print(n)',
        f'open({str(mark)!r}, "w")',
    ]  # fmt: skip
    assert on_terminal(*lines, closes_after=b'%')[0] == 0
    assert mark.exists()


def test_a_script_s_own_console_shows_what_its_encoding_lacks_as_escapes_in_order():
    """From Python nothing takes the console in hand; tables and names are shown all the same."""
    code = 'from vireid.console.terminal import Terminal; print("a"); Terminal().print("\\u5f20 ±"); print("b")'
    environment = {**BUFFERED, 'PYTHONIOENCODING': 'ascii'}
    made = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True)
    assert (made.stdout.split(b'\n'), made.stderr) == ([b'a', rb'\u5f20 +-', b'b', b''], b'')
