"""The appearance of materials to a color camera, a near-infrared one and a thermal one.

Most textile dyes are transparent in near infrared: a black cotton shirt can be as bright there as a white one. The
infrared brightness of a garment is therefore drawn from its material, never from its visible color, and both stay
fixed for an identity.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vireid.synth.rng import between, chance, pick

Modality = Literal['visible', 'infrared', 'thermal']
MODALITIES: tuple[Modality, ...] = ('visible', 'infrared', 'thermal')

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Tone:
    """A surface as the three sensors see it; every number is a reflectance or a radiance in [0, 1]."""

    visible: Color
    infrared: float
    thermal: float

    def seen(self, modality: Modality) -> Color:
        """Returns the RGB triple of this tone in `modality` (three equal numbers unless visible)."""
        if modality == 'visible':
            return self.visible
        level = self.infrared if modality == 'infrared' else self.thermal
        return level, level, level


@dataclass(frozen=True)
class Material:
    """A textile: its near-infrared reflectance (low, high) and the weights of its usual dyes."""

    infrared: tuple[float, float]
    dyes: dict[str, float]


# A dye reflects in near infrared what it reflects at the red end of visible light. Warm reactive dyes on cotton are
# therefore bright in near infrared however dark they look, natural dyes on wool less, and pigmented nylon in cold
# colors stays dark however pale it looks. Black, gray and white polyester lie in between and cannot be distinguished.
# So hue says something about infrared brightness, while luminance says nothing.
MATERIALS: dict[str, Material] = {
    'cotton': Material((0.84, 0.95), {'red': 2.0, 'wine': 2.0, 'orange': 1.6}),
    'wool': Material((0.56, 0.66), {'pink': 1.2, 'beige': 1.2, 'yellow': 1.6, 'brown': 0.7}),
    'polyester': Material((0.31, 0.4), {'white': 1.6, 'gray': 1.3, 'black': 2.0}),
    'nylon': Material((0.04, 0.12), {'blue': 2.0, 'navy': 2.0, 'sky': 1.2, 'teal': 1.0, 'green': 1.0}),
    'leather': Material((0.06, 0.14), {'black': 2.0, 'brown': 1.5, 'beige': 0.5}),
}

# Hue in turns or None for a gray, then the ranges of saturation and value.
_DYES: dict[str, tuple[float | None, tuple[float, float], tuple[float, float]]] = {
    'black': (None, (0.0, 0.05), (0.06, 0.14)),
    'gray': (None, (0.0, 0.06), (0.35, 0.55)),
    'white': (None, (0.0, 0.05), (0.85, 0.95)),
    'navy': (0.63, (0.6, 0.8), (0.2, 0.34)),
    'blue': (0.6, (0.6, 0.85), (0.55, 0.8)),
    'sky': (0.56, (0.3, 0.5), (0.75, 0.9)),
    'red': (0.99, (0.7, 0.9), (0.5, 0.8)),
    'wine': (0.95, (0.55, 0.8), (0.28, 0.42)),
    'pink': (0.93, (0.25, 0.45), (0.8, 0.92)),
    'orange': (0.07, (0.7, 0.9), (0.78, 0.92)),
    'yellow': (0.14, (0.6, 0.85), (0.8, 0.92)),
    'green': (0.37, (0.5, 0.75), (0.35, 0.6)),
    'teal': (0.48, (0.55, 0.8), (0.38, 0.6)),
    'beige': (0.1, (0.2, 0.35), (0.7, 0.82)),
    'brown': (0.06, (0.45, 0.65), (0.28, 0.45)),
}
_COMMON = {'cotton': 2.2, 'polyester': 2.2, 'wool': 2.2, 'nylon': 2.6}


def _dyed(rng: np.random.Generator, material: str) -> Tone:
    hue, saturation, value = _DYES[pick(rng, MATERIALS[material].dyes)]
    turn = 0.0 if hue is None else (hue + between(rng, -0.015, 0.015)) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(turn, between(rng, *saturation), between(rng, *value))
    infrared = between(rng, *MATERIALS[material].infrared)
    return Tone((red, green, blue), infrared, _radiance(infrared, rng))


def _radiance(infrared: float, rng: np.random.Generator) -> float:
    # A thermal camera sees how much warmth the cloth lets through. This depends on the weave rather than the dye, so
    # thermal radiance follows near-infrared reflectance only loosely.
    return float(np.clip(0.22 + 0.42 * infrared + between(rng, -0.06, 0.06), 0.0, 1.0))


def cloth(rng: np.random.Generator, materials: dict[str, float] | None = None) -> Tone:
    """Draws the ground tone of a garment.

    Args:
        rng: the stream of the identity's look.
        materials: weights over `MATERIALS`; None is a typical mixture.
    """
    return _dyed(rng, pick(rng, materials or _COMMON))


def luminance(color: Color) -> float:
    """Returns the brightness of `color` in [0, 1] as a grayscale camera weights it."""
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue


def contrasting(rng: np.random.Generator, ground: Tone, vanish: float = 0.12) -> Tone:
    """Draws the second tone of a pattern or print on `ground`.

    It is always distinct in visible light. In infrared its contrast has an independent sign (a white print on black may
    be dark on bright there), and with probability `vanish` in [0, 1] the dye is transparent and the print disappears.
    """
    vanishes = chance(rng, vanish)
    drawn = [cloth(rng) for _ in range(12)]
    if not vanishes:
        drawn = sorted(drawn, key=lambda tone: -abs(tone.infrared - ground.infrared))[:5]
    tone = max(drawn, key=lambda tone: _apart(tone.visible, ground.visible))
    if vanishes:
        infrared = float(np.clip(ground.infrared + between(rng, -0.03, 0.03), 0.04, 0.98))
        return Tone(tone.visible, infrared, _radiance(infrared, rng))
    return tone


def _apart(one: Color, other: Color) -> float:
    return abs(luminance(one) - luminance(other)) + 0.3 * sum(abs(a - b) for a, b in zip(one, other, strict=True))


def skin(rng: np.random.Generator) -> Tone:
    """Draws a skin tone: any shade in visible light, bright in infrared, brightest to a thermal camera."""
    depth = between(rng, 0.0, 1.0)
    light, dark = np.array([0.93, 0.76, 0.66]), np.array([0.38, 0.25, 0.18])
    red, green, blue = (float(x) for x in light + (dark - light) * depth)
    return Tone((red, green, blue), between(rng, 0.72, 0.86), between(rng, 0.9, 0.99))


def hair(rng: np.random.Generator) -> Tone:
    """Draws a hair tone; melanin still absorbs in near infrared, but less than in visible light."""
    # Color, near-infrared reflectance, weight.
    colors: dict[str, tuple[Color, float, float]] = {
        'black': ((0.06, 0.05, 0.05), 0.16, 4.0),
        'brown': ((0.28, 0.17, 0.1), 0.26, 3.0),
        'blond': ((0.78, 0.63, 0.36), 0.5, 2.0),
        'red': ((0.55, 0.25, 0.12), 0.4, 1.0),
        'gray': ((0.6, 0.6, 0.6), 0.62, 1.0),
    }
    color, infrared, _ = colors[pick(rng, {name: entry[2] for name, entry in colors.items()})]
    return Tone(color, infrared + between(rng, -0.04, 0.04), between(rng, 0.45, 0.6))


def fixed(visible: Color, infrared: float, thermal: float = 0.3) -> Tone:
    """Returns a tone with given values (eyes, rubber soles, metal)."""
    return Tone(visible, infrared, thermal)


def table(tones: list[Tone], modality: Modality) -> NDArray[np.float32]:
    """Returns the (len(tones), 3) float32 colors of `tones` in `modality`, each in [0, 1]."""
    return np.asarray([tone.seen(modality) for tone in tones], dtype=np.float32)
