"""Transforms that run on the device: the same images as in the loader, or of the same distribution."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from vireid.boundary import checkpoint
from vireid.core.config.transform_chain import TransformChain
from vireid.core.data.images import decoder
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Progress
from vireid.errors import OutOfMemory, VireidError, WrongValue
from vireid.launch.launch import build_batches, prepare
from vireid.launch.on_device import OnDevice
from vireid.launch.preflight import preflight
from vireid.plugins.transforms.in_place import RandomErasing
from vireid.plugins.transforms.to_float import ToFloat

PLAIN = ['Resize', 'RandomHorizontalFlip', 'ToFloat', 'Normalize']
NUMBERS = {'Normalize': {'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.3, 0.4]}, 'RandomErasing': {'p': 0.5}}


def listed(names):
    return [{'type': name, **NUMBERS.get(name, {})} for name in names]


def fabric(rank=0):
    return SimpleNamespace(device=torch.device('cpu'), global_rank=rank, world_size=1, to_device=lambda batch: batch)


def with_images(experiment, **images):
    settings = {f'images.{name}': value for name, value in images.items()}
    return experiment.with_overrides(settings)


@pytest.fixture
def first_batch(make_tiny, small_sysu):
    """Returns the first batch of a run with these `images`, and the batch as the loader sends it."""

    def read(names=PLAIN, **images):
        experiment = with_images(make_tiny(small_sysu), train=listed(names), **images)
        samples = experiment.build_dataset().split('train')
        sampler = experiment.build_sampler(samples)
        return build_batches(experiment, samples, sampler, fabric(), decoder(experiment.images)).first()

    return read


def random_erasing(rank=0, count=8, seed=0, step=3, p=0.5):
    """Returns which of the images are erased where, as OnDevice does it."""
    chain = TransformChain([ToFloat(), RandomErasing(p=p)], 'images.train', first=4)
    batch = Batch({m: torch.full((count, 3, 16, 8), 255, dtype=torch.uint8) for m in MODALITIES}, {})
    batch.progress = Progress(0, step, 10, 100)
    images = OnDevice(fabric(rank), chain, seed)(batch).images
    return {modality: (own == 0).all(dim=1) for modality, own in images.items()}


def test_images_are_those_of_the_loader_bit_for_bit(first_batch):
    there, here = first_batch(on_device=True), first_batch()
    assert there.paths == here.paths
    for modality in MODALITIES:
        assert there.images[modality].dtype == torch.float32
        assert torch.equal(there.images[modality], here.images[modality])


def test_the_loader_sends_a_quarter_of_the_bytes(first_batch, monkeypatch):
    sent = []
    monkeypatch.setattr(OnDevice, '__call__', lambda self, batch: sent.append(batch) or batch)
    first_batch(on_device=True)
    assert {images.dtype for images in sent[0].images.values()} == {torch.uint8}


def test_views_are_finished_too(first_batch):
    views = {'gray': {'of': VISIBLE, 'train': listed([*PLAIN, 'ChannelExchange'])}}
    batch = first_batch(on_device=True, views=views)
    visible, gray = batch.images[VISIBLE], batch.images['gray']
    assert gray.shape == visible.shape
    assert all(torch.equal(channel, image[0]) for image in gray for channel in image)
    assert not torch.equal(visible[:, 0], visible[:, 1])


def test_transforms_of_a_view_get_the_modality_that_it_shows(first_batch):
    marked = {'type': 'PerModality', 'visible': listed(['ChannelExchange'])}
    views = {'gray': {'of': VISIBLE, 'train': [*listed(PLAIN), marked]}}
    gray = first_batch(on_device=True, views=views).images['gray']
    assert all(torch.equal(channel, image[0]) for image in gray for channel in image)


def test_random_numbers_are_a_function_of_the_seed_the_step_and_the_position():
    ours = random_erasing()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    again = random_erasing()
    assert all(torch.equal(ours[m], again[m]) for m in MODALITIES)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    for other in (random_erasing(seed=1), random_erasing(step=4)):
        assert not torch.equal(ours[VISIBLE], other[VISIBLE])
    assert not torch.equal(ours[VISIBLE], ours[INFRARED])
    assert len({tuple(map(tuple, image.tolist())) for image in random_erasing(p=1.0)[VISIBLE]}) == 8


def test_random_numbers_of_the_device_are_too(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, 'manual_seed_all', seeds.append)
    for step in (3, 4, 3):
        random_erasing(step=step)
    third, fourth, again = seeds[:16], seeds[16:32], seeds[32:]
    assert third == again
    assert len({*third, *fourth}) == 32


def test_several_processes_erase_what_one_would():
    parts = [random_erasing(rank, count=4) for rank in (0, 1)]
    whole = random_erasing(count=8)
    for modality in MODALITIES:
        assert torch.equal(torch.cat([part[modality] for part in parts]), whole[modality])


def test_erasing_has_the_distribution_of_the_loader():
    there = torch.cat([random_erasing(count=64, step=step)[VISIBLE] for step in range(10)]).double().mean(dim=(1, 2))
    torch.manual_seed(0)
    erase = RandomErasing(p=0.5)
    here = torch.stack([(erase(torch.ones(3, 16, 8)) == 0).all(dim=0) for _ in range(640)]).double().mean(dim=(1, 2))
    for ours, theirs in ((there, here), ((there > 0).double(), (here > 0).double())):
        error = (theirs.var() * 2 / 640).sqrt().item()  # of the difference of two means of 640 draws
        assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=4 * error)


def test_epochs_of_a_transform_hold_on_the_device():
    chain = TransformChain([ToFloat(), RandomErasing(p=1.0)], epochs=[None, (2, None)])
    images = {}
    for epoch in (1, 2):
        batch = Batch({VISIBLE: torch.full((2, 3, 16, 8), 255, dtype=torch.uint8)}, {})
        batch.progress = Progress(epoch, 10 * epoch, 10, 100)
        images[epoch] = OnDevice(fabric(), chain, 0)(batch).images[VISIBLE]
    assert (images[1] == 1).all()
    assert (images[2] == 0).any()


def test_a_run_resumes_bit_for_bit(make_tiny, small_sysu, tmp_path):
    options = ['training.steps=3', 'training.epochs=null', 'training.checkpoint_every=1']
    experiment = make_tiny(small_sysu, *options)
    experiment = with_images(experiment, train=listed([*PLAIN, 'RandomErasing']), on_device=True)
    prepare(experiment, tmp_path).train()
    last, before = (tmp_path / 'checkpoints' / name for name in ('last.pt', 'last-1.pt'))
    ours = checkpoint.load(last)['model']
    prepare(experiment, tmp_path, resume=before).train()
    again = checkpoint.load(last)['model']
    assert all(torch.equal(again[name], value) for name, value in ours.items())


def test_a_list_without_to_float(make_tiny, small_sysu):
    nested = {'type': 'PerModality', 'visible': listed(['ToFloat']), 'infrared': listed(['ToFloat'])}
    experiment = with_images(make_tiny(small_sysu), on_device=True)
    experiment = experiment.with_overrides({'images.train': [{'type': 'Resize'}, nested]})
    with pytest.raises(WrongValue, match=r'images\.train has no ToFloat') as caught:
        preflight(experiment)
    assert 'images.on_device=False' in caught.value.todo


def test_a_transform_that_only_a_cpu_can_run():
    def equalize(image):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    chain = TransformChain([ToFloat(), equalize], 'images.train', first=4)
    with pytest.raises(WrongValue, match=r'images\.train\.5: function .*numpy') as caught:
        OnDevice(fabric(), chain, 0)(Batch({VISIBLE: torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}, {}))
    assert 'before ToFloat' in caught.value.todo


def test_a_wrong_transform_is_told_once(make_tiny, small_sysu):
    flip = {'type': 'RandomHorizontalFlip', 'p': 2}
    experiment = with_images(make_tiny(small_sysu), train=[flip, *listed(PLAIN)], on_device=True)
    with pytest.raises(VireidError) as caught:
        preflight(experiment)
    assert str(caught.value).count('images.train.0') == 1


@pytest.mark.parametrize('text', ['MPS backend out of memory', "DefaultCPUAllocator: can't allocate memory"])
def test_a_transform_without_memory(text):
    def enlarge(image):
        raise RuntimeError(text)

    chain = TransformChain([ToFloat(), enlarge])
    with pytest.raises(OutOfMemory, match=r'\bcpu\b'):
        OnDevice(fabric(), chain, 0)(Batch({VISIBLE: torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}, {}))


def test_a_device_without_memory():
    def move(batch):
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...')

    gpu = SimpleNamespace(device=torch.device('cuda', 0), global_rank=0, to_device=move)
    with pytest.raises(OutOfMemory, match=r'cuda:0 .*2\.00 GiB') as caught:
        OnDevice(gpu, TransformChain([ToFloat()]), 0)(Batch({VISIBLE: torch.zeros(2, 3, 4, 4)}, {}))
    assert 'images.size' in caught.value.todo


def test_a_real_fabric():
    batch = Batch({VISIBLE: torch.full((2, 3, 4, 4), 51, dtype=torch.uint8)}, {VISIBLE: torch.tensor([0, 1])})
    finished = OnDevice(Fabric(accelerator='cpu'), TransformChain([ToFloat()]), 0)(batch)
    assert torch.equal(finished.images[VISIBLE], torch.full((2, 3, 4, 4), 0.2))
