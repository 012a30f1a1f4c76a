"""Videos of synthetic people who walk past a camera, with the truth, and a detector that knows it.

Each frame has its number in its upper left corner, as black and white blocks, so that the detector `Truth` finds the
boxes that belong to it. As a plugin: `vireid crops VIDEO ... --detector Truth --plugin benchmarks/walking.py
--cfg-options detector.truth=VIDEO.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le
from PIL import Image

import vireid
from vireid.synth import spectrum
from vireid.synth.body import Pose, dressed
from vireid.synth.look import person
from vireid.synth.raster import Canvas, View
from vireid.synth.scene import HEIGHT, WIDTH, backdrop

BLOCK, BITS = 8, 20  # pixels of a block, and number of blocks
POSES = 12  # of one stride
STRIDE = 1.4  # meters
HIDDEN = 0.3  # a person of whom less is visible is not in the truth


@dataclass(frozen=True)
class Walk:
    """One person who walks past once, from one side to the other.

    Attributes:
        identity: who.
        begin: second at which they enter the frame.
        right: whether they walk to the right.
        scale: pixels per meter.
        foot: row of their feet, in pixels.
        speed: meters per second.
    """

    identity: int
    begin: float
    right: bool
    scale: float
    foot: float
    speed: float


def random_walks(people: int, seconds: float, size: tuple[int, int], seed: int = 0) -> list[Walk]:
    """Returns a walk of each person, at random times, depths and speeds; many of them cross."""
    rng = np.random.default_rng(seed)
    walks = []
    for identity in range(people):
        depth = rng.uniform(0.35, 1.0)  # 1 is nearest
        scale = size[1] * 0.26 * depth
        foot = size[1] * (0.5 + 0.45 * depth)
        begin = rng.uniform(0.0, max(seconds - 6.0, 0.1))
        walks.append(Walk(identity, begin, bool(rng.random() < 0.5), scale, foot, rng.uniform(0.9, 1.7)))
    return sorted(walks, key=lambda walk: walk.scale)  # the nearest are drawn last


def frames(
    walks: Sequence[Walk],
    seconds: float,
    size: tuple[int, int] = (1280, 720),
    rate: int = 25,
    modality: str = 'visible',
    seed: int = 0,
) -> Iterator[tuple[np.ndarray, list[list[float]]]]:
    """Yields (H, W, 3) uint8 frames and their truth: a list of [identity, left, top, right, bottom]."""
    width, height = size
    rng = np.random.default_rng(seed)
    place = (backdrop(seed, 0, False, modality).pixels * 255).astype(np.uint8)
    place = np.asarray(Image.fromarray(place).resize(size, Image.Resampling.BILINEAR, (0, 0, WIDTH, HEIGHT)))
    noise = rng.normal(0, 3, (height + 64, width + 64, 1)).astype(np.int16)
    sprites: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
    for number in range(round(seconds * rate)):
        pixels = place.copy()
        owner = np.full((height, width), -1, dtype=np.int32)
        boxes: dict[int, tuple[list[float], int]] = {}
        for index, walk in enumerate(walks):
            passed = number / rate - walk.begin
            half = int(0.8 * walk.scale)
            x = -half + passed * walk.speed * walk.scale
            if passed < 0 or x > width + half:
                continue
            x = x if walk.right else width - x
            phase = int(passed * walk.speed / STRIDE * POSES) % POSES
            if (index, phase) not in sprites:
                sprites[index, phase] = _sprite(walk, phase, modality, seed)
            colors, shape = sprites[index, phase]
            left, top = int(x) - shape.shape[1] // 2, int(walk.foot) - shape.shape[0]
            rows = slice(max(top, 0), min(top + shape.shape[0], height))
            columns = slice(max(left, 0), min(left + shape.shape[1], width))
            if rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            inner = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
            mask = shape[inner]
            pixels[rows, columns][mask] = colors[inner][mask]
            owner[rows, columns][mask] = index
            if mask.any():
                ys, xs = np.nonzero(mask)
                box = [columns.start + xs.min(), rows.start + ys.min(), columns.start + xs.max() + 1]
                boxes[index] = [*map(float, box), float(rows.start + ys.max() + 1)], int(shape.sum())
        truth = [
            [walks[index].identity, *box]
            for index, (box, whole) in boxes.items()
            if (owner == index).sum() >= HIDDEN * whole
        ]
        down, across = rng.integers(64, size=2)
        noisy = pixels.astype(np.int16) + noise[down : down + height, across : across + width]
        pixels = np.clip(noisy, 0, 255).astype(np.uint8)
        for bit in range(BITS):
            pixels[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
        yield pixels, truth


def _sprite(walk: Walk, phase: int, modality: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the colors of a person in a pose, (h, w, 3) uint8, and where they are, (h, w) bool."""
    look = person(seed, walk.identity)
    wide, high = int(1.6 * walk.scale), int(2.1 * walk.scale)
    canvas = Canvas(wide, high)
    pose = Pose(2 * np.pi * phase / POSES, 1.0, (0.3, 0.3), 0.03)
    yaw = np.pi / 2 if walk.right else -np.pi / 2
    view = View(yaw, 0.1, walk.scale, (wide / 2, high - 0.05 * walk.scale), (0.3, 0.4, 0.87), 0.55)
    canvas.draw(dressed(look, pose), view)
    tones = spectrum.table(list(look.tones), modality)
    colors = np.clip(tones[canvas.slots] * canvas.light[..., None], 0, 1) * 255
    return colors.astype(np.uint8), canvas.slots > 0


def write_video(path: Path, content: Iterator[tuple[np.ndarray, list[list[float]]]], rate: int = 25) -> None:
    """Writes an H.264 video, and its truth beside it as JSON: a list of boxes per frame."""
    import av

    truth = []
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=rate, options={'preset': 'veryfast'})
        stream.pix_fmt = 'yuv420p'
        for pixels, boxes in content:
            if not truth:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
            truth.append(boxes)
        container.mux(stream.encode())
    path.with_name(f'{path.name}.json').write_text(json.dumps(truth))


def frame_number(image: Any) -> int:
    """Returns the number in the corner of a frame, (3, H, W) or (H, W, 3)."""
    pixels = np.asarray(image)
    pixels = pixels.transpose(1, 2, 0) if pixels.shape[0] == 3 else pixels
    middles = pixels[BLOCK // 2, BLOCK // 2 : BITS * BLOCK : BLOCK].mean(axis=1)
    return sum(1 << bit for bit, level in enumerate(middles) if level > 127)


class Truth:
    """A detector that knows where people are, and may make mistakes.

    Args:
        truth: the file that `write_video` wrote.
        missing: share of people who are not found.
        jitter: standard deviation of the sides of a box, as a share of its height.
    """

    def __init__(
        self, truth: str, missing: Annotated[float, Ge(0), Le(1)] = 0.0, jitter: Annotated[float, Ge(0)] = 0.0
    ) -> None:
        self.truth = json.loads(Path(truth).read_text())
        self.missing, self.jitter = missing, jitter

    def __call__(self, images: Sequence[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Returns the boxes of each frame; mistakes depend on its number only."""
        found = []
        for image in images:
            number = frame_number(image)
            rng = np.random.default_rng(number)
            boxes = np.array([box[1:] for box in self.truth[number]]).reshape(-1, 4)
            boxes = boxes[rng.random(len(boxes)) >= self.missing]
            boxes = boxes + rng.normal(0, 1, boxes.shape) * self.jitter * (boxes[:, 3:] - boxes[:, 1:2])
            found.append((torch.from_numpy(boxes), torch.ones(len(boxes))))
        return found


@vireid.hookimpl
def register_components(add: Any) -> None:
    """Registers the detector."""
    add('detectors', 'Truth', Truth)
