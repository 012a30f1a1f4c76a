"""Random streams that depend only on what is drawn."""

from __future__ import annotations

import numpy as np

# One number per kind of draw, so that two kinds never share a stream. Changing one changes every dataset.
LOOK, POSE, CAMERA, SCENE, SENSOR, PRESENCE, SPLIT, TRIAL, PERMUTATION = range(1, 10)


def stream(seed: int, kind: int, *keys: int) -> np.random.Generator:
    """Returns the random generator of one draw.

    Args:
        seed: the dataset's seed, >= 0.
        kind: one of the constants of this module.
        keys: distinguish this draw from others of its kind, such as identity, camera and shot; all >= 0.
    """
    # SeedSequence mixes all words, so consecutive identities or shots get unrelated streams.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, kind, *keys])))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Returns True with `probability` in [0, 1]."""
    return bool(rng.random() < probability)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Returns a number drawn uniformly from [low, high)."""
    return float(rng.uniform(low, high))


def pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """Returns one key of `weights`, drawn in proportion to its weight (>= 0, not all zero)."""
    names = list(weights)
    shares = np.asarray([weights[name] for name in names], dtype=np.float64)
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]
