"""What embeds images: a checkpoint, or a network that is prepared for them."""

from __future__ import annotations

import pytest

from vireid.search.gallery import find_gallery
from vireid.search.open_embedder import open_embedder
from vireid.search.zero_shot import ZERO_SHOT


@pytest.fixture
def opened(people, options, tmp_path):
    def make(*cameras, more=(), anew=False):
        images = [image for camera in cameras for image in find_gallery(people / f'cam{camera}')[1][:4]]
        path = tmp_path / 'zero_shot.pt'
        return open_embedder(ZERO_SHOT, path, images, [*options, *more], (), warn=lambda line: None, anew=anew)

    return make


def test_an_existing_zero_shot_network_takes_the_options_given_now(opened):
    before = opened(1, 3)
    after = opened(1, 3, more=['images.scale_raw=percentiles'])
    assert (before.experiment.images.scale_raw, after.experiment.images.scale_raw) == (None, 'percentiles')
    assert before.digest() != after.digest()  # so an index of the first refuses the second


def test_a_zero_shot_network_is_that_of_the_first_images_unless_written_anew(opened):
    before = opened(1, 3)
    assert opened(2, 6).digest() == before.digest()
    assert opened(2, 6, anew=True).digest() != before.digest()
