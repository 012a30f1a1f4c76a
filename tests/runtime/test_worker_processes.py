"""Processes that read images: by any start method they read what one process reads, and they end with it.

`make start-methods` runs all tests that train under each method.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from vireid.core.data.image_set import ImageSet
from vireid.core.data.loader import SHARED_MEMORY, WorkerDied, _collate_in_worker, _todo, evaluation_loader
from vireid.core.types import INFRARED, VISIBLE, Batch, Sample
from vireid.errors import DamagedFile, Mismatch, Unavailable, VireidError, WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.runtime import worker_processes
from vireid.runtime.worker_processes import START_METHOD, start_method

METHODS = [m for m in ('fork', 'forkserver', 'spawn') if m in multiprocessing.get_all_start_methods()]
PLUGIN = """
import functools
import vireid

@functools.cache  # no pickle can hold it
def brightness():
    return 3

class Brighter:
    def __call__(self, image):
        return image.float() + brightness()

@vireid.hookimpl
def register_components(add):
    add('transforms', 'Brighter', Brighter)
"""


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Four images; number k is gray of level 10 k."""
    found = []
    for number in range(4):
        path = tmp_path / f'{number}.png'
        Image.new('RGB', (4, 6), (10 * number,) * 3).save(path)
        found.append(Sample(str(path), number, 1, VISIBLE if number < 2 else INFRARED))
    return found


def levels(data: Any, workers: int = 1) -> list[float]:
    """Returns the level of each image, read in two batches."""
    batches = list(evaluation_loader(data, [range(2), range(2, 4)], workers))
    return [float(image.mean()) for batch in batches for images in batch.images.values() for image in images]


@pytest.mark.parametrize('method', METHODS)
def test_what_a_plugin_file_or_a_script_has_is_the_same_in_every_process(samples, tmp_path, monkeypatch, method):
    more = 2.0
    file, other = tmp_path / 'brighter.py', tmp_path / 'other.py'
    file.write_text(PLUGIN)
    other.write_text(PLUGIN + f'\nopen({str(tmp_path / "once")!r}, "x")')  # this one is of no use to the processes
    create_manager([other])
    transform = create_manager([file]).components.build('transforms', {'type': 'Brighter'}, where='images.train.0')
    file.write_text('raise RuntimeError("it was edited while the run went on")')
    monkeypatch.setenv(START_METHOD, method)
    assert levels(ImageSet(samples, lambda image: transform(image) + more)) == [5, 15, 25, 35]


def test_what_cannot_be_sent_is_said_with_what_helps(samples, monkeypatch):
    monkeypatch.setenv(START_METHOD, 'spawn')
    lock = threading.Lock()

    def locked(image: torch.Tensor) -> torch.Tensor:
        with lock:
            return image.float()

    with pytest.raises(Mismatch, match='lock') as caught:
        levels(ImageSet(samples, locked))
    assert 'images.workers=0' in caught.value.todo
    assert f'{START_METHOD}=fork' in caught.value.todo


class Lost:
    """A transform that is there only in the process that it was made in."""

    def __reduce__(self) -> Any:
        return _found, (os.getpid(),)


def _found(process: int) -> Lost:
    if os.getpid() != process:
        raise ModuleNotFoundError("No module named 'of_mine'")
    return Lost()


def test_what_cannot_be_taken_over_is_said_and_not_that_a_process_died(samples, monkeypatch):
    monkeypatch.setenv(START_METHOD, METHODS[-2])
    with pytest.raises(Unavailable, match=r"ModuleNotFoundError: .*'of_mine'") as caught:
        levels(ImageSet(samples, Lost()))
    assert not isinstance(caught.value, WorkerDied)
    del caught  # and the loader in its frames: freed by the garbage collector, it ends 5 s late


def test_the_method_is_python_s_default_from_3_14_on_unless_the_environment_names_one(monkeypatch):
    monkeypatch.setattr(worker_processes, '_server_of', None)
    monkeypatch.delenv(START_METHOD, raising=False)
    for system, method in {'linux': 'forkserver', 'darwin': 'spawn', 'win32': 'spawn'}.items():
        monkeypatch.setattr(sys, 'platform', system)
        assert start_method() == method
    monkeypatch.setenv(START_METHOD, 'spawn')
    monkeypatch.setattr(sys, 'platform', 'linux')
    assert start_method() == 'spawn'
    monkeypatch.setenv(START_METHOD, 'threads')
    with pytest.raises(WrongValue, match=r"VIREID_START_METHOD .*'threads'") as caught:
        start_method()
    assert 'spawn' in caught.value.allowed


def test_a_forked_process_leaves_the_server_of_the_other_one_alone(monkeypatch):
    monkeypatch.setenv(START_METHOD, 'forkserver')
    monkeypatch.setattr(worker_processes, '_server_of', os.getpid())
    assert start_method() == 'forkserver'
    monkeypatch.setattr(worker_processes, '_server_of', os.getpid() + 1)
    assert start_method() == 'spawn'


@pytest.mark.skipif(not Path('/proc/self').exists(), reason='looks for processes in /proc')
def test_signals_reach_no_process_none_runs_the_script_again_and_all_end_with_it(samples, tmp_path):
    """Slurm, or a closing terminal, signals all; a process that is killed tells nobody; scripts have no guard."""
    script = tmp_path / 'script.py'
    script.write_text(f"""
import signal, sys, time
from vireid.core.data.image_set import ImageSet
from vireid.core.data.loader import evaluation_loader
from vireid.core.types import Sample

class Mine:
    def __call__(self, image):
        return image.float() + 1

for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
    signal.signal(number, lambda number, frame: None)
data = ImageSet([Sample({samples[2].path!r}, 1, 1, 'visible')], Mine())
batches = iter(evaluation_loader(data, [[0]] * 20, 1))
print(float(next(batches).images['visible'].mean()), flush=True)
sys.stdin.readline()
print(len(list(batches)), flush=True)
batches = iter(evaluation_loader(data, [[0]] * 20, 1))
next(batches)
print('again', flush=True)
time.sleep(3600)
""")
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, START_METHOD: 'forkserver'},
    )  # fmt: skip
    try:
        assert process.stdout.readline() == '21.0\n'
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
            os.killpg(process.pid, number)
        process.stdin.write('\n')
        process.stdin.flush()
        assert process.stdout.readline() == '19\n'
        assert process.stdout.readline() == 'again\n'
        assert len(in_group(process.pid)) >= 4  # itself, Python's resource tracker, the server, a loader process
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 600
    while in_group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert in_group(process.pid) == []


def as_float(image: torch.Tensor) -> torch.Tensor:
    return image.float()


def in_group(group: int) -> list[int]:
    """Returns the processes of a group that still run."""
    found = []
    for place in Path('/proc').glob('[0-9]*'):
        try:
            state, _, its_group = (place / 'stat').read_text().rpartition(')')[2].split()[:3]
        except OSError:  # it has ended meanwhile
            continue
        if int(its_group) == group and state != 'Z':
            found.append(int(place.name))
    return found


def broken(image: torch.Tensor) -> torch.Tensor:
    raise KeyError('broken')


@pytest.mark.parametrize(('transform', 'error'), [(as_float, DamagedFile), (broken, KeyError)])
def test_an_error_leaves_no_loader_behind(samples, monkeypatch, transform, error):
    """One that only the garbage collector frees ends its processes 5 s late."""
    monkeypatch.setenv(START_METHOD, METHODS[-2])
    if transform is as_float:
        Path(samples[1].path).write_bytes(b'')
    gc.disable()
    try:
        loader = evaluation_loader(ImageSet(samples, transform), [range(2)], 1)
        gone = weakref.ref(loader)
        with contextlib.suppress(error):
            list(loader)
        del loader
        assert gone() is None
    finally:
        gc.enable()


def test_a_batch_takes_a_file_descriptor_for_images_alone():
    """`ulimit -n` may be 64, and each tensor that is sent takes one."""
    whole = Batch(
        images={VISIBLE: torch.ones(2, 3, 4, 2)},
        identities={VISIBLE: torch.tensor([4, 5])},
        cameras={VISIBLE: torch.tensor([1, 2])},
        paths={VISIBLE: ['a', 'b']},
    )
    state = whole.__getstate__()
    assert (state['identities'], state['cameras']) == ({VISIBLE: [4, 5]}, {VISIBLE: [1, 2]})
    again = pickle.loads(pickle.dumps(whole))
    assert again.identities[VISIBLE].dtype == torch.int64
    assert torch.equal(again.identities[VISIBLE], whole.identities[VISIBLE])
    assert torch.equal(again.cameras[VISIBLE], whole.cameras[VISIBLE])
    assert torch.equal(again.images[VISIBLE], whole.images[VISIBLE])
    assert again.paths == whole.paths


def test_shared_memory_that_is_full_is_an_error_and_not_a_wait_without_end(monkeypatch):
    def full(images: torch.Tensor) -> None:
        raise RuntimeError('unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)')

    monkeypatch.setattr(torch.Tensor, 'share_memory_', full)
    found = _collate_in_worker([(torch.zeros(3, 4, 2), 0, Sample('a', 1, 1, VISIBLE))])
    assert isinstance(found, VireidError)
    assert 'No space left on device' in found.given
    assert found.todo == SHARED_MEMORY


@pytest.mark.parametrize(
    ('said', 'helps'),
    [
        ('Too many open files', 'ulimit -n 1024'),
        ('DataLoader worker (pid 7) is killed by signal: Bus error', '--shm-size=8g'),
        ('[Errno 28] No space left on device', '--shm-size=8g'),
        ('DataLoader worker (pid(s) 7) exited unexpectedly', 'more memory'),
    ],
)
def test_what_helps_depends_on_how_a_process_was_lost(said, helps):
    assert helps in _todo(said)
