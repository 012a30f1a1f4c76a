"""The appearance of a synthetic person: everything that is constant across images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from vireid.synth import spectrum
from vireid.synth.pattern import NO_LOGO, PLAIN, Logo, Pattern, any_logo, any_pattern
from vireid.synth.rng import LOOK, between, chance, pick, stream
from vireid.synth.spectrum import Tone


class Slot(IntEnum):
    """The surfaces of a person that have their own tone; 0 is the background."""

    EMPTY = 0
    SKIN = 1
    HAIR = 2
    EYES = 3
    UPPER = 4
    UPPER_SECOND = 5
    INNER = 6
    INNER_SECOND = 7
    LOGO = 8
    LOWER = 9
    LOWER_SECOND = 10
    SHOE = 11
    SOLE = 12
    BAG = 13
    BAG_SECOND = 14
    STRAP = 15
    HAT = 16
    HAT_SECOND = 17
    SCARF = 18
    SCARF_SECOND = 19
    BELT = 20
    TRIM = 21


@dataclass(frozen=True)
class Build:
    """The body: height in meters, girth and shoulders as factors of the average, legs as a fraction of the height."""

    height: float
    girth: float
    shoulders: float
    legs: float


@dataclass(frozen=True)
class Upper:
    """The garment on the torso.

    Attributes:
        kind: 'top' (shirt, pullover), 'open' or 'closed' (jacket), 'coat' (long).
        sleeve: covered part of the arm, 0 (none) to 1 (wrist).
        hem: its lower end in meters below the hip.
        bulk: thickness of the cloth in meters.
        pattern, second_sleeves: its pattern, and whether the sleeves have only the second tone.
        front, back: prints on chest and back.
        inner: pattern of the shirt visible under an open jacket.
        hood: whether it has a hood, which hangs down the back.
    """

    kind: str
    sleeve: float
    hem: float
    bulk: float
    pattern: Pattern
    second_sleeves: bool
    front: Logo
    back: Logo
    inner: Pattern
    hood: bool


@dataclass(frozen=True)
class Lower:
    """The garment on the legs.

    Attributes:
        kind: 'trousers', 'shorts', 'skirt'.
        length: covered part of the leg, 0 to 1 (ankle).
        width: meters added to the radius of the leg, or the flare of a skirt.
        pattern: its pattern.
        side_stripe, cuffs: whether the outer seam, and the lower end, have the second tone.
    """

    kind: str
    length: float
    width: float
    pattern: Pattern
    side_stripe: bool
    cuffs: bool


@dataclass(frozen=True)
class Bag:
    """Kind ('none', 'backpack', 'shoulder', 'handbag', 'shopping', 'case'), size factors, side, and whether banded."""

    kind: str
    width: float
    height: float
    side: int
    banded: bool


@dataclass(frozen=True)
class Look:
    """One person; `tones` is indexed by `Slot`.

    Attributes:
        identity: the number of this person.
        hair: 'bald', 'short', 'bob', 'long', 'ponytail', 'bun', 'curls'.
        hat: 'none', 'cap', 'beanie', 'brim'.
        boots: height of the shaft in meters, 0 for low shoes.
        scarf, belt, glasses: whether the person wears one.
        stride: swing of the legs in radians.
    """

    identity: int
    build: Build
    hair: str
    hat: str
    upper: Upper
    lower: Lower
    bag: Bag
    boots: float
    scarf: bool
    belt: bool
    glasses: bool
    stride: float
    tones: tuple[Tone, ...]


def person(seed: int, identity: int) -> Look:
    """Draws the look of one identity; deterministic in the two numbers.

    Args:
        seed: the dataset's seed, >= 0.
        identity: the number of the person, >= 0.

    Returns:
        The person, independent of how many others the dataset has.
    """
    rng = stream(seed, LOOK, identity)
    build = Build(between(rng, 1.52, 1.94), between(rng, 0.95, 1.5), between(rng, 1.0, 1.22), between(rng, 0.45, 0.5))
    hair = pick(rng, {'short': 3.0, 'bald': 0.7, 'bob': 1.4, 'long': 1.8, 'ponytail': 1.2, 'bun': 1.0, 'curls': 1.0})
    hat = pick(rng, {'none': 5.0, 'cap': 1.4, 'beanie': 1.4, 'brim': 1.6})
    upper = _upper(rng)
    lower = _lower(rng)
    kind = pick(rng, {'none': 1.6, 'backpack': 1.8, 'shoulder': 1.6, 'handbag': 1.2, 'shopping': 1.3, 'case': 0.8})
    bag = Bag(kind, between(rng, 1.05, 1.35), between(rng, 1.0, 1.35), 1 if chance(rng, 0.5) else -1, chance(rng, 0.5))
    boots = between(rng, 0.14, 0.36) if chance(rng, 0.4) else 0.0
    return Look(
        identity=identity,
        build=build,
        hair=hair,
        hat=hat,
        upper=upper,
        lower=lower,
        bag=bag,
        boots=boots,
        scarf=chance(rng, 0.18),
        belt=chance(rng, 0.3),
        glasses=chance(rng, 0.25),
        stride=between(rng, 0.32, 0.55),
        tones=_tones(rng),
    )


def _upper(rng: np.random.Generator) -> Upper:
    kind = pick(rng, {'top': 5.0, 'open': 2.2, 'closed': 1.8, 'coat': 1.3})
    pattern = any_pattern(
        rng,
        {'plain': 6.5, 'hoops': 1.5, 'checks': 1.1, 'dots': 1.1, 'block': 1.3, 'pinstripes': 0.8, 'band': 0.6},
    )  # fmt: skip
    inner = any_pattern(rng, {'plain': 2.0, 'hoops': 1.5, 'checks': 0.8, 'dots': 0.8, 'band': 0.8})
    plain = pattern.kind == 'plain'
    front = any_logo(rng, 0.75 if plain and kind == 'top' else 0.1 if kind == 'top' else 0.0)
    back = any_logo(rng, 0.6 if plain else 0.08)
    if kind == 'top':
        sleeve = (0.0, 0.36, 0.62, 1.0)[int(rng.choice(4, p=[0.12, 0.42, 0.08, 0.38]))]
    else:
        sleeve = 1.0 if chance(rng, 0.85) else 0.0
    hem = between(rng, 0.3, 0.52) if kind == 'coat' else between(rng, -0.02, 0.12)
    bulk = between(rng, 0.008, 0.02) if kind == 'top' else between(rng, 0.02, 0.04)
    return Upper(
        kind=kind,
        sleeve=sleeve,
        hem=hem,
        bulk=bulk,
        pattern=pattern,
        second_sleeves=chance(rng, 0.15),
        front=front if kind == 'top' else NO_LOGO,
        back=back,
        inner=inner if kind == 'open' else PLAIN,
        hood=chance(rng, 0.25),
    )


def _lower(rng: np.random.Generator) -> Lower:
    kind = pick(rng, {'trousers': 4.6, 'shorts': 2.6, 'skirt': 2.8})
    length = {'trousers': between(rng, 0.9, 1.0), 'shorts': between(rng, 0.3, 0.52), 'skirt': between(rng, 0.34, 0.85)}
    width = {
        'trousers': between(rng, 0.0, 0.035),
        'shorts': between(rng, 0.012, 0.04),
        'skirt': between(rng, 0.03, 0.16),
    }
    pattern = any_pattern(
        rng,
        {'plain': 7.0, 'hoops': 0.6, 'checks': 0.7, 'dots': 0.5, 'block': 0.8, 'camouflage': 0.4},
    )
    return Lower(kind, length[kind], width[kind], pattern, chance(rng, 0.22), chance(rng, 0.2))


def _tones(rng: np.random.Generator) -> tuple[Tone, ...]:
    tones = [spectrum.fixed((0.0, 0.0, 0.0), 0.0)] * len(Slot)
    tones[Slot.SKIN] = spectrum.skin(rng)
    tones[Slot.HAIR] = spectrum.hair(rng)
    tones[Slot.EYES] = spectrum.fixed((0.1, 0.09, 0.09), 0.25, 0.6)
    for ground, second in (
        (Slot.UPPER, Slot.UPPER_SECOND),
        (Slot.INNER, Slot.INNER_SECOND),
        (Slot.HAT, Slot.HAT_SECOND),
        (Slot.SCARF, Slot.SCARF_SECOND),
    ):
        tones[ground] = spectrum.cloth(rng)
        tones[second] = spectrum.contrasting(rng, tones[ground], vanish=0.07)
    tones[Slot.LOGO] = spectrum.contrasting(rng, tones[Slot.UPPER], vanish=0.08)
    tones[Slot.LOWER] = spectrum.cloth(rng)
    tones[Slot.LOWER_SECOND] = spectrum.contrasting(rng, tones[Slot.LOWER])
    tones[Slot.SHOE] = spectrum.cloth(rng)
    tones[Slot.SOLE] = spectrum.fixed((0.85, 0.85, 0.83), 0.75) if chance(rng, 0.5) else tones[Slot.SHOE]
    tones[Slot.BAG] = spectrum.cloth(rng)
    tones[Slot.BAG_SECOND] = spectrum.contrasting(rng, tones[Slot.BAG])
    tones[Slot.STRAP] = spectrum.contrasting(rng, tones[Slot.UPPER], vanish=0.0)
    tones[Slot.BELT] = spectrum.cloth(rng, {'leather': 1.0})
    tones[Slot.TRIM] = spectrum.contrasting(rng, tones[Slot.UPPER], vanish=0.0)
    return tuple(tones)
