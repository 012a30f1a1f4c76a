"""Draws rounded limbs: tubes with elliptic cross sections, projected, painted and shaded per pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
# Takes the angle around the tube (0 is the wearer's front, radians), the position along it (0 top to 1 bottom) and the
# meters along it; returns the slot of every point, 0 for a hole.
Surface = Callable[[Field, Field, Field], NDArray[np.uint8]]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Tube:
    """One limb or garment.

    Attributes:
        top, bottom: ends of the axis in meters: x to the wearer's left, y up, z to the wearer's front.
        places: positions along the axis where radii are given, increasing from 0 to 1.
        across, deep: radii in meters at these positions, sideways and front to back.
        surface: its covering.
        bias: added to its depth in the painter's algorithm; larger is nearer.
        caps: whether its top and its bottom are rounded.
    """

    top: Point
    bottom: Point
    places: tuple[float, ...]
    across: tuple[float, ...]
    deep: tuple[float, ...]
    surface: Surface
    bias: float = 0.0
    caps: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class View:
    """The view of the person.

    Attributes:
        yaw: rotation of the wearer in radians, 0 facing the camera, pi showing the back.
        pitch: downward tilt of the camera in radians.
        scale: pixels per meter on the canvas.
        origin: canvas pixel of the point between the feet.
        light: unit vector to the lamp (right, up, to the camera).
        ambient: share of undirected light, 0 to 1.
    """

    yaw: float
    pitch: float
    scale: float
    origin: tuple[float, float]
    light: Point
    ambient: float

    def project(self, point: Point) -> Point:
        """Returns canvas x, canvas y (down) and depth in meters (larger is nearer) of a point of the wearer."""
        x, y, z = point
        turn_cos, turn_sin = np.cos(self.yaw), np.sin(self.yaw)
        side, near = x * turn_cos + z * turn_sin, z * turn_cos - x * turn_sin
        drop = -y * np.cos(self.pitch) + near * np.sin(self.pitch)
        return self.origin[0] + side * self.scale, self.origin[1] + drop * self.scale, near


class Canvas:
    """A slot number and a light level for every pixel.

    Args:
        width: pixels.
        height: pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.slots: NDArray[np.uint8] = np.zeros((height, width), dtype=np.uint8)
        self.light: Field = np.ones((height, width), dtype=np.float32)

    def draw(self, tubes: list[Tube], view: View) -> None:
        """Draws `tubes` from farthest to nearest."""

        def nearness(tube: Tube) -> float:
            return 0.5 * (view.project(tube.top)[2] + view.project(tube.bottom)[2]) + tube.bias

        for tube in sorted(tubes, key=nearness):
            self._draw(tube, view)

    def _draw(self, tube: Tube, view: View) -> None:
        x0, y0, _ = view.project(tube.top)
        x1, y1, _ = view.project(tube.bottom)
        length = max(float(np.hypot(x1 - x0, y1 - y0)), 1e-3)
        dx, dy = (x1 - x0) / length, (y1 - y0) / length
        turn_cos, turn_sin = np.cos(view.yaw), np.sin(view.yaw)
        across, deep = np.asarray(tube.across, dtype=np.float32), np.asarray(tube.deep, dtype=np.float32)
        radii = np.hypot(across * turn_cos, deep * turn_sin) * view.scale
        reach = float(radii.max()) + 1.0
        left, right = int(max(min(x0, x1) - reach, 0)), int(min(max(x0, x1) + reach + 1, self.slots.shape[1]))
        top, bottom = int(max(min(y0, y1) - reach, 0)), int(min(max(y0, y1) + reach + 1, self.slots.shape[0]))
        if left >= right or top >= bottom:
            return
        px = np.arange(left, right, dtype=np.float32)[None, :] + np.float32(0.5 - x0)
        py = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5 - y0)
        along = px * np.float32(dx) + py * np.float32(dy)
        side = px * np.float32(dy) - py * np.float32(dx)
        place = np.clip(along / np.float32(length), 0.0, 1.0).astype(np.float32, copy=False)
        radius = np.interp(place, tube.places, radii).astype(np.float32)
        over = np.maximum(np.maximum(-along, along - np.float32(length)), 0.0)
        # A cap is a hemisphere: beyond the end, the section shrinks like a circle.
        section = np.sqrt(np.maximum(radius * radius - over * over, 1e-6))
        inside = np.abs(side) < section
        if not tube.caps[0]:
            inside &= along >= 0.0
        if not tube.caps[1]:
            inside &= along <= length
        rows, columns = np.nonzero(inside)
        if rows.size == 0:
            return
        offset = side[rows, columns] / section[rows, columns]
        spot = place[rows, columns]
        # The visible half of an ellipse rotated by the yaw is centered at minus this angle of the wearer.
        half_wide, half_deep = np.interp(0.5, tube.places, across), np.interp(0.5, tube.places, deep)
        middle = np.arctan2(half_deep * turn_sin, half_wide * turn_cos)
        angle = np.arcsin(offset) - np.float32(middle)
        angle = np.mod(angle + np.float32(np.pi), np.float32(2.0 * np.pi)) - np.float32(np.pi)
        length_m = float(np.linalg.norm(np.subtract(tube.bottom, tube.top)))
        slots = tube.surface(angle.astype(np.float32), spot, spot * np.float32(length_m))
        lamp_right, lamp_up, lamp_near = view.light
        facing = np.sqrt(np.maximum(1.0 - offset * offset, 0.0))
        lit = offset * np.float32(dy * lamp_right + dx * lamp_up) + facing * np.float32(lamp_near)
        lit = np.float32(view.ambient) + np.float32(1.0 - view.ambient) * np.maximum(lit, 0.0)
        seen = slots != 0
        rows, columns = rows[seen] + top, columns[seen] + left
        self.slots[rows, columns] = slots[seen]
        self.light[rows, columns] = lit[seen]
