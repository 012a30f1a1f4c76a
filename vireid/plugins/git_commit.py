"""The commit of a repository, told without running anything that the repository names.

A repository's config may name programs: a monitor of its files (`core.fsmonitor`), filters chosen by `.gitattributes`,
hooks, transports for objects that are missing; those of its submodules too. So git only says where things are and what
HEAD is, which reads no index and starts nothing. Files are compared with the commit in a repository of our own that
borrows objects and a copy of the index, and has a config of our own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from vireid.boundary.reading import open_regular

SECONDS = 10  # for all calls together
DIGITS = 40  # a longer name, of SHA-256, is cut
# in force over every config file
SAFE = (
    'core.fsmonitor=false', 'core.hooksPath=/dev/null', 'core.untrackedCache=false', 'core.splitIndex=false',
    'core.commitGraph=false',
)  # fmt: skip
# what says how files of a work tree are compared, and names no program
COMPARED = ('autocrlf', 'eol', 'filemode', 'symlinks', 'ignorecase', 'trustctime', 'checkstat', 'precomposeunicode')
QUIET = {
    'GIT_NO_LAZY_FETCH': '1',  # objects that are missing are not fetched
    'GIT_ALLOW_PROTOCOL': 'none',  # the same, of git before 2.44
    'GIT_TERMINAL_PROMPT': '0',
    'GIT_OPTIONAL_LOCKS': '0',
    'LC_ALL': 'C',
}
Git = Callable[..., 'str | None']


def commit() -> str:
    """Returns the 40 digits of the commit whose repository the process is in, and `+` if tracked files differ from it.

    Empty outside of a work tree, before a first commit, without git, and for a repository that git does not trust.

    Changes within submodules, and which commits they are at, do not count. A filter of `.gitattributes` is not run: a
    file that has one counts as changed if it was written after git last looked at it. Where git cannot tell within the
    time, or objects are missing, the commit stands alone.
    """
    program = _program()
    if program is None:
        return ''
    deadline = time.monotonic() + SECONDS
    git = _runner(program, {**os.environ, **QUIET}, deadline)
    head = git('rev-parse', '--verify', '--quiet', 'HEAD')
    top = git('rev-parse', '--show-toplevel')
    if not top or not head or not re.fullmatch('[0-9a-f]{40,64}', head):
        return ''
    with suppress(OSError), tempfile.TemporaryDirectory(prefix='vireid-git-', ignore_cleanup_errors=True) as own:
        return head[:DIGITS] + ('+' if _is_changed(program, git, head, top, Path(own), deadline) else '')
    return head[:DIGITS]


def _program() -> str | None:
    """Returns the path of git; never one in the current folder, whose files are the repository's."""
    folders = [folder for folder in os.environ.get('PATH', os.defpath).split(os.pathsep) if os.path.isabs(folder)]
    found = shutil.which('git', path=os.pathsep.join(folders)) if folders else None
    return found if found and os.path.isabs(found) else None  # Windows looks in the current folder first


def _runner(program: str, environment: Mapping[str, str], deadline: float) -> Git:
    def git(*words: str, status: int = 0) -> str | None:
        """Returns what git prints if it ends with a status; None if not, or if the time is up."""
        options = [word for setting in SAFE for word in ('-c', setting)]
        try:
            made = subprocess.run(  # noqa: S603, a program by its full path, and words of ours
                [program, '--no-pager', *options, *words],
                stdin=subprocess.DEVNULL, capture_output=True, check=False, env=dict(environment),
                timeout=max(0.0, deadline - time.monotonic()),
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return os.fsdecode(made.stdout).removesuffix('\n') if made.returncode == status else None

    return git


def _is_changed(program: str, git: Git, head: str, top: str, own: Path, deadline: float) -> bool:
    """Says whether tracked files differ from a commit.

    Args:
        program: git.
        git: runs it in the repository.
        head: the commit.
        top: the folder of the work tree.
        own: an empty folder, for a repository of our own.
        deadline: when the time is up.
    """
    objects, index = git('rev-parse', '--git-path', 'objects'), git('rev-parse', '--git-path', 'index')
    if objects is None or index is None:
        return False
    for folder in ('objects', 'refs', 'info'):
        (own / folder).mkdir()
    (own / 'HEAD').write_text(f'{head}\n', encoding='ascii')
    (own / 'config').write_text(_config(git, sha256=len(head) > DIGITS), encoding='ascii')
    for file in (Path(index), *Path(index).parent.glob('sharedindex.*')):
        with suppress(FileNotFoundError):  # nothing is checked out
            _copy(file, own / (file.name if file.name.startswith('sharedindex.') else 'index'))
    environment = {key: value for key, value in os.environ.items() if not key.startswith('GIT_')}
    for key in ('GIT_EXEC_PATH', 'GIT_ALTERNATE_OBJECT_DIRECTORIES'):  # where git and more objects are
        environment |= {key: os.environ[key]} if key in os.environ else {}
    environment |= {
        **QUIET,
        'GIT_DIR': str(own),
        'GIT_WORK_TREE': top,
        'GIT_INDEX_FILE': str(own / 'index'),
        'GIT_OBJECT_DIRECTORY': os.path.abspath(objects),
        'GIT_CONFIG_NOSYSTEM': '1',
        'GIT_CONFIG_SYSTEM': os.devnull,
        'GIT_CONFIG_GLOBAL': os.devnull,  # the user's filters run programs on the repository's files
        'HOME': str(own),  # the same, of git before 2.32
        'XDG_CONFIG_HOME': str(own),
        'GIT_ATTR_NOSYSTEM': '1',
        'GIT_NO_REPLACE_OBJECTS': '1',
    }
    isolated = _runner(program, environment, deadline)
    # without this, a file that was only touched looks changed
    isolated('update-index', '-q', '--ignore-submodules', '--refresh')
    compare = ('diff-index', '--quiet', '--no-ext-diff', '--no-textconv', '--ignore-submodules=all', 'HEAD', '--')
    return isolated(*compare, status=1) is not None


def _config(git: Git, sha256: bool) -> str:
    """Returns a config with those settings of the repository that say how files are compared."""
    lines = ['[core]', 'bare = false', f'repositoryformatversion = {int(sha256)}']
    found = git('config', '--null', '--get-regexp', rf'^core\.({"|".join(COMPARED)})$') or ''
    for name, _, value in (entry.partition('\n') for entry in found.split('\0')):
        if re.fullmatch('[A-Za-z0-9]{1,16}', value):
            lines.append(f'{name.removeprefix("core.")} = {value}')
    lines += ['[extensions]', 'objectFormat = sha256'] if sha256 else []
    return '\n'.join(lines) + '\n'


def _copy(source: Path, target: Path) -> None:
    with open_regular(source) as file, target.open('xb') as copy:
        shutil.copyfileobj(file, copy)
        times = os.fstat(file.fileno())
    # git looks into files that were written no earlier than the index: their size and time may be as before
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
