"""Projects embeddings to the plane: principal components, and t-SNE if scikit-learn is installed."""

from __future__ import annotations

import numpy as np

NEEDED = 3  # points for a meaningful neighborhood


def principal_components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Projects (N, D) features onto the two directions of largest variance.

    Signs are chosen so that the largest entry of each direction is positive, which makes figures reproducible.

    Returns:
        (N, 2) coordinates, and the (2,) shares of variance they explain; zeros if there is no variance.
    """
    centered = np.asarray(features, dtype=np.float64) - features.mean(axis=0)
    _, values, directions = np.linalg.svd(centered, full_matrices=False)
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    directions = directions * np.where(largest < 0, -1.0, 1.0)[:, None]
    total = float((values**2).sum())
    places, shares = np.zeros((len(features), 2)), np.zeros(2)
    count = min(2, len(directions))
    places[:, :count] = centered @ directions[:count].T
    if total > 0:
        shares[:count] = values[:count] ** 2 / total
    return places, shares


def tsne(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Embeds (N, D) features in the plane by cosine distance (van der Maaten and Hinton, JMLR 2008).

    Returns:
        (N, 2) coordinates, reproducible for a seed; (0, 2) for fewer than 3 features, or if all are equal.

    Raises:
        ImportError: without scikit-learn.
    """
    from sklearn.manifold import TSNE

    # on unit vectors, squared Euclidean distance is twice the cosine distance, and can use the fast tree
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    start = principal_components(unit)[0]
    spread = start[:, 0].std()
    if len(features) < NEEDED or spread < 1e-9:
        return np.zeros((0, 2))
    # no two points may start at the same place: scikit-learn's tree cannot separate them
    start = 1e-4 * start / spread + 1e-7 * np.random.default_rng(seed).normal(size=start.shape)
    perplexity = min(30.0, (len(features) - 1) / 3)
    projection = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=seed, n_jobs=1)
    return projection.fit_transform(unit.astype(np.float64))
