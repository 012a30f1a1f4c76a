"""Renders one image of one person: pose, place, light, lens and sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vireid.errors import UnknownName, did_you_mean
from vireid.synth import spectrum
from vireid.synth.body import Pose, dressed
from vireid.synth.cameras import CAMERAS, RIG, Camera, Response, response
from vireid.synth.look import Look, person
from vireid.synth.raster import Canvas, View
from vireid.synth.rng import POSE, SENSOR, between, chance, stream
from vireid.synth.scene import HEIGHT, WIDTH, backdrop, grain, obstacle
from vireid.synth.spectrum import MODALITIES, Modality, Tone

# Canvas pixels per image pixel: four samples per pixel smooth the edges.
FINE = 2
# Looks of passers-by come from identity numbers that no dataset reaches.
_STRANGERS = 10**7

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class _Shot:
    """Everything about an image that does not depend on the sensor, so that two sensors can see the same moment."""

    width: int
    height: int
    yaw: float
    pose: Pose
    fraction: float
    shift: tuple[float, float]
    corner: tuple[float, float]
    stranger: tuple[int, float, float] | None
    obstacle: tuple[tuple[int, int, int, int], Tone] | None
    folds: tuple[int, int]


def faces_camera(seed: int, identity: int) -> bool:
    """Returns whether the rig of the regdb layout sees this person from the front (else from the back)."""
    return chance(stream(seed, POSE, identity, RIG), 0.5)


def _yaw(rng: np.random.Generator) -> float:
    turned = rng.random()
    if turned < 0.62:
        return between(rng, -0.4, 0.4)
    if turned < 0.88:
        return np.pi + between(rng, -0.4, 0.4)
    return between(rng, 0.6, 2.5) * (1.0 if chance(rng, 0.5) else -1.0)


def _pose(rng: np.random.Generator) -> Pose:
    elbow = (between(rng, 0.05, 0.6), between(rng, 0.05, 0.6))
    if chance(rng, 0.12):
        elbow = (elbow[0], between(rng, 1.2, 2.0))
    return Pose(between(rng, 0.0, 2.0 * np.pi), between(rng, 0.15, 1.0), elbow, between(rng, -0.02, 0.1))


def _shot(seed: int, look: Look, camera: Camera, shot: int, size: tuple[int, int] | None) -> _Shot:
    # The walk past a camera has a direction; single frames deviate from it slightly, occasionally completely.
    walk = stream(seed, POSE, look.identity, camera.number)
    rng = stream(seed, POSE, look.identity, camera.number, shot + 1)
    heading = _yaw(walk)
    aside = _yaw(rng)
    yaw = aside if chance(rng, 0.2) else heading + between(rng, -0.3, 0.3)
    if camera.number == RIG:
        # RegDB shows each person from one side only.
        yaw = (0.0 if faces_camera(seed, look.identity) else np.pi) + between(rng, -0.4, 0.4)
    height = int(rng.integers(168, 209))
    width = int(height / between(rng, 2.3, 2.6))
    if size is not None:
        width, height = size
    tall = (look.build.height / 1.74) ** 0.15
    stranger = (int(rng.integers(1000)), between(rng, 0.4, 0.62), between(rng, 0.8, 1.0)) if chance(rng, 0.06) else None
    return _Shot(
        width=width,
        height=height,
        yaw=float(yaw),
        pose=_pose(rng),
        fraction=between(rng, 0.88, 0.96) * tall,
        shift=(between(rng, -0.07, 0.07), between(rng, -0.025, 0.015)),
        corner=(between(rng, 0.0, 1.0), between(rng, 0.0, 1.0)),
        stranger=stranger,
        obstacle=obstacle(rng, width * FINE, height * FINE) if chance(rng, 0.05) else None,
        folds=(int(rng.integers(400)), int(rng.integers(1200))),
    )


def draw(
    look: Look,
    *,
    modality: Modality,
    camera: int,
    shot: int,
    seed: int,
    size: tuple[int, int] | None = None,
) -> Image.Image:
    """Draws one image.

    Pose, place and crop depend only on the person, the camera, the shot and the seed, so the same call with another
    modality shows the same moment to another sensor.

    Args:
        look: the identity, from `person`.
        modality: 'visible', 'infrared' or 'thermal'.
        camera: 1 to 6 as in the sysu layout, 7 for the rig of the regdb layout, from 11 for those of the llcm layout.
        shot: the index of the image of this person by this camera, >= 0.
        seed: the dataset's seed, >= 0.
        size: width and height in pixels; None draws a size typical of crops, about 66 to 102 by 168 to 208.

    Returns:
        An RGB image; infrared and thermal ones have three equal channels.

    Raises:
        UnknownName: for an unknown modality or camera.
    """
    if modality not in MODALITIES:
        raise UnknownName(
            f'unknown modality {modality!r}{did_you_mean(modality, MODALITIES)}', allowed=', '.join(MODALITIES)
        )
    if camera not in CAMERAS:
        raise UnknownName(f'unknown camera {camera!r}', allowed=', '.join(map(str, CAMERAS)))
    station = CAMERAS[camera]
    moment = _shot(seed, look, station, shot, size)
    lens = response(seed, station, modality)
    rng = stream(seed, SENSOR, look.identity, camera, shot, MODALITIES.index(modality))
    light = _lamp(lens, rng)
    pixels = _place(seed, station, modality, moment, rng)
    wide, high = moment.width * FINE, moment.height * FINE
    scale = moment.fraction * high / look.build.height
    foot = (0.5 + moment.shift[0]) * wide, (0.97 + moment.shift[1]) * high
    if moment.stranger is not None:
        number, side, size_factor = moment.stranger
        other = person(seed, _STRANGERS + number)
        x = foot[0] + side * wide * (1.0 if number % 2 else -1.0)
        view = View(0.013 * number, lens.pitch, scale * size_factor, (x, foot[1] - 0.03 * high), light, lens.ambient)
        _paint(pixels, other, moment.pose, view, modality, moment.folds)
    _shadow(pixels, foot, scale)
    view = View(moment.yaw, lens.pitch, scale, foot, light, lens.ambient)
    _paint(pixels, look, moment.pose, view, modality, moment.folds)
    if moment.obstacle is not None:
        (left, top, right, bottom), tone = moment.obstacle
        pixels[top:bottom, left:right] = np.asarray(tone.seen(modality), dtype=np.float32)
    image = Image.fromarray((np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)).reduce(FINE)
    return _sense(image, lens, modality, rng)


def _lamp(lens: Response, rng: np.random.Generator) -> tuple[float, float, float]:
    lamp = np.asarray(lens.lamp) + rng.uniform(-0.25, 0.25, size=3)
    right, up, near = (float(part) for part in lamp / np.linalg.norm(lamp))
    return right, up, near


def _place(seed: int, camera: Camera, modality: Modality, moment: _Shot, rng: np.random.Generator) -> Pixels:
    place = backdrop(seed, camera.place, camera.outdoor, modality)
    wide, high = moment.width * FINE, moment.height * FINE
    left = int(moment.corner[0] * (WIDTH - wide))
    # The feet are on the floor, so the edge of the floor must be above the lower end of the image.
    low, top = max(place.floor - int(0.85 * high), 0), min(HEIGHT - high, place.floor - int(0.45 * high))
    top = low + int(moment.corner[1] * max(top - low, 0))
    pixels = place.pixels[top : top + high, left : left + wide].copy()
    if modality != 'visible':
        # The lamp of a night camera illuminates people more than the background.
        pixels *= np.float32(between(rng, 0.4, 0.6))
    return pixels


def _paint(pixels: Pixels, look: Look, pose: Pose, view: View, modality: Modality, folds: tuple[int, int]) -> None:
    canvas = Canvas(pixels.shape[1], pixels.shape[0])
    canvas.draw(dressed(look, pose), view)
    rows, columns = np.nonzero(canvas.slots)
    tones = spectrum.table(list(look.tones), modality)
    creased = canvas.light[rows, columns] * (1.0 + 0.07 * grain()[rows + folds[0], columns + folds[1]])
    pixels[rows, columns] = tones[canvas.slots[rows, columns]] * creased[:, None]


def _shadow(pixels: Pixels, foot: tuple[float, float], scale: float) -> None:
    high, wide = pixels.shape[:2]
    x = (np.arange(wide, dtype=np.float32)[None, :] - np.float32(foot[0])) / np.float32(0.36 * scale)
    y = (np.arange(high, dtype=np.float32)[:, None] - np.float32(foot[1])) / np.float32(0.09 * scale)
    pixels *= (1.0 - 0.55 * np.exp(-(x * x + y * y)))[..., None]


def _sense(image: Image.Image, lens: Response, modality: Modality, rng: np.random.Generator) -> Image.Image:
    image = image.filter(ImageFilter.GaussianBlur(lens.blur + between(rng, 0.0, 0.5)))
    pixels = np.asarray(image, dtype=np.float32) / np.float32(255.0)
    high, wide = pixels.shape[:2]
    gain = lens.gain * between(rng, 0.92, 1.08)
    if modality == 'visible':
        cast = np.asarray(lens.cast, dtype=np.float32) * rng.uniform(0.95, 1.05, size=3).astype(np.float32)
    else:
        cast = np.ones(3, dtype=np.float32)
        pixels = pixels[..., :1]
        # The spot of the lamp: bright where it points, darker towards the sides.
        spot_x, spot_y = between(rng, 0.2, 0.8), between(rng, 0.15, 0.75)
        x = np.linspace(0.0, 1.0, wide, dtype=np.float32)[None, :] - np.float32(spot_x)
        y = np.linspace(0.0, 1.0, high, dtype=np.float32)[:, None] - np.float32(spot_y)
        pixels = pixels * (0.85 + 0.22 * np.exp(-(x * x + y * y) / 0.3))[..., None]
    gamma = lens.gamma * between(rng, 0.92, 1.08)
    haze = between(rng, 0.0, 0.07)
    pixels = haze + (1.0 - haze) * np.power(np.clip(pixels, 0.0, 1.0), np.float32(gamma)) * np.float32(gain)
    pixels = pixels * (cast if modality == 'visible' else np.float32(1.0))
    noise = rng.standard_normal(size=(high, wide, pixels.shape[2]), dtype=np.float32)
    pixels = pixels + np.float32(lens.noise * between(rng, 0.5, 1.5)) * noise
    pixels = np.clip(pixels, 0.0, 1.0) * np.float32(255.0) + np.float32(0.5)
    levels = pixels.astype(np.uint8)
    return Image.fromarray(np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels)
