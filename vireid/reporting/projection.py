"""Embeddings in the plane: principal components, and t-SNE where scikit-learn is installed."""

from __future__ import annotations

import numpy as np

NEEDED = 3  # points, for a neighbourhood to mean anything


def principal_components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Projects (N, D) features onto the two directions of their largest variance.

    The sign of each direction is chosen so that its largest entry is positive, and so the figure is the same each time.

    Returns:
        (N, 2) coordinates, and the (2,) shares of the variance that they explain; zeros where there is none.
    """
    centred = np.asarray(features, dtype=np.float64) - features.mean(axis=0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    directions = directions * np.where(largest < 0, -1.0, 1.0)[:, None]
    total = float((values**2).sum())
    places, shares = np.zeros((len(features), 2)), np.zeros(2)
    count = min(2, len(directions))
    places[:, :count] = centred @ directions[:count].T
    if total > 0:
        shares[:count] = values[:count] ** 2 / total
    return places, shares


def tsne(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places (N, D) features so that near ones stay near (van der Maaten and Hinton, 2008), by cosine distance.

    Returns:
        (N, 2) coordinates, the same for the same seed; (0, 2) for fewer than 3 features, or if all are alike.

    Raises:
        ImportError: without scikit-learn.
    """
    from sklearn.manifold import TSNE

    # on unit vectors, squared Euclidean distance is twice the cosine distance, and takes the fast tree
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    start = principal_components(unit)[0]
    spread = start[:, 0].std()
    if len(features) < NEEDED or spread < 1e-9:
        return np.zeros((0, 2))
    # no two begin at one place: scikit-learn's tree of places cannot part them
    start = 1e-4 * start / spread + 1e-7 * np.random.default_rng(seed).normal(size=start.shape)
    perplexity = min(30.0, (len(features) - 1) / 3)
    made = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=seed, n_jobs=1)
    return made.fit_transform(unit.astype(np.float64))
