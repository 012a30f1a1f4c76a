"""What a loaded model embeds: files, PIL images, arrays and tensors."""

from __future__ import annotations

import re

import faults
import numpy as np
import pytest
import torch
from PIL import Image

import vireid
from vireid.errors import MissingFile, OutOfMemory, TooFew, UnsupportedFile, WrongValue
from vireid.search.gallery import find_gallery

PLUGIN = faults.__file__


@pytest.fixture(scope='module')
def embedder(checkpoint):
    return vireid.load(checkpoint, plugins=[PLUGIN])


@pytest.fixture(scope='module')
def paths(people):
    return [image.path for image in find_gallery(people / 'cam3')[1][:5]]


class OnGPU(torch.Tensor):
    """A tensor that NumPy cannot read, as one on a GPU."""

    def cpu(self):
        return self.as_subclass(torch.Tensor)

    def numpy(self):
        raise TypeError


def test_every_kind_of_image_gives_the_same_embedding(embedder, paths):
    expected = embedder.embed(paths, 'infrared')
    assert expected.shape == (5, embedder.length)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, rtol=1e-6)
    pixels = [np.array(Image.open(path).convert('RGB')) for path in paths]
    for kind in (
        pixels,
        [Image.open(path) for path in paths],
        [torch.from_numpy(image).permute(2, 0, 1) for image in pixels],
        [torch.from_numpy(image).permute(2, 0, 1).as_subclass(OnGPU) for image in pixels],
    ):
        np.testing.assert_array_equal(embedder.embed(kind, 'infrared'), expected)
    np.testing.assert_array_equal(embedder.embed(paths), expected)  # guessed: infrared
    np.testing.assert_array_equal(embedder.embed(paths[0]), embedder.embed([paths[0]], 'infrared'))
    np.testing.assert_allclose(embedder.embed_files(paths, ['infrared'] * 5), expected, atol=1e-6)


def test_a_lack_of_memory_says_for_how_many_images(embedder, paths, monkeypatch):
    def embed(images, modality):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(embedder.model, 'embed', embed)
    with pytest.raises(OutOfMemory, match='5 images'):
        embedder.embed(paths, 'infrared')


def test_prepared_tensors_are_embedded_as_they_are(embedder, paths):
    prepare = embedder.experiment.build_transform('test')
    images = torch.stack([prepare(torch.from_numpy(embedder.pixels(path)).permute(2, 0, 1)) for path in paths])
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(embedder.model.embed(images, 'infrared'), dim=1).numpy()
    np.testing.assert_array_equal(embedder.embed(images, 'infrared'), expected)


def test_the_order_is_that_of_the_images_though_modalities_are_embedded_apart(embedder, people):
    mixed = [find_gallery(people / f'cam{camera}')[1][0].path for camera in (3, 1, 6, 2)]
    together = embedder.embed(mixed)
    for row, (path, modality) in enumerate(zip(mixed, ('infrared', 'visible', 'infrared', 'visible'), strict=True)):
        np.testing.assert_allclose(together[row], embedder.embed(path, modality)[0], atol=1e-6)


@pytest.mark.parametrize(
    ('images', 'modality', 'kind', 'fact'),
    [
        ([], None, TooFew, '.'),
        ([np.zeros((4, 4, 3))], None, WrongValue, 'ndarray float64'),
        ([np.zeros((4, 4, 4), dtype=np.uint8)], None, WrongValue, r'uint8 \(4, 4, 4\)'),
        (torch.zeros(1, 3, 8, 8), None, WrongValue, r'\(1, 3, 8, 8\)'),
        ([7], None, WrongValue, r'\bint\b'),
        ('none.jpg', None, MissingFile, r'none\.jpg'),
        ([np.zeros((4, 4, 3), dtype=np.uint8)], 'thermal', WrongValue, "'thermal'"),
        ([Image.new('CMYK', (4, 4))], None, WrongValue, "'CMYK'"),
    ],
)
def test_what_it_refuses(embedder, images, modality, kind, fact):
    with pytest.raises(kind, match=fact):
        embedder.embed(images, modality)


def test_the_digest_is_that_of_weights_and_preparation(embedder, checkpoint):
    same = vireid.load(checkpoint, plugins=[PLUGIN])
    other = vireid.load(checkpoint, plugins=[PLUGIN], options=['images.scale_raw=percentiles'])
    assert embedder.digest() == same.digest() != other.digest()


def test_the_folder_of_a_run_is_not_that_of_exported_weights(checkpoint):
    with pytest.raises(UnsupportedFile, match=re.escape(str(checkpoint))):
        vireid.load(checkpoint.parents[1])
