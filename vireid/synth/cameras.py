"""The cameras of a dataset: their location, what they record and how they render light."""

from __future__ import annotations

from dataclasses import dataclass

from vireid.synth.rng import CAMERA, between, stream
from vireid.synth.spectrum import Modality

RIG = 7


@dataclass(frozen=True)
class Camera:
    """A camera.

    Attributes:
        number: as in its folder's name, 1 to 6; `RIG` for the two-sensor rig of the regdb layout.
        place: cameras at the same place see the same scene.
        outdoor: whether that place is outdoors.
        modality: what it records; the rig records any modality.
    """

    number: int
    place: int
    outdoor: bool
    modality: Modality


# As in SYSU-MM01: cameras 3 and 6 are infrared, and 2 and 3 watch the same room.
SYSU_CAMERAS: dict[int, Camera] = {
    1: Camera(1, 1, False, 'visible'),
    2: Camera(2, 2, False, 'visible'),
    3: Camera(3, 2, False, 'infrared'),
    4: Camera(4, 4, True, 'visible'),
    5: Camera(5, 5, True, 'visible'),
    6: Camera(6, 6, True, 'infrared'),
}
# As in LLCM: nine places, each with a visible and a near-infrared camera, except the third, which has no infrared one.
# Numbers start from 11 and from 21, so that these cameras have their own random streams.
LLCM_CAMERAS: dict[tuple[str, int], Camera] = {
    **{('visible', n): Camera(10 + n, 10 + n, n % 3 == 0, 'visible') for n in range(1, 10)},
    **{('infrared', n): Camera(20 + n, 10 + n, n % 3 == 0, 'infrared') for n in range(1, 10) if n != 3},
}
CAMERAS: dict[int, Camera] = {
    **SYSU_CAMERAS,
    RIG: Camera(RIG, 7, True, 'visible'),
    **{camera.number: camera for camera in LLCM_CAMERAS.values()},
}


@dataclass(frozen=True)
class Response:
    """How a camera renders light.

    Attributes:
        pitch: downward tilt in radians.
        cast: factor per color channel, near 1.
        gain: overall factor, near 1.
        gamma: exponent of the response, near 1.
        lamp: direction of its main light: right, up and towards the camera, not normalized.
        ambient: share of undirected light, 0 to 1.
        noise: standard deviation of the sensor noise in [0, 1].
        blur: lens blur in pixels.
    """

    pitch: float
    cast: tuple[float, float, float]
    gain: float
    gamma: float
    lamp: tuple[float, float, float]
    ambient: float
    noise: float
    blur: float


def response(seed: int, camera: Camera, modality: Modality) -> Response:
    """Draws how `camera` of the dataset `seed` renders `modality`; deterministic in the three arguments."""
    rng = stream(seed, CAMERA, camera.number, 0 if modality == 'visible' else 1)
    pitch = between(stream(seed, CAMERA, camera.number, 2), 0.04, 0.24)
    if modality == 'visible':
        warm = between(rng, -0.08, 0.08)
        cast = (1.0 + warm, 1.0 + between(rng, -0.03, 0.03), 1.0 - warm)
        lamp = (between(rng, -0.6, 0.6), between(rng, 0.2, 0.6), 0.9)
        ambient = between(rng, 0.5, 0.65)
        return Response(pitch, cast, between(rng, 0.9, 1.12), between(rng, 0.9, 1.12), lamp, ambient, 0.018, 0.35)
    # The lamp of a night camera surrounds its lens: flat frontal light.
    lamp = (between(rng, -0.25, 0.25), between(rng, 0.0, 0.3), 1.0)
    blur = 0.55 if modality == 'infrared' else 0.9
    return Response(pitch, (1.0, 1.0, 1.0), between(rng, 0.9, 1.1), between(rng, 0.92, 1.12), lamp, 0.5, 0.02, blur)
