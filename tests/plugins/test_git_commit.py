"""The commit is the one that git reports, and no program that the repository configures is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vireid.plugins import git_commit
from vireid.plugins.git_commit import commit

pytestmark = pytest.mark.skipif(shutil.which('git') is None or os.name == 'nt', reason='needs git and a shell')


def git(folder: Path, *words: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith('GIT_')}
    made = subprocess.run(
        ['git', '-c', 'user.name=x', '-c', 'user.email=x@y', '-c', 'protocol.file.allow=always', *words],
        cwd=folder, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def described(folder: Path) -> str:
    """The commit from plain git, which runs the programs that the repository configures."""
    return git(folder, 'describe', '--always', '--dirty=+', '--abbrev=40', '--exclude=*')


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two files and one commit, as the current directory."""
    folder = tmp_path / 'repository'
    folder.mkdir()
    git(folder, 'init', '-q')
    for name in ('a.txt', 'b.txt'):
        (folder / name).write_text(f'{name}\n')
    git(folder, 'add', '.')
    git(folder, 'commit', '-qm', 'first')
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith('GIT_')]:
        monkeypatch.delenv(name)
    return folder


def head(folder: Path) -> str:
    return git(folder, 'rev-parse', 'HEAD')


def test_a_clean_tree_is_its_commit_and_a_changed_one_gets_a_plus(repository):
    assert commit() == head(repository) == described(repository)
    (repository / 'new.txt').write_text('not tracked')
    assert commit() == head(repository)
    (repository / 'a.txt').write_text('other\n')
    assert commit() == head(repository) + '+' == described(repository)
    git(repository, 'checkout', 'a.txt')
    (repository / 'c.txt').write_text('added\n')
    git(repository, 'add', 'c.txt')
    assert commit() == head(repository) + '+'
    git(repository, 'commit', '-qm', 'second')
    assert commit() == head(repository)
    (repository / 'b.txt').unlink()
    assert commit() == head(repository) + '+' == described(repository)


def test_files_that_were_only_touched_are_the_same(repository):
    os.utime(repository / 'a.txt', (1, 1))
    before = (repository / '.git/index').read_bytes()
    assert commit() == head(repository)
    assert (repository / '.git/index').read_bytes() == before  # the repository is only read


def test_in_a_subfolder_it_is_the_same(repository, monkeypatch):
    (repository / 'sub').mkdir()
    monkeypatch.chdir(repository / 'sub')
    assert commit() == head(repository)
    (repository / 'a.txt').write_text('other\n')
    assert commit() == head(repository) + '+'


def test_outside_of_a_repository_before_a_commit_in_a_bare_one_and_without_git_it_is_empty(
    repository, tmp_path, monkeypatch
):
    git(tmp_path, 'clone', '-q', '--bare', str(repository), 'bare')
    (tmp_path / 'empty').mkdir()
    git(tmp_path / 'empty', 'init', '-q')
    for folder in (tmp_path, tmp_path / 'bare', tmp_path / 'empty'):
        monkeypatch.chdir(folder)
        assert commit() == ''
    monkeypatch.chdir(repository)
    monkeypatch.setenv('PATH', str(tmp_path))
    assert commit() == ''


def test_a_worktree_has_its_own_commit_and_files(repository, tmp_path, monkeypatch):
    git(repository, 'worktree', 'add', '-q', '-b', 'other', str(tmp_path / 'tree'))
    (tmp_path / 'tree/c.txt').write_text('c\n')
    git(tmp_path / 'tree', 'add', '.')
    git(tmp_path / 'tree', 'commit', '-qm', 'second')
    (repository / 'a.txt').write_text('other\n')
    monkeypatch.chdir(tmp_path / 'tree')
    assert commit() == head(tmp_path / 'tree') != head(repository)
    (tmp_path / 'tree/a.txt').write_text('other\n')
    assert commit() == head(tmp_path / 'tree') + '+'


def split(folder: Path) -> None:
    git(folder, 'config', 'core.splitIndex', 'true')
    git(folder, 'update-index', '--split-index')
    assert list((folder / '.git').glob('sharedindex.*'))


def sparse(folder: Path) -> None:
    for name in ('in', 'out'):
        (folder / name).mkdir()
        (folder / name / 'x').write_text('x\n')
    git(folder, 'add', '.')
    git(folder, 'commit', '-qm', 'second')
    git(folder, 'sparse-checkout', 'set', '--sparse-index', 'in')
    assert not (folder / 'out').exists()


def packed(folder: Path) -> None:
    git(folder, 'gc', '-q')


@pytest.mark.parametrize('kind', [split, sparse, packed])
def test_other_kinds_of_index_and_objects(repository, kind):
    kind(repository)
    assert commit() == head(repository) == described(repository)
    (repository / 'a.txt').write_text('other\n')
    assert commit() == head(repository) + '+'


def test_objects_may_be_another_repository_s(repository, tmp_path, monkeypatch):
    git(tmp_path, 'clone', '-q', '--shared', str(repository), 'borrower')
    monkeypatch.chdir(tmp_path / 'borrower')
    assert commit() == head(repository)
    (tmp_path / 'borrower/a.txt').write_text('other\n')
    assert commit() == head(repository) + '+'


def test_a_work_tree_may_be_elsewhere(repository, tmp_path, monkeypatch):
    (tmp_path / 'elsewhere').mkdir()
    for name in ('a.txt', 'b.txt'):
        (repository / name).rename(tmp_path / 'elsewhere' / name)
    git(repository, 'config', 'core.worktree', str(tmp_path / 'elsewhere'))
    monkeypatch.chdir(tmp_path / 'elsewhere')
    monkeypatch.setenv('GIT_DIR', str(repository / '.git'))  # the user may choose the location of the repository
    assert commit() == head(repository)
    (tmp_path / 'elsewhere/a.txt').write_text('other\n')
    assert commit() == head(repository) + '+'


def test_line_ends_that_git_converts_are_no_change(repository):
    git(repository, 'config', 'core.autocrlf', 'true')
    for name in ('a.txt', 'b.txt'):
        (repository / name).write_bytes(f'{name}\r\n'.encode())
    git(repository, 'add', '.')
    os.utime(repository / 'a.txt', (1, 1))
    assert commit() == head(repository) == described(repository)


def test_names_with_line_breaks(repository, tmp_path, monkeypatch):
    odd = tmp_path / 'two\nlines \n'
    repository.rename(odd)
    monkeypatch.chdir(odd)
    assert commit() == head(odd)
    (odd / 'a.txt').write_text('other\n')
    assert commit() == head(odd) + '+'


def test_settings_in_the_environment_change_nothing(repository, tmp_path, monkeypatch):
    for name, value in {
        'GIT_CONFIG_COUNT': '1', 'GIT_CONFIG_KEY_0': 'core.bare', 'GIT_CONFIG_VALUE_0': 'false',
        'GIT_EXTERNAL_DIFF': 'false', 'GIT_TRACE': str(tmp_path / 'trace'), 'GIT_PAGER': 'false',
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert commit() == head(repository)


def test_a_sha_256_repository(tmp_path, monkeypatch):
    folder = tmp_path / 'repository'
    folder.mkdir()
    git(folder, 'init', '-q', '--object-format=sha256')
    (folder / 'a.txt').write_text('a\n')
    git(folder, 'add', '.')
    git(folder, 'commit', '-qm', 'first')
    monkeypatch.chdir(folder)
    assert commit() == head(folder)[:40]
    (folder / 'a.txt').write_text('other\n')
    assert commit() == head(folder)[:40] + '+'


def test_where_objects_are_missing_the_commit_stands_alone(repository):
    shutil.rmtree(repository / '.git/objects')
    (repository / '.git/objects').mkdir()
    (repository / 'a.txt').write_text('other\n')
    assert commit() == (repository / '.git/refs/heads' / git(repository, 'branch', '--show-current')).read_text()[:-1]


def test_a_pipe_in_place_of_the_index_blocks_nobody(repository):
    (repository / '.git/index').unlink()
    os.mkfifo(repository / '.git/index')
    begun = time.monotonic()
    assert commit() == head(repository)
    assert time.monotonic() - begun < git_commit.SECONDS


def test_it_waits_for_so_long_and_no_longer(repository, monkeypatch):
    monkeypatch.setattr(git_commit, 'SECONDS', 0.3)
    os.mkfifo(repository / '.git/config.more')
    git(repository, 'config', 'include.path', 'config.more')
    begun = time.monotonic()
    assert commit() == ''
    assert time.monotonic() - begun < 60  # does not wait for a writer of the pipe


Plant = Callable[[Path, Path], None]


def monitor(folder: Path, program: Path) -> None:
    git(folder, 'config', 'core.fsmonitor', str(program))


def monitor_in_the_index(folder: Path, program: Path) -> None:
    git(folder, 'update-index', '--fsmonitor')
    git(folder, 'config', 'core.fsmonitor', str(program))


def clean_filter(folder: Path, program: Path) -> None:
    (folder / '.gitattributes').write_text('* filter=evil\n')
    git(folder, 'config', 'filter.evil.clean', f'{program}; cat')
    git(folder, 'config', 'filter.evil.required', 'true')


def filter_process(folder: Path, program: Path) -> None:
    (folder / '.git/info').mkdir(exist_ok=True)
    (folder / '.git/info/attributes').write_text('* filter=evil\n')
    git(folder, 'config', 'filter.evil.process', str(program))


def the_user_s_filter(folder: Path, program: Path) -> None:
    """The repository selects a filter that the user's config defines."""
    (folder / '.gitattributes').write_text('* filter=evil\n')
    home = folder.with_name('home')
    home.mkdir()
    git(folder, 'config', '--file', str(home / '.gitconfig'), 'filter.evil.clean', f'{program}; cat')
    os.environ['HOME'] = str(home)


def hooks(folder: Path, program: Path) -> None:
    for name in ('post-index-change', 'fsmonitor-watchman', 'post-checkout', 'reference-transaction'):
        (folder / '.git/hooks').mkdir(exist_ok=True)
        shutil.copy(program, folder / '.git/hooks' / name)


def hooks_elsewhere(folder: Path, program: Path) -> None:
    (folder / 'h').mkdir()
    shutil.copy(program, folder / 'h/post-index-change')
    git(folder, 'config', 'core.hooksPath', str(folder / 'h'))


def external_diff(folder: Path, program: Path) -> None:
    (folder / '.gitattributes').write_text('* diff=evil\n')
    for key in ('diff.external', 'diff.evil.command', 'diff.evil.textconv', 'core.pager', 'pager.rev-parse'):
        git(folder, 'config', key, str(program))


def included(folder: Path, program: Path) -> None:
    (folder / 'more').write_text(f'[core]\n\tfsmonitor = {program}\n')
    git(folder, 'config', 'include.path', str(folder / 'more'))


def another_s_config(folder: Path, program: Path) -> None:
    """The config of this work tree only."""
    git(folder, 'config', 'extensions.worktreeConfig', 'true')
    git(folder, 'config', '--worktree', 'core.fsmonitor', str(program))


def submodule(folder: Path, program: Path) -> None:
    inner = folder.with_name('inner')
    git(folder.parent, 'clone', '-q', str(folder), str(inner))
    git(folder, 'submodule', '--quiet', 'add', str(inner), 'module')
    git(folder, 'commit', '-qm', 'second')
    git(folder / 'module', 'config', 'core.fsmonitor', str(program))
    (folder / 'module/a.txt').write_text('other\n')


def promisor(folder: Path, program: Path) -> None:
    """Objects are missing, and a program would fetch them."""
    git(folder, 'config', 'core.repositoryFormatVersion', '1')
    git(folder, 'config', 'extensions.partialClone', 'origin')
    git(folder, 'config', 'remote.origin.url', f'ext::{program} %S')
    git(folder, 'config', 'remote.origin.promisor', 'true')
    git(folder, 'config', 'protocol.ext.allow', 'always')
    shutil.rmtree(folder / '.git/objects')
    (folder / '.git/objects').mkdir()


def upload_program(folder: Path, program: Path) -> None:
    promisor(folder, program)
    git(folder, 'config', 'remote.origin.url', f'file://{folder}')
    git(folder, 'config', 'remote.origin.uploadpack', str(program))
    git(folder, 'config', 'protocol.file.allow', 'always')


def alternate(folder: Path, program: Path) -> None:
    """It borrows the objects of a repository with a file monitor and hooks."""
    other = folder.with_name('other')
    shutil.copytree(folder / '.git', other)
    hooks(folder, program)
    git(other, 'config', 'core.fsmonitor', str(program))
    shutil.rmtree(folder / '.git/objects')
    (folder / '.git/objects/info').mkdir(parents=True)
    (folder / '.git/objects/info/alternates').write_text(f'{other}/objects\n')


VECTORS: list[Plant] = [
    monitor, monitor_in_the_index, clean_filter, filter_process, the_user_s_filter, hooks, hooks_elsewhere,
    external_diff, included, another_s_config, submodule, promisor, upload_program, alternate,
]  # fmt: skip


@pytest.mark.parametrize('plant', VECTORS, ids=lambda plant: plant.__name__)
def test_nothing_that_a_repository_names_is_run(repository, tmp_path, monkeypatch, plant):
    monkeypatch.setenv('HOME', os.environ.get('HOME', ''))  # restored afterwards
    mark = tmp_path / 'was-run'
    program = tmp_path / 'program.sh'
    program.write_text(f'#!/bin/sh\ntouch {mark}\n')
    program.chmod(0o755)
    known = head(repository)
    plant(repository, program)
    known = known if plant in (promisor, upload_program) else head(repository)
    mark.unlink(missing_ok=True)
    os.utime(repository / 'a.txt', (1, 1))
    assert commit().removesuffix('+') == known
    assert not mark.exists()
    (repository / 'b.txt').write_text('other\n')
    assert commit().removesuffix('+') == known
    assert not mark.exists()


@pytest.mark.parametrize('plant', [monitor, clean_filter, submodule], ids=lambda plant: plant.__name__)
def test_the_planted_programs_would_have_run(repository, tmp_path, plant):
    mark = tmp_path / 'was-run'
    program = tmp_path / 'program.sh'
    program.write_text(f'#!/bin/sh\ntouch {mark}\n')
    program.chmod(0o755)
    plant(repository, program)
    mark.unlink(missing_ok=True)
    os.utime(repository / 'a.txt', (1, 1))
    described(repository)
    assert mark.exists()


def test_a_git_in_the_current_folder_is_not_run(repository, tmp_path, monkeypatch):
    (repository / 'git').write_text(f'#!/bin/sh\ntouch {tmp_path}/was-run\n')
    (repository / 'git').chmod(0o755)
    for path in ('.', '', f'.{os.pathsep}{os.environ["PATH"]}', f'{os.pathsep}{os.environ["PATH"]}'):
        monkeypatch.setenv('PATH', path)
        commit()
    assert not (tmp_path / 'was-run').exists()
