"""Places: cluttered backgrounds, drawn once per place and cropped again for every image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from vireid.synth import spectrum
from vireid.synth.rng import SCENE, between, chance, stream
from vireid.synth.spectrum import Modality, Tone

# Canvas pixels (twice the size of the images), wide enough that two crops rarely show the same things.
WIDTH, HEIGHT = 1500, 760
FLOOR = 420


@dataclass(frozen=True)
class Backdrop:
    """A place as one sensor sees it: (HEIGHT, WIDTH, 3) float32 colors in [0, 1], and the upper edge of the floor."""

    pixels: NDArray[np.float32]
    floor: int


class _Painter:
    """Draws numbered shapes, each with its own tone, so that one drawing serves every sensor."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.tones: list[Tone] = []
        self.image = Image.new('L', (WIDTH, HEIGHT))
        self.pen = ImageDraw.Draw(self.image)

    def tone(self, tone: Tone | None = None) -> int:
        # An 'L' image has 256 values; a crowded place reuses its tones.
        if len(self.tones) >= 250:
            return int(self.rng.integers(len(self.tones)))
        self.tones.append(tone or _muted(self.rng))
        return len(self.tones) - 1

    def box(self, x: float, y: float, width: float, height: float, tone: int) -> None:
        self.pen.rectangle((x, y, x + width, y + height), fill=tone)

    def grid(
        self, x: float, y: float, columns: int, rows: int, cell: tuple[float, float], gap: float, tone: int
    ) -> None:
        for row in range(rows):
            for column in range(columns):
                left, top = x + column * cell[0], y + row * cell[1]
                self.box(left, top, cell[0] - gap, cell[1] - gap, tone)


def _muted(rng: np.random.Generator) -> Tone:
    tone = spectrum.cloth(rng)
    gray = spectrum.luminance(tone.visible)
    red, green, blue = (0.3 * gray + 0.25 * channel + 0.22 for channel in tone.visible)
    return Tone((red, green, blue), 0.25 + 0.45 * tone.infrared, 0.12 + 0.25 * tone.thermal)


def _leaves(rng: np.random.Generator) -> Tone:
    # Leaves are bright in near infrared, where chlorophyll does not absorb.
    return Tone(
        (between(rng, 0.25, 0.36), between(rng, 0.36, 0.48), between(rng, 0.22, 0.3)), between(rng, 0.5, 0.75), 0.25
    )


def _floor(paint: _Painter) -> None:
    rng = paint.rng
    ground, joint = paint.tone(_muted(rng)), paint.tone(_muted(rng))
    paint.box(0, FLOOR, WIDTH, HEIGHT - FLOOR, ground)
    tile, slant = between(rng, 70, 170), between(rng, -0.9, 0.9)
    depth = FLOOR + 10.0
    while depth < HEIGHT:
        paint.box(0, depth, WIDTH, 3, joint)
        depth += 14.0 + 0.22 * (depth - FLOOR)
    for column in np.arange(-WIDTH, 2 * WIDTH, tile):
        paint.pen.line((column, FLOOR, column + slant * 340 + (column - WIDTH / 2) * 0.4, HEIGHT), fill=joint, width=3)
    for _ in range(5):
        x, y, wide = between(rng, 0, WIDTH), between(rng, FLOOR + 20, HEIGHT), between(rng, 60, 260)
        paint.pen.ellipse((x, y, x + wide, y + wide * 0.22), fill=paint.tone(_muted(rng)))


def _indoor(paint: _Painter) -> None:
    rng = paint.rng
    paint.box(0, 0, WIDTH, FLOOR, paint.tone(_muted(rng)))
    paint.box(0, FLOOR - between(rng, 90, 160), WIDTH, 200, paint.tone(_muted(rng)))
    _floor(paint)
    paint.box(0, FLOOR - 14, WIDTH, 14, paint.tone())
    x = between(rng, -60.0, 0.0)
    while x < WIDTH:
        wide = between(rng, 70, 170)
        what = rng.integers(6)
        tone, second = paint.tone(), paint.tone()
        if what == 0:
            top = between(rng, 30, 90)
            paint.box(x, top, wide, FLOOR - top, tone)
            paint.box(x + 8, top + 8, wide - 16, FLOOR - top - 8, second)
            paint.box(x + 0.4 * wide, top + 30, 0.35 * wide, 90, tone)
        elif what == 1:
            paint.box(x, between(rng, 40, 160), wide, between(rng, 80, 150), tone)
            for _ in range(6):
                left, top = x + between(rng, 0, wide - 30), between(rng, 70, 260)
                paint.box(left, top, between(rng, 14, 45), between(rng, 14, 50), paint.tone())
        elif what == 2:
            paint.box(x, 60, wide, FLOOR - 60, tone)
            paint.grid(x + 5, 66, max(int(wide / 38), 1), 5, (38, 70), 6, second)
        elif what == 3:
            paint.box(x, 0, 0.35 * wide, FLOOR + 20, tone)
            paint.box(x + 0.08 * wide, 0, 0.08 * wide, FLOOR + 20, second)
        elif what == 4:
            bright = paint.tone(spectrum.fixed((0.85, 0.9, 0.95), between(rng, 0.2, 0.9), 0.2))
            paint.box(x, 50, wide, 190, tone)
            paint.grid(x + 7, 57, 2, 2, (wide / 2 - 4, 90), 8, bright)
        else:
            for _ in range(9):
                y = between(rng, 40, FLOOR)
                paint.box(x, y, wide, between(rng, 6, 30), paint.tone())
        x += wide + between(rng, 5, 80)


def _outdoor(paint: _Painter) -> None:
    rng = paint.rng
    sky = spectrum.fixed((0.72, 0.8, 0.9), between(rng, 0.1, 0.5), 0.1)
    paint.box(0, 0, WIDTH, FLOOR, paint.tone(sky))
    x = between(rng, -100.0, 0.0)
    while x < WIDTH:
        wide, top = between(rng, 150, 400), between(rng, -40, 140)
        paint.box(x, top, wide, FLOOR - top, paint.tone(_muted(rng)))
        cell = (between(rng, 40, 75), between(rng, 55, 95))
        paint.grid(x + 12, top + 14, int(wide / cell[0]), int((FLOOR - top) / cell[1]), cell, between(rng, 14, 30),
                   paint.tone())  # fmt: skip
        x += wide + between(rng, 0, 40)
    _floor(paint)
    for _ in range(7):
        x, wide = between(rng, -50, WIDTH), between(rng, 60, 150)
        paint.box(x + 0.45 * wide, 150, 0.1 * wide, FLOOR - 140, paint.tone())
        leaf = [paint.tone(_leaves(rng)) for _ in range(3)]
        for _ in range(22):
            cx, cy, size = x + between(rng, 0, wide), between(rng, 30, 260), between(rng, 14, 40)
            paint.pen.ellipse((cx - size, cy - size, cx + size, cy + size), fill=leaf[int(rng.integers(3))])
    for _ in range(5):
        x, wide, tall = between(rng, -50, WIDTH), between(rng, 160, 260), between(rng, 60, 95)
        body = paint.tone()
        paint.pen.rounded_rectangle((x, FLOOR - tall, x + wide, FLOOR), radius=18, fill=body)
        paint.pen.rounded_rectangle((x + 40, FLOOR - 1.7 * tall, x + wide - 45, FLOOR - tall + 8), 16, fill=body)
        paint.box(x + 55, FLOOR - 1.5 * tall, wide - 115, 0.45 * tall, paint.tone())
        for wheel in (0.2, 0.78):
            cx = x + wheel * wide
            paint.pen.ellipse((cx - 22, FLOOR - 24, cx + 22, FLOOR + 20), fill=paint.tone())
    for _ in range(3):
        x, post = between(rng, 0, WIDTH), paint.tone()
        for step in range(int(rng.integers(4, 9))):
            paint.box(x + 34 * step, FLOOR - 70, 7, 95, post)
        paint.box(x, FLOOR - 66, 34 * 8, 7, post)


@lru_cache(maxsize=32)
def backdrop(seed: int, place: int, outdoor: bool, modality: Modality) -> Backdrop:
    """Returns the place `place` of the dataset `seed` as `modality` sees it."""
    paint = _Painter(stream(seed, SCENE, place))
    (_outdoor if outdoor else _indoor)(paint)
    tones = spectrum.table(paint.tones, modality)
    pixels = tones[np.asarray(paint.image)]
    # A distant wall is out of focus, and texture keeps flat areas from compressing to nothing.
    soft = Image.fromarray((pixels * 255.0).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.2))
    pixels = np.asarray(soft, dtype=np.float32) / 255.0
    across = np.linspace(0.0, 1.0, WIDTH, dtype=np.float32)
    rng = stream(seed, SCENE, place, 1)
    lamps = sum(
        (
            np.float32(between(rng, 0.1, 0.35)) * np.exp(-(((across - between(rng, 0.0, 1.0)) / 0.12) ** 2))
            for _ in range(5)
        ),
        np.zeros_like(across),
    )
    pixels = pixels * (0.75 + lamps)[None, :, None] * (1.0 + 0.1 * grain()[:HEIGHT, :WIDTH, None])
    return Backdrop(np.clip(pixels, 0.0, 1.0).astype(np.float32), FLOOR)


@lru_cache(maxsize=1)
def grain() -> NDArray[np.float32]:
    """Returns smooth noise of mean 0 and deviation 1, (900, 1600) float32: folds of cloth, dirt on walls."""
    rng = stream(0, SCENE, 10**6)
    total = np.zeros((900, 1600), dtype=np.float32)
    for cell, weight in ((6, 0.6), (14, 1.0), (40, 1.0)):
        small = rng.integers(0, 256, size=(900 // cell + 2, 1600 // cell + 2), dtype=np.uint8)
        wide = Image.fromarray(small).resize((1600, 900), Image.Resampling.BICUBIC)
        total += np.float32(weight) * (np.asarray(wide, dtype=np.float32) / 255.0 - 0.5)
    return (total - total.mean()) / total.std()


def obstacle(rng: np.random.Generator, width: int, height: int) -> tuple[tuple[int, int, int, int], Tone]:
    """Draws an obstacle in front of the person.

    Args:
        rng: the stream of the image's pose.
        width: width of the canvas, in pixels.
        height: height of the canvas, in pixels.

    Returns:
        Its box (left, top, right, bottom) on the canvas, a post at one side or a low wall, and its tone.
    """
    if chance(rng, 0.55):
        thick = between(rng, 0.08, 0.2) * width
        left = between(rng, 0.0, 0.3) * width if chance(rng, 0.5) else between(rng, 0.62, 0.9) * width
        return (int(left), 0, int(left + thick), height), _muted(rng)
    top = between(rng, 0.74, 0.9) * height
    return (0, int(top), width, height), _muted(rng)
