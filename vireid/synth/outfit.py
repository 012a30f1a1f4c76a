"""The surface of each limb, which turns a body into a dressed person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vireid.synth.look import Look, Slot
from vireid.synth.pattern import printed, second_tone
from vireid.synth.raster import Field, Surface

Slots = NDArray[np.uint8]


def flat(slot: Slot) -> Surface:
    """Returns a surface with a single tone."""
    return lambda angle, place, meters: np.full(angle.shape, slot, dtype=np.uint8)


def banded(ground: Slot, second: Slot, pitch: float) -> Surface:
    """Returns a surface with rings of two tones, `pitch` meters apart."""

    def surface(angle: Field, place: Field, meters: Field) -> Slots:
        return np.where(np.mod(meters, pitch) < 0.5 * pitch, second, ground).astype(np.uint8)

    return surface


def torso(look: Look, radius: float) -> Surface:
    """Returns the upper garment around the trunk, with opening, prints and the straps of bags.

    Args:
        look: the wearer.
        radius: mean radius of the trunk in meters, which converts angles to meters of cloth.
    """
    upper, bag = look.upper, look.bag

    def surface(angle: Field, place: Field, meters: Field) -> Slots:
        x = angle * np.float32(radius)
        front = np.abs(angle) < 1.57
        slots = np.where(second_tone(upper.pattern, x, meters), Slot.UPPER_SECOND, Slot.UPPER).astype(np.uint8)
        slots[printed(upper.front, x, meters) & front] = Slot.LOGO
        from_back = (np.mod(angle, 2.0 * np.pi) - np.pi).astype(np.float32) * np.float32(radius)
        slots[printed(upper.back, from_back, meters) & ~front] = Slot.LOGO
        if upper.kind == 'open':
            gap = np.abs(x) < 0.035 + 0.11 * np.clip(meters, 0.0, 0.5)
            slots[gap] = np.where(second_tone(upper.inner, x, meters), Slot.INNER_SECOND, Slot.INNER)[gap]
        elif upper.kind in ('closed', 'coat'):
            slots[np.abs(x) < 0.009] = Slot.TRIM
        neck = (meters < 0.055 - 0.6 * np.abs(x)) & front
        slots[neck] = Slot.SKIN
        if bag.kind == 'backpack':
            slots[(np.abs(np.abs(x) - 0.1) < 0.026) & (meters < 0.36) & front] = Slot.BAG
        elif bag.kind == 'shoulder':
            across = np.where(front, x, -from_back) * bag.side
            slots[np.abs(across - 0.45 * (meters - 0.24)) < 0.026] = Slot.STRAP
        return slots

    return surface


def arm(look: Look, start: float, part: float, offset: float) -> Surface:
    """Returns a sleeve and the bare arm below it.

    Args:
        look: the wearer.
        start: where this piece starts on the arm, 0 (shoulder) to 1 (wrist).
        part: the fraction of the arm that it covers.
        offset: meters from the top of the garment, so that hoops continue from trunk to sleeve.
    """
    upper = look.upper

    def surface(angle: Field, place: Field, meters: Field) -> Slots:
        if upper.second_sleeves:
            cloth = np.full(angle.shape, Slot.UPPER_SECOND, dtype=np.uint8)
        else:
            second = second_tone(upper.pattern, angle * np.float32(0.055), meters + np.float32(offset))
            second &= upper.pattern.kind not in ('band', 'block', 'sash')
            cloth = np.where(second, Slot.UPPER_SECOND, Slot.UPPER).astype(np.uint8)
        return np.where(start + place * part < upper.sleeve + 1e-3, cloth, Slot.SKIN).astype(np.uint8)

    return surface


def hips(look: Look, radius: float) -> Surface:
    """Returns the lower garment around the hips, with its belt; `radius` in meters as in `torso`."""
    lower = look.lower

    def surface(angle: Field, place: Field, meters: Field) -> Slots:
        slots = _lower_cloth(look, angle * np.float32(radius), meters)
        if lower.side_stripe:
            slots[np.abs(np.abs(angle) - 1.57) < 0.22] = Slot.LOWER_SECOND
        if lower.cuffs and lower.kind == 'skirt':
            slots[place > 0.87] = Slot.LOWER_SECOND
        if look.belt:
            slots[meters < 0.05] = Slot.BELT
        return slots

    return surface


def leg(look: Look, side: int, start: float, part: float, offset: float) -> Surface:
    """Returns a trouser leg, the bare leg below it and the shaft of a boot.

    Args:
        look: the wearer.
        side: 1 for the left leg, -1 for the right one.
        start: where this piece starts on the leg, 0 (hip) to 1 (ankle).
        part: the fraction of the leg that it covers.
        offset: meters from the top of the garment to the top of this piece.
    """
    lower = look.lower
    span = 0.46 * look.build.height
    covered = 0.0 if lower.kind == 'skirt' else lower.length

    def surface(angle: Field, place: Field, meters: Field) -> Slots:
        where = start + place * part
        cloth = _lower_cloth(look, angle * np.float32(0.09), meters + np.float32(offset))
        if lower.side_stripe:
            cloth[np.abs(angle - side * 1.57) < 0.55] = Slot.LOWER_SECOND
        if lower.cuffs:
            cloth[where > covered - 0.1] = Slot.LOWER_SECOND
        slots = np.where(where < covered, cloth, Slot.SKIN).astype(np.uint8)
        if look.boots > 0.0:
            slots[(1.0 - where) * span < look.boots] = Slot.SHOE
        return slots

    return surface


def _lower_cloth(look: Look, x: Field, y: Field) -> Slots:
    second = second_tone(look.lower.pattern, x, y)
    if look.lower.pattern.kind == 'block':
        second = y > 0.42
    return np.where(second, Slot.LOWER_SECOND, Slot.LOWER).astype(np.uint8)


def head(look: Look) -> Surface:
    """Returns the face surrounded by hair; angle 0 is the nose, place 0 the crown and 1 the chin."""
    hair = look.hair

    def surface(angle: Field, place: Field, meters: Field) -> Slots:
        turned = np.abs(angle)
        slots = np.full(angle.shape, Slot.SKIN, dtype=np.uint8)
        slots[(np.abs(turned - 0.42) < 0.15) & (np.abs(place - 0.52) < 0.035)] = Slot.EYES
        slots[(turned < 0.3) & (np.abs(place - 0.8) < 0.018)] = Slot.EYES
        if look.glasses:
            rim = (np.abs(place - 0.52) < 0.075) & (turned < 1.0) & (np.abs(turned - 0.45) > 0.2)
            slots[rim | ((np.abs(place - 0.5) < 0.02) & (turned < 1.9))] = Slot.EYES
        if hair == 'bald':
            return slots
        ends = {'short': 0.66, 'bun': 0.6, 'ponytail': 0.62}.get(hair, 1.1)
        fringe = 0.26 if hair in ('short', 'bun', 'ponytail') else 0.32
        slots[(place < fringe) | ((turned > 1.15) & (place < ends))] = Slot.HAIR
        return slots

    return surface
