"""Raw likeness does not find people across the spectra: the set has to be learned."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vireid.synth import draw, person
from vireid.synth.look import Slot
from vireid.synth.spectrum import luminance

PEOPLE = range(1, 31)


def _pictures(modality: str, cameras: tuple[int, ...]) -> np.ndarray:
    looks = [person(0, identity) for identity in PEOPLE]
    drawn = [draw(look, modality=modality, camera=camera, shot=0, seed=0) for camera in cameras for look in looks]
    resized = [image.resize((36, 72), Image.Resampling.BILINEAR) for image in drawn]
    return np.stack([np.asarray(image, dtype=np.float32) / 255.0 for image in resized])


@pytest.fixture(scope='module')
def sides() -> tuple[np.ndarray, np.ndarray]:
    """Queries of the infrared cameras, gallery of the visible ones, identities in the same order per camera."""
    return _pictures('infrared', (3, 6)), _pictures('visible', (1, 4))


def _rank1(queries: np.ndarray, gallery: np.ndarray) -> float:
    distances = ((queries[:, None] - gallery[None]) ** 2).sum(axis=2)
    asked, found = np.arange(len(queries)), distances.argmin(axis=1)
    return float(np.mean(found % len(PEOPLE) == asked % len(PEOPLE)))


def _gray(pictures: np.ndarray) -> np.ndarray:
    return pictures @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _standardised(rows: np.ndarray) -> np.ndarray:
    centered = rows - rows.mean(axis=1, keepdims=True)
    return centered / np.linalg.norm(centered, axis=1, keepdims=True)


def test_nearest_pixels_fail(sides):
    rows = [side.reshape(len(side), -1) for side in sides]
    grays = [_gray(side).reshape(len(side), -1) for side in sides]
    assert _rank1(*rows) < 0.2
    assert _rank1(*grays) < 0.2
    assert _rank1(*map(_standardised, grays)) < 0.2
    # Knowing the mean of each modality does not help either.
    assert _rank1(*(_standardised(gray - gray.mean(axis=0)) for gray in grays)) < 0.2


@pytest.mark.parametrize('stripes', [1, 6])
def test_nearest_histograms_fail(sides, stripes):
    for channels in ('gray', 'color'):
        rows = []
        for side in sides:
            values = _gray(side)[..., None] if channels == 'gray' else side
            bins = np.minimum((values * 8.0).astype(int), 7)
            parts = [part for band in np.array_split(bins, stripes, axis=1) for part in np.moveaxis(band, 3, 0)]
            counts = [(part.reshape(len(part), -1)[..., None] == np.arange(8)).mean(axis=1) for part in parts]
            rows.append(np.sqrt(np.concatenate(counts, axis=1)))
        assert _rank1(*rows) < 0.2


def test_brightness_of_cloth_is_decoupled_between_the_spectra():
    looks = [person(0, identity) for identity in range(100)]
    tones = [look.tones[slot] for look in looks for slot in (Slot.UPPER, Slot.LOWER)]
    visible = [luminance(tone.visible) for tone in tones]
    infrared = [tone.infrared for tone in tones]
    assert abs(np.corrcoef(visible, infrared)[0, 1]) < 0.3
    assert np.std(infrared) > 0.2
