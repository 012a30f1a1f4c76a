"""A body in a pose: the joints of a walking person, and the tubes that form body and clothes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vireid.synth import outfit
from vireid.synth.look import Look, Slot
from vireid.synth.raster import Point, Surface, Tube

# Maps a point of the upright body to its position after leaning and standing on its feet, in meters.
Place = Callable[[float, float, float], Point]


@dataclass(frozen=True)
class Pose:
    """A moment of walking.

    Attributes:
        phase: phase of the walk, 0 to 2 pi.
        vigor: the fraction of the person's stride, 0 (standing) to 1.
        elbow: bend of the two elbows in radians.
        lean: forward lean of the trunk in radians.
    """

    phase: float
    vigor: float
    elbow: tuple[float, float]
    lean: float


def _below(start: Point, length: float, swing: float) -> Point:
    x, y, z = start
    return x, y - length * float(np.cos(swing)), z + length * float(np.sin(swing))


# An egg shape, position along its axis and width: enough stations to hide the straight pieces between them.
_EGG_PLACES = (0.0, 0.04, 0.12, 0.25, 0.4, 0.55, 0.7, 0.82, 0.92, 1.0)
_EGG_WIDTHS = (0.05, 0.5, 0.76, 0.94, 1.0, 0.99, 0.92, 0.8, 0.62, 0.3)


def dressed(look: Look, pose: Pose) -> list[Tube]:
    """Returns the tubes of `look` in `pose`, feet on the ground at y = 0, facing +z; all in meters."""
    build = look.build
    tall = build.height
    hip = build.legs * tall + 0.035 * tall
    legs, lift = _legs(look, pose, hip)
    tilt = float(np.tan(pose.lean))

    def at(x: float, y: float, z: float) -> Point:
        return x, y + lift, z + tilt * max(y - hip, 0.0)

    tubes = legs + _trunk(look, at, hip) + _head(look, at)
    hands: list[Point] = []
    swing = look.stride * pose.vigor * float(np.sin(pose.phase))
    for index, side in enumerate((1, -1)):
        carrying = look.bag.kind in ('handbag', 'shopping', 'case') and look.bag.side == side
        arm_swing = 0.15 * swing * -side if carrying else -0.9 * side * swing
        bend = 0.06 if carrying else pose.elbow[index]
        pieces, hand = _arm(look, at, side, arm_swing, bend)
        tubes += pieces
        hands.append(hand)
    return tubes + _bag(look, at, hip, hands[0] if look.bag.side == 1 else hands[1])


def _legs(look: Look, pose: Pose, hip: float) -> tuple[list[Tube], float]:
    tall, girth = look.build.height, look.build.girth
    ankle_height = 0.045 * tall
    bone = 0.5 * (hip - ankle_height)
    swing = look.stride * pose.vigor * float(np.sin(pose.phase))
    rising = pose.vigor * float(np.cos(pose.phase))
    joints = []
    for side in (1, -1):
        thigh = swing * side
        # The leg that swings forward bends; the supporting leg stays nearly straight.
        flex = 0.08 + 0.75 * max(side * rising, 0.0) * look.stride + 0.35 * max(-thigh, 0.0)
        knee = _below((side * 0.052 * tall * (0.5 + 0.5 * girth), hip, 0.0), bone, thigh)
        joints.append((side, knee, _below(knee, bone, thigh - flex), thigh - flex))
    lift = ankle_height - min(ankle[1] for _, _, ankle, _ in joints)
    loose = look.lower.width if look.lower.kind != 'skirt' else 0.0
    tubes = []
    for side, knee, ankle, shin_swing in joints:
        start = (side * 0.052 * tall * (0.5 + 0.5 * girth), hip + lift, 0.0)
        knee_up, ankle_up = (knee[0], knee[1] + lift, knee[2]), (ankle[0], ankle[1] + lift, ankle[2])
        top, middle, low = 0.048 * tall * girth + loose, 0.034 * tall * girth + loose, 0.023 * tall * girth + loose
        if look.lower.kind == 'shorts':
            low, middle = 0.022 * tall * girth, 0.032 * tall * girth + 0.6 * loose
        upper_leg = outfit.leg(look, side, 0.0, 0.5, 0.05)
        lower_leg = outfit.leg(look, side, 0.5, 0.5, 0.05 + bone)
        tubes.append(Tube(start, knee_up, (0.0, 1.0), (top, middle), (top, middle), upper_leg, -0.5, (True, True)))
        calf = max(0.031 * tall * girth, middle * 0.9)
        shin = (middle, calf, low)
        tubes.append(Tube(knee_up, ankle_up, (0.0, 0.3, 1.0), shin, shin, lower_leg, -0.49, (True, True)))
        foot = 0.024 * tall + (0.004 if look.boots else 0.0)
        toe_drop = -0.35 * max(-shin_swing, 0.0)
        heel = (ankle_up[0], max(ankle_up[1] - 0.018 * tall, foot), ankle_up[2] - 0.02)
        toe = (ankle_up[0] + side * 0.015, max(heel[1] + toe_drop * 0.12, foot * 0.9), heel[2] + 0.105 * tall)
        sizes = (foot, 0.8 * foot)
        tubes.append(
            Tube(heel, toe, (0.0, 1.0), sizes, sizes, outfit.flat(Slot.SHOE), -0.495, (True, True)),
        )
        sole_heel, sole_toe = (heel[0], heel[1] - 0.5 * foot, heel[2]), (toe[0], toe[1] - 0.5 * foot, toe[2])
        sizes = (0.62 * foot, 0.6 * foot)
        tubes.append(Tube(sole_heel, sole_toe, (0.0, 1.0), sizes, sizes, outfit.flat(Slot.SOLE), -0.4945, (True, True)))
    return tubes, lift


def _trunk(look: Look, at: Place, hip: float) -> list[Tube]:
    tall, girth, wide = look.build.height, look.build.girth, look.build.shoulders
    bulk = look.upper.bulk
    neck = 0.84 * tall
    length = neck - (hip - 0.01 * tall) + look.upper.hem
    hem_flare = 0.12 * max(look.upper.hem, 0.0)
    # Meters below the neck, half width and half depth as fractions of the height.
    stations = (
        (0.0, 0.036, 0.036),
        (0.018, 0.07, 0.042),
        (0.042, 0.105 * wide, 0.05),
        (0.13, 0.1 * (0.4 * wide + 0.6 * girth), 0.06 * girth),
        (0.23, 0.083 * girth, 0.058 * girth),
        (0.33, 0.093 * girth, 0.064 * girth),
    )
    places = [min(drop * tall / length, 0.999) for drop, _, _ in stations] + [1.0]
    across = [width * tall + bulk for _, width, _ in stations]
    deep = [depth * tall + bulk for _, _, depth in stations]
    across.append(across[-1] + hem_flare)
    deep.append(deep[-1] + hem_flare)
    mean = 0.075 * tall * girth + bulk
    trunk = Tube(
        at(0.0, neck, 0.0), at(0.0, neck - length, 0.0), tuple(places), tuple(across), tuple(deep),
        outfit.torso(look, mean),
    )  # fmt: skip
    hip_wide, hip_deep = 0.089 * tall * girth, 0.06 * tall * girth
    surface = outfit.hips(look, 0.075 * tall * girth)
    waist = hip + 0.06 * tall
    if look.lower.kind == 'skirt':
        reach = 0.06 * tall + look.lower.length * (hip - 0.05 * tall)
        flare = look.lower.width * (0.5 + look.lower.length)
        sides = (0.082 * tall * girth, hip_wide + 0.012, hip_wide + flare)
        depths = (0.055 * tall * girth, hip_deep + 0.012, hip_deep + flare)
        places = [0.0, min(0.08 * tall / reach, 0.9), 1.0]
        lower = Tube(at(0.0, waist, 0.0), at(0.0, waist - reach, 0.0), tuple(places), sides, depths, surface, -0.3)
    else:
        lower = Tube(
            at(0.0, waist, 0.0), at(0.0, hip - 0.035 * tall, 0.0), (0.0, 0.6, 1.0),
            (0.082 * tall * girth, hip_wide, 0.08 * tall * girth),
            (0.055 * tall * girth, hip_deep, 0.05 * tall * girth),
            surface, -0.35,
        )  # fmt: skip
    return [trunk, lower]


def _arm(look: Look, at: Place, side: int, swing: float, bend: float) -> tuple[list[Tube], Point]:
    tall, girth = look.build.height, look.build.girth
    bulk = look.upper.bulk
    shoulder = at(side * (0.1 * tall * look.build.shoulders + 0.3 * bulk), 0.797 * tall, 0.0)
    bone = 0.165 * tall

    def down(start: Point, length: float, angle: float, spread: float) -> Point:
        x, y, z = _below(start, length, angle)
        return x + side * spread, y, z

    elbow = down(shoulder, bone, swing, 0.03 * tall * girth)
    wrist = down(elbow, 0.92 * bone, swing + bend, 0.0)
    hand = down(wrist, 0.045 * tall, swing + bend, 0.0)
    muscle = 0.6 + 0.4 * girth
    thick = bulk if look.upper.sleeve > 0.5 else 0.0
    upper_end, lower_end = 0.023 * tall * muscle + thick, 0.018 * tall * muscle + 0.8 * thick
    first = 0.026 * tall * muscle + (0.8 * bulk if look.upper.sleeve > 0.0 else 0.0)
    sizes, low_sizes, fist = (first, upper_end), (upper_end, lower_end), (0.019 * tall, 0.017 * tall)
    pieces = [
        Tube(shoulder, elbow, (0.0, 1.0), sizes, sizes, outfit.arm(look, 0.0, 0.5, 0.05), 0.02, (True, True)),
        Tube(
            elbow, wrist, (0.0, 1.0), low_sizes, low_sizes, outfit.arm(look, 0.5, 0.5, 0.05 + bone), 0.03, (True, True)
        ),
        Tube(wrist, hand, (0.0, 1.0), fist, fist, outfit.flat(Slot.SKIN), 0.025, (True, True)),
    ]
    return pieces, hand


def _head(look: Look, at: Place) -> list[Tube]:
    tall = look.build.height
    size = 0.051 * tall
    crown, chin = 1.0 * tall, 0.862 * tall
    hair, cloth = outfit.flat(Slot.HAIR), outfit.flat(Slot.HAT)
    neck = (0.028 * tall, 0.03 * tall)
    face, skull = (tuple(size * deep * width for width in _EGG_WIDTHS) for deep in (1.0, 1.12))
    tubes = [
        Tube(at(0, 0.9 * tall, 0), at(0, 0.825 * tall, 0), (0.0, 1.0), neck, neck, outfit.flat(Slot.SKIN), -0.01),
        Tube(at(0, crown, 0.01), at(0, chin, 0.015), _EGG_PLACES, face, skull, outfit.head(look), 0.03),
    ]

    def ball(x: float, y: float, z: float, radius: float, surface: Surface, bias: float = 0.03) -> Tube:
        sizes = (radius, radius)
        top, bottom = at(x, y + 0.2 * radius, z), at(x, y - 0.2 * radius, z)
        return Tube(top, bottom, (0.0, 1.0), sizes, sizes, surface, bias, (True, True))

    def lock(start: Point, end: Point, wide: tuple[float, ...], deep: tuple[float, ...]) -> Tube:
        places = tuple(float(p) for p in np.linspace(0.0, 1.0, len(wide)))
        return Tube(start, end, places, wide, deep, hair, 0.0, (True, True))

    wide: tuple[float, ...]
    match look.hair:
        case 'bob':
            wide = (0.8 * size, 1.22 * size, 1.28 * size)
            tubes.append(lock(at(0, 0.975 * tall, -0.02), at(0, 0.86 * tall, -0.03), wide, (0.04, 0.06, 0.055)))
        case 'long':
            wide = (0.8 * size, 1.2 * size, 1.35 * size, 1.1 * size)
            start, end = at(0, 0.975 * tall, -0.025), at(0, 0.72 * tall, -0.09)
            tubes.append(lock(start, end, wide, (0.04, 0.06, 0.05, 0.03)))
        case 'ponytail':
            start, end = at(0, 0.965 * tall, -0.1), at(0, 0.8 * tall, -0.16)
            tubes.append(lock(start, end, (0.025, 0.042, 0.015), (0.025, 0.045, 0.015)))
        case 'bun':
            tubes.append(ball(0.0, 0.995 * tall, -0.05, 0.052, hair))
        case 'curls':
            tubes.append(ball(0.0, 0.955 * tall, -0.05, 1.55 * size, hair, 0.0))
    match look.hat:
        case 'cap':
            tubes.append(ball(0.0, 0.965 * tall, 0.005, 1.13 * size, _upper_half(Slot.HAT), 0.05))
            visor = (0.85 * size, 0.75 * size)
            start, end = at(0, 0.962 * tall, 0.06), at(0, 0.952 * tall, 0.15)
            tubes.append(Tube(start, end, (0.0, 1.0), visor, (0.012, 0.012), outfit.flat(Slot.HAT_SECOND), 0.06))
        case 'beanie':
            tubes.append(ball(0.0, 0.972 * tall, 0.0, 1.2 * size, _upper_half(Slot.HAT), 0.05))
            rim = (1.2 * size, 1.2 * size)
            surface = outfit.flat(Slot.HAT_SECOND)
            tubes.append(Tube(at(0, 0.972 * tall, 0), at(0, 0.948 * tall, 0), (0.0, 1.0), rim, rim, surface, 0.06))
            tubes.append(ball(0.0, 1.035 * tall, -0.01, 0.03, surface, 0.06))
        case 'brim':
            wide = (1.0 * size, 1.12 * size)
            tubes.append(Tube(at(0, 1.025 * tall, 0), at(0, 0.965 * tall, 0), (0.0, 1.0), wide, wide, cloth, 0.05))
            brim = (2.1 * size, 2.2 * size)
            surface = outfit.flat(Slot.HAT_SECOND)
            tubes.append(Tube(at(0, 0.966 * tall, 0), at(0, 0.95 * tall, 0), (0.0, 1.0), brim, brim, surface, 0.06))
    if look.scarf:
        surface = outfit.banded(Slot.SCARF, Slot.SCARF_SECOND, 0.08)
        wrap = (0.05 * tall, 0.058 * tall)
        tubes.append(Tube(at(0, 0.87 * tall, 0), at(0, 0.825 * tall, 0), (0.0, 1.0), wrap, wrap, surface, 0.045))
        tail = (0.045, 0.05)
        start, end = at(0.05, 0.84 * tall, 0.09), at(0.06, 0.63 * tall, 0.13)
        tubes.append(Tube(start, end, (0.0, 1.0), tail, (0.02, 0.02), surface, 0.02))
    elif look.upper.hood:
        sizes = (0.055 * tall, 0.05 * tall)
        tubes.append(
            Tube(at(0, 0.855 * tall, -0.05), at(0, 0.815 * tall, -0.07), (0.0, 1.0), sizes, sizes,
                 outfit.flat(Slot.UPPER_SECOND), 0.0, (True, True))
        )  # fmt: skip
    return tubes


def _upper_half(slot: Slot) -> Surface:
    # A crown that ends above the eyes: the lower half of the ball stays open.
    return lambda angle, place, meters: np.where(place < 0.9, slot, Slot.EMPTY).astype(np.uint8)


def _bag(look: Look, at: Place, hip: float, hand: Point) -> list[Tube]:
    tall, girth, bag = look.build.height, look.build.girth, look.bag
    surface = outfit.banded(Slot.BAG, Slot.BAG_SECOND, 0.17) if bag.banded else outfit.flat(Slot.BAG)
    places = (0.0, 0.08, 0.92, 1.0)

    def body(top: Point, bottom: Point, wide: float, deep: float, square: float, bias: float) -> Tube:
        across, depth = (square * wide, wide, wide, square * wide), (square * deep, deep, deep, square * deep)
        return Tube(top, bottom, places, across, depth, surface, bias)

    x, y, z = hand
    match bag.kind:
        case 'backpack':
            behind = -(0.058 * tall * girth + look.upper.bulk + 0.07)
            tall_bag = 0.43 * bag.height
            top, bottom = at(0, 0.815 * tall, behind), at(0, 0.815 * tall - tall_bag, behind - 0.02)
            return [body(top, bottom, 0.155 * bag.width, 0.095 * bag.width, 0.7, 0.0)]
        case 'shoulder':
            out = bag.side * (0.09 * tall * girth + look.upper.bulk + 0.06)
            top, bottom = at(out, hip + 0.07, 0.02), at(out, hip + 0.07 - 0.25 * bag.height, 0.02)
            return [body(top, bottom, 0.06, 0.16 * bag.width, 0.9, 0.06)]
        case 'handbag':
            top, bottom = (x, y - 0.08, z), (x, y - 0.08 - 0.2 * bag.height, z)
            strap = Tube((x, y, z), top, (0.0, 1.0), (0.012, 0.05), (0.012, 0.09), outfit.flat(Slot.STRAP), 0.015)
            return [strap, body(top, bottom, 0.07, 0.15 * bag.width, 0.8, 0.05)]
        case 'shopping':
            top, bottom = (x, y - 0.06, z), (x, max(y - 0.06 - 0.36 * bag.height, 0.05), z)
            strap = Tube((x, y, z), top, (0.0, 1.0), (0.012, 0.06), (0.012, 0.1), outfit.flat(Slot.STRAP), 0.015)
            return [strap, body(top, bottom, 0.09, 0.17 * bag.width, 1.0, 0.05)]
        case 'case':
            back = z - 0.28
            top, bottom = (x + bag.side * 0.05, 0.56 * bag.height, back), (x + bag.side * 0.05, 0.05, back - 0.05)
            bar = (0.012, 0.012)
            handle = Tube((x, y, z), top, (0.0, 1.0), bar, bar, outfit.flat(Slot.TRIM), 0.015)
            return [handle, body(top, bottom, 0.17 * bag.width, 0.12, 0.85, -0.3 if back > 0 else -0.1)]
        case _:
            return []
