"""A cache only saves time: the images are the same, and it is built once, never partial and never stale."""

from __future__ import annotations

import copy
import errno
import multiprocessing
import os
import pickle
import re
import signal
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import RandomCrop, RandomHorizontalFlip, Resize

from vireid.boundary.reading import content_digest
from vireid.boundary.shared_folders import require_trusted
from vireid.core.data.image_set import ImageSet
from vireid.core.data.images import Decoder, read_image
from vireid.core.types import VISIBLE, Progress, Sample
from vireid.errors import (
    Changed,
    DamagedFile,
    Mismatch,
    MissingFile,
    UnsafeFile,
    UnsupportedFile,
    WriteFailed,
    WrongValue,
)
from vireid.plugins.readers import image_cache
from vireid.plugins.readers.image_cache import ImageCache
from vireid.plugins.transforms.resize_scaled import ResizeScaled
from vireid.plugins.transforms.to_float import ToFloat

SIZE = (32, 16)
CONFIG = {'type': 'Resize', 'size': SIZE}


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Ten images with ten sizes."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(10):
        path = tmp_path / f'{number}.jpg'
        pixels = rng.integers(256, size=(40 + 3 * number, 20 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        found.append(Sample(str(path), number, 1, VISIBLE))
    return found


def cache(samples: list[Sample], folder: Path, first=None, config=None, told=None) -> ImageCache:
    note = None if told is None else lambda done, total: told.append((done, total))
    return ImageCache(samples, first or Resize(SIZE), config or CONFIG, str(folder), note)


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith('.lock'))


@pytest.mark.parametrize('first', [Resize(SIZE), ResizeScaled(SIZE, 1.125), Resize(SIZE, antialias=False)])
def test_transformed_images_are_the_same_bit_for_bit(samples, tmp_path, first):
    read = cache(samples, tmp_path / 'cache', first)

    def transform(image):
        return ToFloat()(RandomHorizontalFlip()(RandomCrop(SIZE, padding=3)(first(image))))

    plain, cached = (ImageSet(samples, transform, seed=1, read=r) for r in (read_image, read))
    for epoch in range(3):
        for index in range(len(samples)):
            key = (Progress(epoch, epoch, 1, 3), index, index)
            assert torch.equal(plain[key][0], cached[key][0])


def test_it_is_built_once_with_progress(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache, 'AT_ONCE', 4)
    told: list[tuple[int, int]] = []
    cache([*samples, *samples], tmp_path / 'cache', told=told)
    assert told == [(0, 10), (4, 10), (8, 10), (10, 10)]
    before = files(tmp_path / 'cache')
    monkeypatch.setattr(image_cache, 'read_image', None)  # no image is decoded again
    told.clear()
    assert torch.equal(
        cache(samples, tmp_path / 'cache', told=told)(samples[3].path), Resize(SIZE)(read_image(samples[3].path))
    )
    assert told == []
    assert files(tmp_path / 'cache') == before


def test_a_changed_image_makes_it_new_and_takes_the_old_one_away(samples, tmp_path):
    cache(samples, tmp_path / 'cache')
    (before,) = files(tmp_path / 'cache')
    Image.new('RGB', (20, 40), 'red').save(samples[0].path)
    read = cache(samples, tmp_path / 'cache')
    (after,) = files(tmp_path / 'cache')
    assert after != before
    assert read(samples[0].path)[0].float().mean() > 200
    # a new modification time is enough
    os.utime(samples[1].path, ns=(1, 1))
    cache(samples, tmp_path / 'cache')
    assert files(tmp_path / 'cache') != [after]


def test_a_run_keeps_its_images_while_another_takes_the_outdated_cache_away(samples, tmp_path):
    read = cache(samples, tmp_path / 'cache')
    expected = Resize(SIZE)(read_image(samples[0].path))
    Image.new('RGB', (20, 40), 'red').save(samples[0].path)
    cache(samples, tmp_path / 'cache')
    assert not read.file.exists()
    assert torch.equal(read(samples[0].path), expected)


def test_the_order_of_the_list_is_no_matter(samples, tmp_path):
    cache(samples, tmp_path / 'cache')
    read = cache(samples[::-1], tmp_path / 'cache')
    assert len(files(tmp_path / 'cache')) == 1
    for sample in samples:
        assert torch.equal(read(sample.path), Resize(SIZE)(read_image(sample.path)))


def test_a_transform_whose_code_has_changed_makes_it_new(samples, tmp_path, monkeypatch):
    cache(samples, tmp_path / 'cache')
    monkeypatch.setattr(image_cache.inspect, 'getsource', lambda kind: 'class Resize: # edited')
    cache(samples, tmp_path / 'cache')
    assert len(files(tmp_path / 'cache')) == 2


def test_no_folder_is_refused(samples):
    with pytest.raises(WrongValue, match='folder'):
        ImageCache(samples, Resize(SIZE), CONFIG, '')


def test_other_settings_and_other_lists_are_caches_of_their_own(samples, tmp_path):
    cache(samples, tmp_path / 'cache')
    cache(samples, tmp_path / 'cache', Resize((16, 8)), {'type': 'Resize', 'size': (16, 8)})
    cache(samples[:5], tmp_path / 'cache')
    assert len(files(tmp_path / 'cache')) == 3


@pytest.mark.parametrize(
    'first',
    [RandomHorizontalFlip(), RandomCrop(SIZE, pad_if_needed=True), Resize(30), ToFloat(), Resize(SIZE).__class__(33)],
)
def test_a_first_transform_that_cannot_be_kept_is_refused(samples, tmp_path, first):
    with pytest.raises(Mismatch, match='Resize, ResizeScaled'):
        cache(samples, tmp_path / 'cache', first, {'type': type(first).__name__})


def test_an_image_that_cannot_be_read_leaves_nothing(samples, tmp_path):
    Path(samples[7].path).write_bytes(b'no image')
    with pytest.raises(UnsupportedFile, match=r'7\.jpg') as caught:
        cache(samples, tmp_path / 'cache')
    assert not isinstance(caught.value, MissingFile)
    assert files(tmp_path / 'cache') == []
    Path(samples[7].path).unlink()
    with pytest.raises(MissingFile, match=r'7\.jpg'):
        cache(samples, tmp_path / 'cache')


def test_another_scaling_of_raw_values_makes_another_cache(tmp_path):
    path = tmp_path / 'raw.png'
    Image.fromarray(np.arange(2048, dtype=np.uint16).reshape(64, 32)).save(path)

    def mean(scale_raw):
        read = ImageCache(
            [Sample(str(path), 1, 1, VISIBLE)], Resize(SIZE), CONFIG, str(tmp_path / 'cache'),
            decode=Decoder(scale_raw=scale_raw),
        )  # fmt: skip
        return float(read(str(path)).float().mean())

    dark, light = mean((0.0, 8192.0)), mean((0.0, 2048.0))
    assert (round(dark), round(light)) == (32, 127)  # 1,024 of 8,192 and of 2,048
    assert mean((0.0, 8192.0)) == dark


def test_images_that_change_meanwhile_are_noticed(samples, tmp_path, monkeypatch):
    read = image_cache.read_image

    def touch_and_read(path):
        os.utime(samples[0].path, ns=(time.time_ns(), time.time_ns()))
        return read(path)

    monkeypatch.setattr(image_cache, 'read_image', touch_and_read)
    with pytest.raises(Changed):
        cache(samples, tmp_path / 'cache')
    assert files(tmp_path / 'cache') == []


def test_no_room_is_said_before_anything_is_read(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache.shutil, 'disk_usage', lambda path: type('Usage', (), {'free': 100}))
    monkeypatch.setattr(image_cache, 'read_image', None)
    with pytest.raises(WriteFailed, match=f'{tmp_path}/cache'):
        cache(samples, tmp_path / 'cache')
    assert files(tmp_path / 'cache') == []


@pytest.mark.skipif(not os.access('/dev/full', os.W_OK), reason='needs /dev/full')
def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(samples, tmp_path, monkeypatch):
    real = os.open

    def full(path, flags, *mode, **options):
        return real('/dev/full', os.O_WRONLY) if str(path).endswith('.part') else real(path, flags, *mode, **options)

    monkeypatch.setattr(os, 'open', full)
    with pytest.raises(WriteFailed, match=re.escape(os.strerror(errno.ENOSPC))):
        cache(samples, tmp_path / 'cache')
    assert files(tmp_path / 'cache') == []


def test_a_worker_gets_the_file_not_its_content(samples, tmp_path):
    read = cache(samples, tmp_path / 'cache')
    expected = read(samples[2].path)
    packed = pickle.dumps(read)
    assert len(packed) < 10_000
    assert torch.equal(pickle.loads(packed)(samples[2].path), expected)
    assert torch.equal(copy.deepcopy(read)(samples[2].path), expected)


class Builder:
    """A process that builds the cache of a folder's images one by one and prints its progress.

    Args:
        folder: contains the images and receives the cache.
        slow: seconds for each image in turn; further images take no time.
    """

    def __init__(self, folder: Path, *slow: float) -> None:
        reads, writes = os.pipe()
        self.process = multiprocessing.get_context('fork').Process(target=build, args=(folder, slow, writes))
        self.process.start()
        os.close(writes)
        self.lines = os.fdopen(reads)

    def rest(self) -> list[str]:
        """Waits for the end of the process and returns its unread lines."""
        with self.lines:
            found = self.lines.read().split('\n')
        self.process.join()
        return found


def build(folder: Path, slow: tuple[float, ...], told: int) -> None:
    torch.set_num_threads(1)  # only this thread exists in a forked process
    read, left = image_cache.read_image, list(slow)

    def slowly(path: str | Path) -> torch.Tensor:
        os.write(told, b'read\n')
        if left:
            time.sleep(left.pop(0))
        return read(path)

    image_cache.read_image, image_cache.AT_ONCE = slowly, 1
    images = [Sample(str(path), 1, 1, VISIBLE) for path in sorted(folder.glob('*.jpg'))]
    built = cache(images, folder / 'cache')
    os.write(told, f'sum {int(sum(built(s.path).long().sum() for s in images))}\n'.encode())


def test_a_builder_that_is_killed_leaves_nothing_that_is_used(samples, tmp_path):
    first = Builder(tmp_path, 0.0, 0.0, 0.0, 60.0)
    for _ in range(4):
        first.lines.readline()
    first.process.kill()
    first.rest()
    assert first.process.exitcode == -signal.SIGKILL
    left = files(tmp_path / 'cache')
    assert left
    assert all(name.endswith('.part') for name in left)
    lines = Builder(tmp_path).rest()
    assert lines.count('read') == 10  # from the start
    assert [name[-3:] for name in files(tmp_path / 'cache')] == [
        '.u8'
    ]  # the partial file of the first process is deleted


def test_without_locks_two_builders_do_not_disturb_each_other(samples, tmp_path, monkeypatch):
    import fcntl

    def none(handle, how):
        raise OSError('no locks here')

    monkeypatch.setattr(fcntl, 'flock', none)
    (tmp_path / 'cache').mkdir()
    read, others = image_cache.read_image, []

    def meanwhile(path):
        if not others:
            others.append(None)
            others[0] = cache(samples, tmp_path / 'cache')
        return read(path)

    monkeypatch.setattr(image_cache, 'read_image', meanwhile)
    own = cache(samples, tmp_path / 'cache')
    assert others[0].file == own.file
    assert files(tmp_path / 'cache') == [own.file.name]
    assert torch.equal(own(samples[4].path), Resize(SIZE)(read(samples[4].path)))


def test_two_builders_at_once_build_one_cache(samples, tmp_path):
    both = [Builder(tmp_path, *[0.05] * 10) for _ in range(2)]
    outputs = [builder.rest() for builder in both]
    assert [builder.process.exitcode for builder in both] == [0, 0]
    assert sum(lines.count('read') for lines in outputs) == 10  # one process read the images, the other waited
    sums = {line for lines in outputs for line in lines if line.startswith('sum')}
    assert len(sums) == 1
    assert len(files(tmp_path / 'cache')) == 1


def test_sources_are_told_without_reading_them_again(samples, tmp_path):
    paths = [s.path for s in samples]
    expected = [content_digest(p) for p in paths]
    cache(samples, tmp_path / 'cache')
    read = cache(samples, tmp_path / 'cache')
    for path in paths:
        Path(path).unlink()
    assert read.digests(paths[::-1]) == expected[::-1]
    assert pickle.loads(pickle.dumps(read)).digests(paths) == expected


def taken_away(read: ImageCache, what: str) -> Path:
    """Deletes a cache and its lock and returns the path of one of them."""
    lock = read.file.parent / f'.{read.file.name.split("-")[0]}.lock'
    read.file.unlink()
    lock.unlink(missing_ok=True)
    return read.file if what == 'cache' else lock


@pytest.mark.parametrize('what', ['lock', 'cache'])
@pytest.mark.parametrize('exists', [True, False], ids=['a file', 'nothing'])
def test_a_planted_link_is_not_followed(samples, tmp_path, what, exists):
    read = cache(samples, tmp_path / 'cache')
    victim = tmp_path / 'victim'
    if exists:
        victim.write_bytes(read.file.read_bytes() if what == 'cache' else b'precious')
    before = victim.read_bytes() if exists else None
    planted = taken_away(read, what)
    planted.symlink_to(victim)
    with pytest.raises(UnsafeFile, match=str(planted)):
        cache(samples, tmp_path / 'cache')
    assert (victim.read_bytes() if victim.exists() else None) == before


@pytest.mark.parametrize('what', ['lock', 'cache'])
def test_a_planted_pipe_blocks_nobody(samples, tmp_path, what):
    read = cache(samples, tmp_path / 'cache')
    planted = taken_away(read, what)
    os.mkfifo(planted)
    with pytest.raises(UnsafeFile, match=str(planted)):
        cache(samples, tmp_path / 'cache')


def test_what_stands_in_a_lock_stays(samples, tmp_path):
    read = cache(samples, tmp_path / 'cache')
    lock = tmp_path / 'cache' / f'.{read.file.name.split("-")[0]}.lock'
    lock.write_text('precious')
    read.file.unlink()
    cache(samples, tmp_path / 'cache')
    assert lock.read_text() == 'precious'


def test_files_of_the_user_of_root_and_of_the_folder_s_owner_are_trusted_others_are_not(tmp_path, monkeypatch):
    own = tmp_path.stat().st_uid
    monkeypatch.setattr(os, 'getuid', lambda: 1234)
    for user in (own, 1234, 0):
        require_trusted(tmp_path / 'x.u8', SimpleNamespace(st_uid=user, st_mode=stat.S_IFREG))
    with pytest.raises(UnsafeFile, match=r'x\.u8 .* 4321\n'):
        require_trusted(tmp_path / 'x.u8', SimpleNamespace(st_uid=4321, st_mode=stat.S_IFREG))


@pytest.mark.skipif(os.getuid() != 0, reason='only root gives files away')
@pytest.mark.parametrize('what', ['lock', 'cache'])
def test_a_stranger_s_file_is_refused(samples, tmp_path, what):
    read = cache(samples, tmp_path / 'cache')
    lock = tmp_path / 'cache' / f'.{read.file.name.split("-")[0]}.lock'
    os.chown(read.file if what == 'cache' else lock, 4321, 4321)
    if what == 'lock':
        read.file.unlink()
    with pytest.raises(UnsafeFile, match=' 4321\n'):
        cache(samples, tmp_path / 'cache')


def overwrite(file: Path, start: int, content: bytes) -> None:
    with file.open('rb+') as handle:
        handle.seek(start)
        handle.write(content)


def test_a_file_of_the_same_size_is_not_taken_for_the_cache(samples, tmp_path):
    read = cache(samples, tmp_path / 'cache')
    whole = read.file.read_bytes()
    other = cache(samples[:5] + samples[:1], tmp_path / 'other')
    head = other._head(*other._parse(other.file.read_bytes()[: other._head_size()]))
    for content in (bytes(len(whole)), head.ljust(len(whole), b'\0'), whole[:-1], whole + b'\0', b''):
        read.file.write_bytes(content)
        again = cache(samples, tmp_path / 'cache')
        assert again.file.read_bytes() == whole


@pytest.mark.parametrize('start', [0, 8, 20, 60, 100, 300])
def test_a_damaged_head_makes_it_new(samples, tmp_path, start):
    read = cache(samples, tmp_path / 'cache')
    whole = read.file.read_bytes()
    overwrite(read.file, start, bytes([whole[start] ^ 1]))
    cache(samples, tmp_path / 'cache')
    assert read.file.read_bytes() == whole


def test_other_pixels_are_noticed_when_they_are_read(samples, tmp_path):
    read = cache(samples, tmp_path / 'cache')
    overwrite(read.file, read._start() + 3 * 32 * 16 * 3, b'planted')
    for reader in (read, cache(samples, tmp_path / 'cache')):
        reader(samples[0].path)
        with pytest.raises(DamagedFile, match=rf'{read.file} .*3\.jpg'):
            reader(samples[3].path)


def test_a_cache_cut_short_in_the_middle_of_a_run_is_an_error(samples, tmp_path):
    read = cache(samples, tmp_path / 'cache')
    os.truncate(read.file, read._start() + 100)
    with pytest.raises(DamagedFile, match=f'{read.file} .*{samples[0].path}'):
        read(samples[0].path)


def test_a_worker_that_starts_after_the_cache_was_replaced_says_so(samples, tmp_path):
    read = cache(samples, tmp_path / 'cache')
    packed = pickle.dumps(read)
    overwrite(read.file, 0, b'other')
    with pytest.raises(DamagedFile, match=str(read.file)):
        pickle.loads(packed)(samples[0].path)


def test_others_may_read_a_cache_as_the_umask_says_and_nobody_else_writes(samples, tmp_path):
    for umask, mode in ((0o022, 0o644), (0o002, 0o664), (0o077, 0o600), (0, 0o664)):
        before = os.umask(umask)
        try:
            read = cache(samples, tmp_path / f'cache{umask}')
        finally:
            os.umask(before)
        assert stat.S_IMODE(read.file.stat().st_mode) == mode


def test_what_others_left_there_does_not_stop_it(samples, tmp_path):
    read = cache(samples, tmp_path / 'cache')
    place = read.file.name.split('-')[0]
    read.file.unlink()
    for name in (f'.{place}-{"0" * 16}.u8.x.part', f'{place}-{"0" * 16}.u8', f'.{read.file.name}.x.part'):
        (tmp_path / 'cache' / name).mkdir()
    assert torch.equal(cache(samples, tmp_path / 'cache')(samples[0].path), read(samples[0].path))


def test_who_waits_shows_how_far_the_other_is(samples, tmp_path):
    read = cache(samples, tmp_path / 'cache')
    part = read.file.with_name(f'.{read.file.name}.0123456789abcdef.part')
    told: list[tuple[int, int]] = []
    for size in (0, read._start(), read._start() + 4 * 32 * 16 * 3, read._size()):
        part.write_bytes(bytes(size))
        read._report_other(lambda done, total: told.append((done, total)))
    assert told == [(0, 10), (0, 10), (4, 10), (9, 10)]
