"""Before the first step: raw values without a scaling are found, and what is not read is told once."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vireid.boundary.image_files import RawImage
from vireid.console import warn
from vireid.core.config.settings import ImageSettings
from vireid.core.types import VISIBLE, Sample
from vireid.errors import DamagedFile
from vireid.launch.image_checks import check_images, warn_skipped


def settings(**more):
    return ImageSettings(size=(8, 4), train=[], test=[], **more)


@pytest.fixture
def samples(tmp_path):
    """A photograph and three raw images."""
    Image.new('RGB', (4, 8)).save(tmp_path / 'a.jpg')
    for number in range(3):
        Image.fromarray(np.array([[7000 + number, 8000]], dtype=np.uint16)).save(tmp_path / f'{number}.png')
    return [Sample(str(tmp_path / name), 1, 1, VISIBLE) for name in ('a.jpg', '0.png', '1.png', '2.png')]


@pytest.mark.parametrize('check', ['files', 'images'])
def test_raw_images_without_a_scaling_stop_a_run_with_the_lines_to_add(samples, check):
    with pytest.raises(RawImage, match=r'^3 of 4 ') as caught:
        check_images(settings(check=check), samples, ())
    assert 'images.scale_raw=[7000,8000]' in caught.value.given
    assert '--cfg-options' in caught.value.todo
    check_images(settings(check=check, scale_raw='percentiles'), samples, ())


def test_a_scaling_that_fits_no_image_is_found_when_all_are_read(samples):
    with pytest.raises(RawImage, match=r'^3 of 4 .*\n.*/0\.png'):
        check_images(settings(check='images', scale_raw=(0.0, 1.0)), samples, ())


def test_a_file_that_is_gone_is_told_beside_raw_ones(samples, tmp_path):
    (tmp_path / 'a.jpg').unlink()
    with pytest.raises(DamagedFile, match=r'^4 of 4 ') as caught:
        check_images(settings(), samples, ())
    assert 'images.on_bad_image=skip' in caught.value.todo


def test_skipped_files_are_reported_once(capsys, monkeypatch):
    monkeypatch.setattr(warn, '_warned', set())
    mine = SimpleNamespace(
        source='Folders: mine', passed_over=['1 file in an unsupported format is not read: .heic (1)']
    )
    for dataset in (mine, mine, object()):  # readers of published datasets pass nothing over
        warn_skipped(dataset)
    assert capsys.readouterr().err == 'warning: Folders: mine: 1 file in an unsupported format is not read: .heic (1)\n'
