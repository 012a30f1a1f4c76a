"""Disks that fill up, folders that may not be written, images that vanish: for real, by the kernel's own errors."""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from vireid.boundary import checkpoint
from vireid.core.config.experiment import Experiment
from vireid.errors import DamagedFile, MissingFile, VireidError, WriteFailed
from vireid.launch.launch import train
from vireid.plugin_manager.manager import hookimpl
from vireid.synth import synthesize

FAULTS = Path(__file__).parents[1] / 'benchmarks' / 'faults.py'


@pytest.fixture(scope='module')
def faults() -> ModuleType:
    spec = importlib.util.spec_from_file_location('faults', FAULTS)
    module = sys.modules['faults'] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """OpenMP's threads are not in a forked child, which waits for them; and both sides have to add up in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that tests leave as they are."""
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder / 'people', layout='sysu', ids=10, seed=0, images=1, workers=1)
    return folder / 'people'


@pytest.fixture
def data(people: Path, tmp_path: Path) -> Path:
    """Images that a test may damage."""
    return Path(shutil.copytree(people, tmp_path / 'people'))


@pytest.fixture(scope='module')
def whole(faults: ModuleType, people: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run ends with that is left alone."""
    folder, before = tmp_path_factory.mktemp('whole'), torch.get_num_threads()
    torch.set_num_threads(1)  # as `one_thread`
    train(faults.experiment(people), folder)
    torch.set_num_threads(before)
    return faults.ended_with(folder)


class At:
    """Does something once, when a step is done."""

    def __init__(self, step: int, work: Callable[[], None]) -> None:
        self.step, self.work = step, work

    @hookimpl
    def step_ended(self, progress: Any) -> None:
        if progress.step == self.step:
            self.work()


def meddled(faults: ModuleType, data: Path, step: int, work: Callable[[], None], **images: Any) -> Experiment:
    """The experiment of the fault tests, with something done to it when a step is done."""
    made = faults.experiment(data)
    made = made.with_overrides({f'images.{key}': value for key, value in images.items()})
    made.manager.register(At(step, work), 'meddler')
    return made


def give_up_rights() -> None:
    """Makes permissions bind root too, from here on; a process of another user might not even see the package."""
    none = (ctypes.c_uint32 * 6)()
    version = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if os.getuid() == 0 and ctypes.CDLL(None).capset(version, none) != 0:
        raise OSError('capabilities cannot be given up')


def told_by_child(faults: ModuleType, work: Callable[[], Any], told: Path) -> str:
    """Does something in a process of its own, without root's rights; returns the error it ended with."""

    def do() -> None:
        try:
            give_up_rights()
            work()
        except VireidError as error:
            told.write_text(f'{type(error).__name__}: {error}')

    told.touch()
    assert faults.in_children([do]) == [0]
    return told.read_text()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    words = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(folder)]
    if os.getuid() != 0 or subprocess.run(words, check=False, capture_output=True).returncode != 0:
        pytest.skip('a small disk takes the right to mount one')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)


@pytest.mark.parametrize('step', [1, 2, 4])
def test_a_full_disk_stops_the_run_and_costs_nothing(faults, people, whole, disk, step):
    filler = disk / 'filler'

    def fill() -> None:
        with filler.open('wb', buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass

    with pytest.raises(WriteFailed, match=re.escape(os.strerror(errno.ENOSPC))):
        train(meddled(faults, people, step, fill), disk / 'run')
    last = disk / 'run' / 'checkpoints' / 'last.pt'
    assert checkpoint.load(last)['progress']['step'] <= step
    assert not list(last.parent.glob('.*'))  # no half a file takes up what space is left
    filler.unlink()
    train(faults.experiment(people), disk / 'run', resume=last)
    assert faults.same(whole, faults.ended_with(disk / 'run'))


def test_a_write_that_breaks_off_leaves_the_checkpoint_before(faults, people, whole, tmp_path):
    """The kernel ends the second checkpoint in its middle."""
    folder = tmp_path / 'run'

    def limit() -> None:
        size = (folder / 'checkpoints' / 'last.pt').stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))

    work = partial(train, meddled(faults, people, 1, limit), folder)
    told = told_by_child(faults, work, tmp_path / 'told')
    assert told.startswith('WriteFailed: ')
    assert told.count(f'{folder}/checkpoints/last.pt') == 2  # the new one, and the previous one
    assert checkpoint.load(folder / 'checkpoints' / 'last.pt')['progress']['step'] == 0
    train(faults.experiment(people), folder, resume=folder / 'checkpoints' / 'last.pt')
    assert faults.same(whole, faults.ended_with(folder))


def test_a_folder_that_may_not_be_written_any_more_stops_the_run(faults, people, whole, tmp_path):
    folder = tmp_path / 'run'
    checkpoints = folder / 'checkpoints'
    told = told_by_child(
        faults,
        lambda: train(meddled(faults, people, 1, lambda: checkpoints.chmod(0o555)), folder),
        tmp_path / 'told',
    )
    assert told.startswith('WriteFailed: ')
    assert os.strerror(errno.EACCES) in told
    assert '--resume' in told
    checkpoints.chmod(0o755)
    train(faults.experiment(people), folder, resume=checkpoints / 'last.pt')
    assert faults.same(whole, faults.ended_with(folder))


def test_a_folder_that_may_not_be_written_at_all_is_named_before_the_first_step(faults, people, tmp_path):
    folder = tmp_path / 'locked'
    folder.mkdir()
    folder.chmod(0o555)

    def go() -> None:
        try:
            train(faults.experiment(people), folder / 'run')
        except OSError as error:  # the command line prints it
            raise VireidError(str(error)) from error

    told = told_by_child(faults, go, tmp_path / 'told')
    assert f'[Errno {errno.EACCES}]' in told
    assert f"'{folder}/run'" in told


def first_picture(faults: ModuleType, data: Path) -> Path:
    return Path(faults.experiment(data).build_dataset().split('train')[0].path)


def test_images_that_may_not_be_read_are_named_before_the_first_step(faults, data, tmp_path):
    image = first_picture(faults, data)
    image.chmod(0o000)
    told = told_by_child(faults, lambda: train(faults.experiment(data), tmp_path / 'run'), tmp_path / 'told')
    assert 'error' not in told
    assert f'\n    {image}: ' in told
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(('how', 'check'), [('empty', 'files'), ('torn', 'images'), ('dangling', 'files')])
def test_damaged_images_are_named_before_the_first_step(faults, data, tmp_path, how, check):
    image = first_picture(faults, data)
    content = image.read_bytes()
    image.unlink()
    if how == 'dangling':
        image.symlink_to(tmp_path / 'nowhere.jpg')
    else:
        image.write_bytes(content[: len(content) // 2] if how == 'torn' else b'')
    made = faults.experiment(data).with_overrides({'images.check': check})
    with pytest.raises(DamagedFile, match=rf'1 of \d+ .*:\n    .*{re.escape(str(image))}'):
        train(made, tmp_path / 'run')
    skipping = made.with_overrides({'images.on_bad_image': 'skip'})
    train(skipping, tmp_path / 'run')  # another image of the same identity replaces it
    assert str(image) in (tmp_path / 'run' / 'result.json').read_text()


def test_an_image_that_cannot_be_scored_is_named_before_the_first_step_whatever_is_skipped(faults, data, tmp_path):
    image = Path(faults.experiment(data).build_dataset().split('test')[0].path)
    image.write_bytes(b'')
    made = faults.experiment(data).with_overrides({'images.on_bad_image': 'skip'})
    with pytest.raises(DamagedFile, match=rf'1 of \d+ .*:\n    .*{re.escape(str(image))}'):
        train(made, tmp_path / 'run')


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.usefixtures('deaths_are_noticed_soon')
def test_images_that_vanish_while_training_are_named_and_cost_nothing(faults, people, whole, tmp_path, workers):
    cameras = sorted(people.glob('cam*'))

    def take_away() -> None:
        for camera in cameras:
            camera.rename(people / f'gone-{camera.name}')

    try:
        with pytest.raises(MissingFile, match=r'/cam\d/'):
            train(meddled(faults, people, 1, take_away, workers=workers), tmp_path / 'run')
    finally:
        for camera in cameras:
            (people / f'gone-{camera.name}').rename(camera)
    train(faults.experiment(people), tmp_path / 'run', resume=tmp_path / 'run' / 'checkpoints' / 'last.pt')
    assert faults.same(whole, faults.ended_with(tmp_path / 'run'))
