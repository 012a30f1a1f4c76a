"""From files to batches: every kind of image, every broken one, and augmentation that any worker repeats."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from vireid.core.data.image_set import ImageSet, collate
from vireid.core.data.images import read_image
from vireid.core.data.loader import EpochBatches, WorkerDied, default_workers, evaluation_loader, training_loader
from vireid.core.types import INFRARED, VISIBLE, Batch, Progress, Sample
from vireid.errors import DamagedFile, Mismatch, MissingFile, UnsafeFile, UnsupportedFile, VireidError
from vireid.plugins.samplers.identity_balanced import IdentityBalanced
from vireid.runtime.randomness import seeded
from vireid.runtime.worker_processes import start_method

SIZE = (4, 6)  # width, height


class Listed:
    """A sampler of given batches, the same in every epoch."""

    def __init__(self, batches: Sequence[Sequence[int]]) -> None:
        self.given = batches

    def __len__(self) -> int:
        return len(self.given)

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        return self.given


def noise(image: Tensor) -> Tensor:
    """A random transform that draws from every generator a transform may draw from."""
    return image.float() + torch.rand(()) + np.random.rand() + random.random()


def plain(image: Tensor) -> Tensor:
    return image.float()


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Four visible and four infrared images of four identities; image k is gray of level 10 k."""
    found = []
    for number in range(8):
        path = tmp_path / f'{number}.png'
        Image.new('RGB', SIZE, (10 * number,) * 3).save(path)
        modality, camera = (VISIBLE, 1) if number < 4 else (INFRARED, 6)
        found.append(Sample(str(path), 100 + number % 4, camera, modality))
    return found


def at(epoch: int, within: int, steps: int) -> Progress:
    """Returns a position in a run of nine epochs."""
    return Progress(epoch, epoch * steps + within, steps, 9 * steps)


def epochs(data: ImageSet, batches: Sequence[Sequence[int]], workers: int, count: int, start: int = 0) -> list[Batch]:
    """Returns all batches of `count` epochs from one loader, the first epoch from batch `start`."""
    order = EpochBatches(Listed(batches))
    loader = training_loader(data, order, workers)
    result = []
    for epoch in range(count):
        order.progress = at(epoch, start if epoch == 0 else 0, len(batches))
        result += list(loader)
    return result


def same(a: Sequence[Batch], b: Sequence[Batch]) -> bool:
    """Says whether two sequences of batches are equal bit for bit."""
    return len(a) == len(b) and all(
        list(x.images) == list(y.images)
        and x.paths == y.paths
        and all(torch.equal(x.images[m], y.images[m]) for m in x.images)
        and all(torch.equal(x.identities[m], y.identities[m]) for m in x.images)
        for x, y in zip(a, b, strict=True)
    )


def states() -> list[object]:
    """The global state of every random generator, comparable."""
    numpy = [np.asarray(part).tolist() for part in np.random.get_state()]
    return [torch.get_rng_state().tolist(), numpy, random.getstate()]


def test_rows_are_height_and_columns_are_width(tmp_path: Path) -> None:
    image = Image.new('RGB', SIZE)
    image.putpixel((3, 5), (1, 2, 3))  # right column, bottom row
    image.save(tmp_path / 'a.png')
    assert read_image(tmp_path / 'a.png')[:, 5, 3].tolist() == [1, 2, 3]


def encoded(kind: str, **options: int) -> bytes:
    """Returns an image of noise, so that its file is long."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def refusal(path: Path, kind: type[VireidError]) -> VireidError:
    with pytest.raises(kind) as caught:
        read_image(path)
    return caught.value


@pytest.mark.parametrize(('kind', 'ending'), [('JPEG', 'jpg'), ('PNG', 'png'), ('BMP', 'bmp'), ('WEBP', 'webp')])
@pytest.mark.parametrize('share', [0.02, 0.3, 0.9])
def test_a_truncated_image_is_named(tmp_path: Path, kind: str, ending: str, share: float) -> None:
    path = tmp_path / f'0007.{ending}'
    content = encoded(kind)
    path.write_bytes(content[: int(share * len(content))])
    error = refusal(path, DamagedFile)
    assert str(path) in error.given
    assert error.todo


@pytest.mark.parametrize('content', [b'', b'\n', b'<html>404 Not Found</html>', b'\xff\xd8', b'\x89PNG\r\n\x1a\n'])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / '0007.jpg'
    path.write_bytes(content)
    assert str(path) in str(
        refusal(path, DamagedFile if not content or content.startswith(b'\x89PNG') else UnsupportedFile)
    )


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / '0007.jpg') in str(refusal(tmp_path / '0007.jpg', MissingFile))


def test_a_folder_called_like_an_image_is_named(tmp_path: Path) -> None:
    (tmp_path / '0007.jpg').mkdir()
    assert str(tmp_path / '0007.jpg') in str(refusal(tmp_path / '0007.jpg', DamagedFile))


def test_an_image_too_large_to_be_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)  # 24 pixels are more than twice that
    Image.new('RGB', SIZE).save(tmp_path / 'bomb.png')
    assert str(tmp_path / 'bomb.png') in str(refusal(tmp_path / 'bomb.png', UnsafeFile))


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP'])
@pytest.mark.filterwarnings('ignore')
def test_damage_anywhere_gives_an_image_or_an_error_that_names_it(kind: str, tmp_path: Path) -> None:
    content = encoded(kind)
    path = tmp_path / 'damaged'
    rng = random.Random(0)
    outcomes = set()
    for _ in range(100):
        damaged = bytearray(content[: rng.randrange(1, len(content))] if rng.random() < 0.3 else content)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(min(len(damaged), 200))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            outcomes.add(str(tuple(read_image(path).shape[:1])))
        except VireidError as error:
            outcomes.add('refused by name' if str(path) in str(error) else str(error))
    assert outcomes == {'(3,)', 'refused by name'}


@pytest.mark.parametrize('workers', [0, 1])
def test_a_broken_image_reads_the_same_from_a_worker_as_from_the_main_process(
    samples: list[Sample], workers: int
) -> None:
    Path(samples[2].path).write_bytes(b'')
    with pytest.raises(DamagedFile) as caught:
        epochs(ImageSet(samples, plain, seed=0), [[0, 1, 2, 3]], workers, count=1)
    assert samples[2].path in caught.value.given
    assert caught.value.todo
    assert 'Traceback' not in str(caught.value)
    del caught  # and the loader in its frames: freed by the garbage collector, it ends 5 s late


def test_the_error_survives_pickling(tmp_path: Path) -> None:
    error = refusal(tmp_path / 'gone.jpg', MissingFile)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.todo) == (type(error), str(error), error.todo)


def draws() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()


key = st.tuples(st.integers(-(2**70), 2**70), st.integers(0, 2**31), st.integers(0, 2**31))


@settings(max_examples=50)
@given(a=key, b=key)
def test_seeded_numbers_are_a_function_of_the_key(a: tuple[int, int, int], b: tuple[int, int, int]) -> None:
    found = []
    for current in (a, b, a):
        with seeded(*current):
            found.append(draws())
    assert found[0] == found[2]
    assert (found[0] == found[1]) == (a == b)


def test_seeded_leaves_every_global_generator_as_it_was() -> None:
    before = states()
    with seeded(0, 1, 2):
        draws()
        torch.randn(100)
        np.random.randn(3)
        random.gauss(0, 1)
    assert states() == before


def test_seeded_leaves_every_global_generator_as_it_was_after_an_error() -> None:
    before = states()
    with pytest.raises(ZeroDivisionError), seeded(0):
        assert draws()[0] / 0
    assert states() == before


def test_seeded_blocks_nest() -> None:
    with seeded('outer'):
        expected = draws(), draws()
    with seeded('outer'):
        first = draws()
        with seeded('inner'):
            draws()
        assert (first, draws()) == expected


def test_reading_augmented_samples_leaves_every_global_generator_as_it_was(samples: list[Sample]) -> None:
    before = states()
    data = ImageSet(samples, noise, seed=3)
    assert [data[at(0, 0, 4), position, 0][0].shape for position in range(3)] == [(3, 6, 4)] * 3
    assert states() == before


BATCHES = ([0, 1, 4, 5], [2, 3, 6, 7], [1, 1, 5, 5], [3, 0, 7, 4])


def test_augmentation_is_a_function_of_seed_epoch_and_position(samples: list[Sample]) -> None:
    data = ImageSet(samples, noise, seed=9)
    found = epochs(data, BATCHES, workers=0, count=2)
    for number, batch in enumerate(found):
        epoch, within = divmod(number, 4)
        for slot, index in enumerate(BATCHES[within]):
            with seeded(9, epoch, 4 * within + slot):
                expected = noise(torch.full((3, 6, 4), 10 * index))
            image = batch.images[VISIBLE][slot] if slot < 2 else batch.images[INFRARED][slot - 2]
            assert torch.equal(image, expected)


def in_place(image: Tensor) -> Tensor:
    return image.mul_(0).float()


def of_modality(image: Tensor, modality: str) -> Tensor:
    return image.float() + (1000 if modality == INFRARED else 0)


class TestViews:
    def test_a_view_is_the_same_image_once_more_as_a_modality_of_its_own(self, samples: list[Sample]) -> None:
        data = ImageSet(samples, plain, seed=9, views={'again': (VISIBLE, noise)})
        batch = next(iter(epochs(data, BATCHES, workers=0, count=1)))
        assert list(batch.images) == [VISIBLE, INFRARED, 'again']
        assert torch.equal(batch.identities['again'], batch.identities[VISIBLE])
        assert torch.equal(batch.cameras['again'], batch.cameras[VISIBLE])
        assert batch.paths['again'] == batch.paths[VISIBLE]
        for slot in range(2):  # its augmentation is a function of seed, epoch, position and its name
            with seeded(9, 0, slot, 'again'):
                expected = noise(torch.full((3, 6, 4), 10 * slot))
            assert torch.equal(batch.images['again'][slot], expected)

    def test_it_changes_nothing_of_the_others(self, samples: list[Sample]) -> None:
        alone = epochs(ImageSet(samples, noise, seed=9), BATCHES, workers=0, count=1)
        data = ImageSet(samples, noise, seed=9, views={'a': (VISIBLE, in_place), 'b': (INFRARED, noise)})
        for one, other in zip(alone, epochs(data, BATCHES, workers=1, count=1), strict=True):
            assert all(torch.equal(one.images[m], other.images[m]) for m in (VISIBLE, INFRARED))
            assert list(other.images) == [VISIBLE, INFRARED, 'a', 'b']

    def test_a_transform_that_works_in_place_leaves_the_views_their_image(self, samples: list[Sample]) -> None:
        data = ImageSet(samples, in_place, seed=9, views={'again': (VISIBLE, plain)})
        batch = next(iter(epochs(data, BATCHES, workers=0, count=1)))
        assert not batch.images[VISIBLE].any()
        assert batch.images['again'][:, 0, 0, 0].tolist() == [0.0, 10.0]


def test_a_transform_that_names_the_modality_is_told_it(samples: list[Sample]) -> None:
    batch = next(iter(epochs(ImageSet(samples, of_modality, seed=0), BATCHES, workers=0, count=1)))
    assert batch.images[VISIBLE][:, 0, 0, 0].tolist() == [0.0, 10.0]
    assert batch.images[INFRARED][:, 0, 0, 0].tolist() == [1040.0, 1050.0]


@pytest.mark.parametrize('workers', [1, 2])
def test_any_number_of_workers_gives_the_same_batches(samples: list[Sample], workers: int) -> None:
    data = ImageSet(samples, noise, seed=0)
    assert same(epochs(data, BATCHES, workers, count=3), epochs(data, BATCHES, workers=0, count=3))


def test_the_global_seed_has_no_say(samples: list[Sample]) -> None:
    data = ImageSet(samples, noise, seed=0)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        found.append(epochs(data, BATCHES, workers=0, count=1))
    assert same(*found)


def test_epochs_and_seeds_augment_differently(samples: list[Sample]) -> None:
    values = [
        float(ImageSet(samples, noise, seed=seed)[at(epoch, 0, 4), position, 0][0].mean())
        for seed in (0, 1)
        for epoch in (0, 1, 2)
        for position in (0, 1, 2)
    ]
    assert len(set(values)) == 18


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_no_augmentation_stream_repeats_across_epochs_and_workers(samples: list[Sample], workers: int) -> None:
    def draw(image: Tensor) -> Tensor:
        return torch.tensor(draws()).reshape(3, 1, 1).expand(3, 1, 1).float()

    batches = epochs(ImageSet(samples, draw, seed=0), BATCHES * 3, workers, count=4)
    streams = torch.cat([images.flatten(1) for batch in batches for images in batch.images.values()])
    assert len(streams) == 4 * 12 * 4  # epochs, batches, images
    for generator in range(3):  # torch, numpy, random
        assert len(streams[:, generator].unique()) == len(streams)


def test_two_draws_of_an_image_in_one_epoch_are_augmented_differently(samples: list[Sample]) -> None:
    _, _, third, _ = epochs(ImageSet(samples, noise, seed=0), BATCHES, workers=0, count=1)
    for modality in (VISIBLE, INFRARED):
        first, second = third.images[modality]
        assert third.paths[modality][0] == third.paths[modality][1]
        assert not torch.equal(first, second)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('start', [1, 3])
def test_starting_at_batch_k_gives_the_rest_of_the_epoch_and_the_next_one_whole(
    samples: list[Sample], workers: int, start: int
) -> None:
    data = ImageSet(samples, noise, seed=0)
    whole = epochs(data, BATCHES, workers=0, count=2)
    assert same(epochs(data, BATCHES, workers, count=2, start=start), whole[start:])


def test_batches_of_unequal_length_keep_their_positions() -> None:
    order = EpochBatches(Listed([[7, 8], [9], [7, 8, 9]]))
    first, second, third = (at(4, step, 3) for step in range(3))
    order.progress = first
    last = [(third, 3, 7), (third, 4, 8), (third, 5, 9)]
    assert list(order) == [[(first, 0, 7), (first, 1, 8)], [(second, 2, 9)], last]
    order.progress = third
    assert list(order) == [last]
    assert len(order) == 1


@pytest.mark.parametrize('processes', [2, 4])
def test_processes_augment_their_images_as_one_process_would(processes: int) -> None:
    samples = [Sample(f'{m}{n}', n % 8, 1, m) for m in (VISIBLE, INFRARED) for n in range(48)]

    def keys(rank: int, world_size: int) -> list[list[tuple[Progress, int, int]]]:
        sampler = IdentityBalanced(samples, 0, rank, world_size, 4 // world_size, 2, 3)
        order = EpochBatches(sampler, rank, world_size, samples)
        order.progress = Progress(1, 0, len(sampler), 100)
        return list(order)

    whole = [sorted(batch) for batch in keys(0, 1)]
    parts = zip(*(keys(rank, processes) for rank in range(processes)), strict=True)
    assert [sorted(key for batch in batches for key in batch) for batches in parts] == whole
    assert {len({position for _, position, _ in batch}) for batch in whole} == {20}


def test_starting_behind_the_last_batch_gives_nothing() -> None:
    order = EpochBatches(Listed([[0], [1]]))
    order.progress = at(0, 2, 2)
    assert (len(order), list(order)) == (0, [])


def test_evaluation_has_no_randomness_of_its_own(samples: list[Sample]) -> None:
    data = ImageSet(samples, plain)
    assert torch.equal(data[3][0], data[at(7, 0, 4), 99, 3][0])
    assert data[3][0].unique().tolist() == [30.0]


def item(value: float, sample: Sample, label: int) -> tuple[Tensor, int, Sample]:
    return torch.full((3, 2, 2), value), label, sample


def test_collate_groups_by_modality_and_keeps_the_order_within_each() -> None:
    batch = collate(
        [
            item(1.0, Sample('a', 50, 3, INFRARED), 5),
            item(2.0, Sample('b', 40, 1, VISIBLE), 4),
            item(3.0, Sample('c', 40, 6, INFRARED), 4),
            item(4.0, Sample('d', 50, 2, VISIBLE), 5),
            item(5.0, Sample('e', 40, 4, VISIBLE), 4),
        ]
    )
    assert list(batch.images) == [VISIBLE, INFRARED]
    assert {m: images[:, 0, 0, 0].tolist() for m, images in batch.images.items()} == {
        VISIBLE: [2.0, 4.0, 5.0],
        INFRARED: [1.0, 3.0],
    }
    assert {m: ids.tolist() for m, ids in batch.identities.items()} == {VISIBLE: [4, 5, 4], INFRARED: [5, 4]}
    assert {m: cameras.tolist() for m, cameras in batch.cameras.items()} == {VISIBLE: [1, 2, 4], INFRARED: [3, 6]}
    assert batch.paths == {VISIBLE: ['b', 'd', 'e'], INFRARED: ['a', 'c']}


def test_images_of_two_sizes_in_a_batch_are_named(samples: list[Sample]) -> None:
    small, large = torch.zeros(3, 6, 4), torch.zeros(3, 6, 5)
    found = collate([(small, 0, samples[0]), (large, 0, samples[1])])
    assert isinstance(found, Mismatch)
    for text in (samples[0].path, samples[1].path, '(3, 6, 4)', '(3, 6, 5)', "dict(type='Resize')"):
        assert text in str(found)


def test_collate_gives_float32_images_and_int64_numbers() -> None:
    batch = collate([item(1.0, Sample('a', 50, 3, INFRARED), 5)])
    assert (batch.images[INFRARED].dtype, tuple(batch.images[INFRARED].shape)) == (torch.float32, (1, 3, 2, 2))
    assert batch.identities[INFRARED].dtype == batch.cameras[INFRARED].dtype == torch.int64


def test_modality_alone_picks_the_entry_neither_camera_nor_path_nor_role() -> None:
    odd = Sample('visible/cam1/query.jpg', 1, 1, INFRARED)
    batch = collate([item(1.0, odd, 0)])
    assert (list(batch.images), batch.paths) == ([INFRARED], {INFRARED: ['visible/cam1/query.jpg']})


def test_a_modality_of_a_translator_comes_after_visible_and_infrared() -> None:
    batch = collate([item(0.0, Sample(m, 1, 1, m), 0) for m in ('x', INFRARED, 'depth', VISIBLE)])
    assert list(batch.images) == [VISIBLE, INFRARED, 'depth', 'x']


def test_labels_replace_identities_in_training_and_not_in_evaluation(samples: list[Sample]) -> None:
    labels = {100: 0, 101: 1, 102: 2, 103: 3}
    trained = epochs(ImageSet(samples, noise, labels, seed=0), [[3, 1, 7, 5]], workers=0, count=1)[0]
    assert {m: ids.tolist() for m, ids in trained.identities.items()} == {VISIBLE: [3, 1], INFRARED: [3, 1]}
    tested = next(iter(evaluation_loader(ImageSet(samples, plain), [range(len(samples))], workers=0)))
    assert tested.identities[VISIBLE].tolist() == [100, 101, 102, 103]


def test_images_in_a_batch_are_plain_tensors(samples: list[Sample]) -> None:
    batch = next(iter(evaluation_loader(ImageSet(samples, plain), [range(len(samples))], workers=0)))
    assert {type(images) for images in batch.images.values()} == {torch.Tensor}


@pytest.mark.parametrize('workers', [0, 2])
def test_evaluation_reads_every_sample_once_in_order_with_a_short_last_batch(
    samples: list[Sample], workers: int
) -> None:
    found = list(
        evaluation_loader(ImageSet(samples, plain), [range(i, i + 3) for i in (0, 3)] + [range(6, 8)], workers=workers)
    )
    names = [[path for paths in batch.paths.values() for path in paths] for batch in found]
    assert names == [[s.path for s in samples[i : i + 3]] for i in (0, 3, 6)]
    assert [list(batch.images) for batch in found] == [[VISIBLE], [VISIBLE, INFRARED], [INFRARED]]


@pytest.mark.parametrize(('cores', 'workers'), [(1, 1), (2, 1), (4, 3), (64, 8)])
def test_beside_a_gpu_workers_are_one_less_than_the_cores_and_at_most_eight(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int
) -> None:
    monkeypatch.setattr('os.sched_getaffinity', lambda process: set(range(cores)), raising=False)
    assert default_workers('cuda') == workers


def test_a_network_on_the_cpu_has_the_cores_for_itself() -> None:
    assert default_workers('cpu') == 0


class PretendedGPU:
    """A GPU as torch's loader sees it: its batches pass through a thread that locks their memory."""

    device = torch.device('cuda')

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.locked: list[Tensor] = []
        self.full = False
        monkeypatch.setattr('torch.accelerator.is_available', lambda: True)
        monkeypatch.setattr('torch.accelerator.current_accelerator', lambda: self.device)
        monkeypatch.setattr('torch.accelerator.current_device_index', lambda: 0)
        monkeypatch.setattr('torch.accelerator.set_device_index', lambda index: None)

    def lock(self, tensor: Tensor) -> Tensor:
        if self.full:
            raise RuntimeError('CUDA error: out of memory\nCUDA kernel errors might be reported later')
        self.locked.append(tensor.clone())
        return self.locked[-1]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> PretendedGPU:
    pretended = PretendedGPU(monkeypatch)
    monkeypatch.setattr(Tensor, 'pin_memory', lambda tensor: pretended.lock(tensor))
    return pretended


class TestPageLockedMemory:
    """For a GPU, batches are in memory from which it copies while it computes."""

    @pytest.mark.parametrize('workers', [0, 1])
    def test_it_holds_the_same_batches(self, samples: list[Sample], gpu: PretendedGPU, workers: int) -> None:
        data, chunks = ImageSet(samples, plain), [range(3), range(3, 8)]
        expected = list(evaluation_loader(data, chunks, workers))
        assert not gpu.locked
        for batch, other in zip(evaluation_loader(data, chunks, workers, gpu.device), expected, strict=True):
            tensors = [*batch.images.values(), *batch.identities.values(), *batch.cameras.values()]
            assert all(any(tensor is locked for locked in gpu.locked) for tensor in tensors)
            assert batch.paths == other.paths
            for part in ('images', 'identities', 'cameras'):
                torch.testing.assert_close(getattr(batch, part), getattr(other, part), rtol=0, atol=0)

    @pytest.mark.parametrize('workers', [0, 1])
    def test_without_more_of_it_training_goes_on_with_one_warning(
        self,
        samples: list[Sample],
        gpu: PretendedGPU,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        workers: int,
    ) -> None:
        gpu.full = True
        monkeypatch.setattr('vireid.console.warn._warned', set())
        batches = list(evaluation_loader(ImageSet(samples, plain), [range(4), range(4, 8)], workers, gpu.device))
        assert [sum(map(len, batch.images.values())) for batch in batches] == [4, 4]
        (warning,) = capfd.readouterr().err.splitlines()
        assert 'CUDA error: out of memory' in warning


@pytest.mark.usefixtures('deaths_are_noticed_soon')
@pytest.mark.parametrize('device', ['cpu', 'cuda'])
class TestDeadLoaderProcesses:
    """They are noticed where their batch is waited for, and nowhere else."""

    @pytest.fixture(autouse=True)
    def pretended(self, device: str, request: pytest.FixtureRequest) -> None:
        if device == 'cuda':
            request.getfixturevalue('gpu')
        self.device = torch.device(device)

    def loader(self, samples: list[Sample]) -> tuple[EpochBatches, Any]:
        order = EpochBatches(Listed([[0, 1], [2, 3], [4, 5], [6, 7]] * 4))
        return order, training_loader(ImageSet(samples, plain, seed=0), order, 1, self.device)

    def kill(self) -> None:
        for child in multiprocessing.active_children():
            child.kill()
            child.join()

    def test_a_death_between_two_batches_interrupts_nothing_else(self, samples):
        order, loader = self.loader(samples)
        batches = iter(loader)
        next(batches)
        self.kill()
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:  # a step, or the writing of a checkpoint
            sum(range(1000))
        with pytest.raises(WorkerDied):
            for _ in batches:
                pass
        order.progress = at(0, 1, 16)
        assert len(list(loader)) == 15

    def test_a_death_between_two_epochs_is_noticed_at_the_next(self, samples):
        _, loader = self.loader(samples)
        assert len(list(loader)) == 16
        self.kill()
        with pytest.raises(WorkerDied):
            list(loader)
        assert len(list(loader)) == 16

    @pytest.mark.skipif(start_method() != 'forkserver', reason='imports what the fork server has not imported')
    def test_they_do_without_torchs_compiler(self, samples):
        """It takes as long to import as the rest of what they need."""

        def tell(image: Tensor) -> Tensor:
            raise RuntimeError(f'imported: {"sympy" in sys.modules}')

        loader = training_loader(ImageSet(samples, tell, seed=0), EpochBatches(Listed([[0, 1]])), 1, self.device)
        with pytest.raises(RuntimeError, match='False'):
            list(loader)

    def test_what_a_transform_raises_is_its_own(self, samples):
        def broken(image: Tensor) -> Tensor:
            raise RuntimeError('of-mine')

        loader = training_loader(ImageSet(samples, broken, seed=0), EpochBatches(Listed([[0, 1]])), 1, self.device)
        with pytest.raises(RuntimeError, match='of-mine') as caught:
            list(loader)
        assert not isinstance(caught.value, WorkerDied)
