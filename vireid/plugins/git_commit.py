"""Finds the commit of a repository without running any program that the repository configures.

A repository's config may name programs: a file monitor (`core.fsmonitor`), filters selected by `.gitattributes`, hooks,
and transports for missing objects. So may the configs of its submodules. In the repository itself, git is therefore
only asked for paths and HEAD, which neither reads the index nor starts a program. Files are compared with the commit in
a temporary repository that borrows the objects and a copy of the index, and has a config that we control.
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
DIGITS = 40  # longer SHA-256 hashes are truncated
# override every config file
SAFE = (
    'core.fsmonitor=false', 'core.hooksPath=/dev/null', 'core.untrackedCache=false', 'core.splitIndex=false',
    'core.commitGraph=false',
)  # fmt: skip
# settings that affect how files of a work tree are compared and that name no program
COMPARED = ('autocrlf', 'eol', 'filemode', 'symlinks', 'ignorecase', 'trustctime', 'checkstat', 'precomposeunicode')
QUIET = {
    'GIT_NO_LAZY_FETCH': '1',  # do not fetch missing objects
    'GIT_ALLOW_PROTOCOL': 'none',  # the same for git before 2.44
    'GIT_TERMINAL_PROMPT': '0',
    'GIT_OPTIONAL_LOCKS': '0',
    'LC_ALL': 'C',
}
Git = Callable[..., 'str | None']


def commit() -> str:
    """Returns the commit of the current directory's repository, 40 digits, plus `+` if tracked files differ from it.

    The result is empty outside a work tree, before the first commit, without git, and in a repository that git does not
    trust.

    Submodules are ignored. Filters of `.gitattributes` are not run: a file with a filter counts as changed if it was
    written after git last checked it. If git does not finish in time or objects are missing, there is no `+`.
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
    """Returns the path of git, but never one in the current folder, which may belong to the repository."""
    folders = [folder for folder in os.environ.get('PATH', os.defpath).split(os.pathsep) if os.path.isabs(folder)]
    program = shutil.which('git', path=os.pathsep.join(folders)) if folders else None
    return program if program and os.path.isabs(program) else None  # Windows searches the current folder first


def _runner(program: str, environment: Mapping[str, str], deadline: float) -> Git:
    def git(*words: str, status: int = 0) -> str | None:
        """Returns the output of git if it exits with `status`; None otherwise or after the deadline."""
        options = [word for setting in SAFE for word in ('-c', setting)]
        try:
            process = subprocess.run(  # noqa: S603, the program is a full path and the arguments are ours
                [program, '--no-pager', *options, *words],
                stdin=subprocess.DEVNULL, capture_output=True, check=False, env=dict(environment),
                timeout=max(0.0, deadline - time.monotonic()),
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return os.fsdecode(process.stdout).removesuffix('\n') if process.returncode == status else None

    return git


def _is_changed(program: str, git: Git, head: str, top: str, own: Path, deadline: float) -> bool:
    """Returns whether tracked files differ from a commit.

    Args:
        program: path of git.
        git: runs git in the repository.
        head: the commit.
        top: root of the work tree.
        own: an empty folder for the temporary repository.
        deadline: time at which to give up.
    """
    objects, index = git('rev-parse', '--git-path', 'objects'), git('rev-parse', '--git-path', 'index')
    if objects is None or index is None:
        return False
    for folder in ('objects', 'refs', 'info'):
        (own / folder).mkdir()
    (own / 'HEAD').write_text(f'{head}\n', encoding='ascii')
    (own / 'config').write_text(_config(git, sha256=len(head) > DIGITS), encoding='ascii')
    for file in (Path(index), *Path(index).parent.glob('sharedindex.*')):
        with suppress(FileNotFoundError):  # without a checkout there is no index
            _copy(file, own / (file.name if file.name.startswith('sharedindex.') else 'index'))
    environment = {key: value for key, value in os.environ.items() if not key.startswith('GIT_')}
    for key in ('GIT_EXEC_PATH', 'GIT_ALTERNATE_OBJECT_DIRECTORIES'):  # paths of git's programs and of more objects
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
        'HOME': str(own),  # the same for git before 2.32
        'XDG_CONFIG_HOME': str(own),
        'GIT_ATTR_NOSYSTEM': '1',
        'GIT_NO_REPLACE_OBJECTS': '1',
    }
    isolated = _runner(program, environment, deadline)
    # without this, a touched file looks changed
    isolated('update-index', '-q', '--ignore-submodules', '--refresh')
    compare = ('diff-index', '--quiet', '--no-ext-diff', '--no-textconv', '--ignore-submodules=all', 'HEAD', '--')
    return isolated(*compare, status=1) is not None


def _config(git: Git, sha256: bool) -> str:
    """Returns a config with the settings of the repository that affect how files are compared."""
    lines = ['[core]', 'bare = false', f'repositoryformatversion = {int(sha256)}']
    settings = git('config', '--null', '--get-regexp', rf'^core\.({"|".join(COMPARED)})$') or ''
    for name, _, value in (entry.partition('\n') for entry in settings.split('\0')):
        if re.fullmatch('[A-Za-z0-9]{1,16}', value):
            lines.append(f'{name.removeprefix("core.")} = {value}')
    lines += ['[extensions]', 'objectFormat = sha256'] if sha256 else []
    return '\n'.join(lines) + '\n'


def _copy(source: Path, target: Path) -> None:
    with open_regular(source) as file, target.open('xb') as copy:
        shutil.copyfileobj(file, copy)
        times = os.fstat(file.fileno())
    # keep the times: git reads files that are not older than the index, as size and time may not show a change
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
