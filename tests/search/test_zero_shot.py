"""A pretrained network that is only centered."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from vireid.errors import DamagedFile
from vireid.search.embedder import load
from vireid.search.gallery import GalleryImage, find_gallery
from vireid.search.zero_shot import make_zero_shot


def some(people, *cameras):
    return [image for camera in cameras for image in find_gallery(people / f'cam{camera}')[1][:6]]


def test_the_means_of_both_modalities_are_subtracted(people, options, tmp_path):
    images = some(people, 1, 3)
    whole = [*options, 'model.normalize_parts=False', 'model.mirror=False']  # lengths would change the means
    assert make_zero_shot(tmp_path / 'zero.pt', images, whole) == []
    embedder = load(tmp_path / 'zero.pt')
    with torch.inference_mode():
        for modality, own in (('visible', images[:6]), ('infrared', images[6:])):
            prepared = embedder._prepared([embedder.pixels(image.path) for image in own], modality)
            embedded = embedder.model.embed(prepared, modality)
            np.testing.assert_allclose(embedded.mean(dim=0), 0, atol=1e-5)


def test_a_missing_modality_is_told(people, options, tmp_path):
    (warning,) = make_zero_shot(tmp_path / 'zero.pt', some(people, 1), options)
    assert 'the gallery has no infrared images, so infrared queries are not centered' in warning


def test_no_readable_image(options, tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'x')
    with pytest.raises(DamagedFile, match=re.escape(str(tmp_path / 'a.jpg'))):
        make_zero_shot(tmp_path / 'zero.pt', [GalleryImage(str(tmp_path / 'a.jpg'))], options)
