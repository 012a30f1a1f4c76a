"""Random streams that depend on what is drawn and on nothing else."""

from __future__ import annotations

import numpy as np

# One number per kind of draw, so that two kinds never share a stream. Changing one changes every data set.
LOOK, POSE, CAMERA, SCENE, SENSOR, PRESENCE, SPLIT, TRIAL, PERMUTATION = range(1, 10)


def stream(seed: int, kind: int, *keys: int) -> np.random.Generator:
    """Returns the generator of one thing to draw.

    Args:
        seed: the data set's seed, >= 0.
        kind: one of the constants of this module.
        keys: what tells this draw from its siblings, for example the identity, the camera and the shot; all >= 0.
    """
    # SeedSequence mixes all words, so neighbouring identities or shots get unrelated streams.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, kind, *keys])))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Returns True with `probability` in [0, 1]."""
    return bool(rng.random() < probability)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Returns a number drawn evenly from [low, high)."""
    return float(rng.uniform(low, high))


def pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """Returns one key of `weights`, drawn in proportion to its weight (>= 0, not all zero)."""
    names = list(weights)
    shares = np.asarray([weights[name] for name in names], dtype=np.float64)
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]
