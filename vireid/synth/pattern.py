"""Patterns and prints: which of two tones a point of cloth has, in meters on the cloth itself.

A pattern is drawn in cloth coordinates, so it rotates, widens and disappears around the body with the cloth. It is the
same in every spectrum; only the two tones differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.synth.rng import between, chance, pick

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

PATTERNS: tuple[str, ...] = (
    'plain', 'hoops', 'pinstripes', 'checks', 'windowpane', 'dots', 'argyle', 'band', 'block', 'zigzag', 'camouflage',
    'sash',
)  # fmt: skip
LOGOS: tuple[str, ...] = ('none', 'disc', 'ring', 'square', 'triangle', 'cross', 'bars', 'heart', 'star', 'diamond')


@dataclass(frozen=True)
class Pattern:
    """One pattern of a garment.

    Attributes:
        kind: one of `PATTERNS`.
        pitch: length of the repeat in meters, about 0.05 to 0.2.
        share: part of the repeat with the second tone, 0 to 1.
        shift: where the repeat starts, in meters; the position of a band, block or sash.
        waves: (6, 3) wave numbers and phases of the camouflage blobs.
    """

    kind: str
    pitch: float
    share: float
    shift: float
    waves: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Logo:
    """A print: its shape (of `LOGOS`), its half size and its height below the shoulder line, both in meters."""

    kind: str
    size: float
    drop: float


PLAIN = Pattern('plain', 0.1, 0.5, 0.0, ())
NO_LOGO = Logo('none', 0.0, 0.0)


def any_pattern(rng: np.random.Generator, weights: dict[str, float]) -> Pattern:
    """Draws a pattern; `weights` are over `PATTERNS`."""
    kind = pick(rng, weights)
    # Coarse enough to survive a crop 70 pixels wide: these cameras do not resolve finer weaves.
    pitch = between(rng, 0.1, 0.22) if kind != 'dots' else between(rng, 0.09, 0.16)
    waves = tuple(
        (between(rng, -38.0, 38.0), between(rng, -38.0, 38.0), between(rng, 0.0, 2.0 * np.pi)) for _ in range(6)
    )
    return Pattern(kind, pitch, between(rng, 0.35, 0.6), between(rng, 0.06, 0.3), waves)


def any_logo(rng: np.random.Generator, probability: float) -> Logo:
    """Draws a print with `probability` in [0, 1], else none."""
    if not chance(rng, probability):
        return NO_LOGO
    kind = pick(rng, {name: 1.0 for name in LOGOS if name != 'none'})
    return Logo(kind, between(rng, 0.07, 0.115), between(rng, 0.17, 0.26))


def _stripe(along: Field, pitch: float, share: float) -> Mask:
    return np.mod(along, np.float32(pitch)) < np.float32(pitch * share)


def second_tone(pattern: Pattern, x: Field, y: Field) -> Mask:
    """Returns where cloth has its second tone.

    Args:
        pattern: the pattern.
        x: meters around the body from the middle of the front, positive to one side.
        y: meters down from the top of the garment, same shape as `x`.
    """
    pitch, share, shift = pattern.pitch, pattern.share, pattern.shift
    match pattern.kind:
        case 'hoops':
            return _stripe(y + shift, pitch, share)
        case 'pinstripes':
            return _stripe(x + 0.5 * pitch * share, 0.75 * pitch, share)
        case 'checks':
            return _stripe(x, pitch, 0.5) ^ _stripe(y + shift, pitch, 0.5)
        case 'windowpane':
            return _stripe(x, pitch, 0.28) | _stripe(y + shift, pitch, 0.28)
        case 'dots':
            row = np.floor(y / pitch)
            dx = np.mod(x + 0.5 * pitch * np.mod(row, 2.0), pitch) - 0.5 * pitch
            dy = np.mod(y, pitch) - 0.5 * pitch
            return dx * dx + dy * dy < (pitch * (0.2 + 0.25 * share)) ** 2
        case 'argyle':
            return _stripe(x + 0.6 * y, pitch, 0.5) ^ _stripe(x - 0.6 * y, pitch, 0.5)
        case 'band':
            return np.abs(y - shift) < 0.45 * pitch
        case 'block':
            return y > shift + 0.05
        case 'zigzag':
            return _stripe(y + np.abs(np.mod(x, pitch) - 0.5 * pitch), pitch, share)
        case 'camouflage':
            total = sum((np.sin(a * x + b * y + phase) for a, b, phase in pattern.waves), np.zeros_like(x))
            return total > (0.55 - share) * 3.0
        case 'sash':
            return np.abs(x + 0.7 * (y - shift)) < 0.4 * pitch
        case _:
            return np.zeros(x.shape, dtype=np.bool_)


def printed(logo: Logo, x: Field, y: Field) -> Mask:
    """Returns where the print is; `x` and `y` are meters from the middle of the garment's top, as in `second_tone`."""
    if logo.kind == 'none':
        return np.zeros(x.shape, dtype=np.bool_)
    u, v = x / logo.size, (y - logo.drop) / logo.size
    inside = np.maximum(np.abs(u), np.abs(v)) < 1.0
    match logo.kind:
        case 'disc':
            return u * u + v * v < 1.0
        case 'ring':
            radius = u * u + v * v
            return (radius < 1.0) & (radius > 0.3)
        case 'triangle':
            return inside & (np.abs(u) < 0.5 * (v + 1.0))
        case 'cross':
            return inside & (np.minimum(np.abs(u), np.abs(v)) < 0.33)
        case 'bars':
            return inside & (np.abs(np.abs(v) - 0.62) < 0.38)
        case 'heart':
            w = -1.25 * v + 0.1
            k = 1.25 * u
            return (k * k + w * w - 0.8) ** 3 < k * k * w**3
        case 'star':
            angle = np.arctan2(u, -v)
            spike = np.abs(np.mod(angle + np.pi / 5.0, 2.0 * np.pi / 5.0) - np.pi / 5.0) / (np.pi / 5.0)
            return np.hypot(u, v) < 1.1 - 0.7 * spike
        case 'diamond':
            return np.abs(u) + np.abs(v) < 1.1
        case _:
            return inside
