"""ContrastiveCorrelation: ranks a gallery by a similarity of pairs, as DSCSN does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.plugins.heads.contrast import contrast
from vireid.plugins.heads.correlation_head import CorrelationHead, split

# Numbers in one contrastive feature of all pairs of a chunk, 4 MiB: what a processor's cache still holds.
CHUNK = 2**20


class ContrastiveCorrelation:
    """The similarity of each query with each gallery image by their contrastive features (Zhang et al., TIP 2021).

    Embeddings are those of a `CorrelationHead`, and of nothing else. It runs on the device of the model. Memory beside
    the embeddings and the result is a few chunks of `CHUNK` numbers.

    Args:
        model: its `CorrelationHead` says how an embedding is divided.
        channels: of the tensors; None are those of the head.
        kernels: of each image; None are those of the head.

    Raises:
        VireidError: if they are not given and the model has no such head, or several.
    """

    name = 'contrastive correlation'

    def __init__(self, model: nn.Module, channels: int | None = None, kernels: int | None = None) -> None:
        if channels is None or kernels is None:
            heads = [module for module in model.modules() if isinstance(module, CorrelationHead)]
            if len(heads) != 1:
                raise VireidError(
                    f'ContrastiveCorrelation reads what a CorrelationHead embeds and the model has {len(heads)}',
                    allowed='one',
                    todo='use it with configs/systems/dscsn.py, or give channels and kernels',
                )
            channels = heads[0].channels if channels is None else channels
            kernels = heads[0].kernels if kernels is None else kernels
        if min(channels, kernels) < 1:
            raise VireidError(
                f'channels is {channels} and kernels is {kernels}', allowed='integers of at least 1, or None'
            )
        self.model, self.channels, self.kernels = model, channels, kernels

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
        """Prepares (Q, D) and (G, D) embeddings; the result gives the (q, G) similarities of a slice of the queries."""
        device = next((parameter.device for parameter in self.model.parameters()), torch.device('cpu'))
        # a matrix product may round equal gallery embeddings differently: each is compared once, so that ties are ties
        unlike, column = np.unique(gallery, axis=0, return_inverse=True)
        column = column.reshape(-1)
        queries, found = self._divided(query, device), self._divided(unlike, device)
        cells = found[0].shape[2]

        def rows(chosen: slice) -> np.ndarray:
            tensors, kernels = queries[0][chosen], queries[1][chosen]
            step = max(1, CHUNK // (self.kernels * cells * max(1, len(unlike))))
            with torch.no_grad():
                parts = [
                    contrast(tensors[first : first + step], kernels[first : first + step], *found).cpu()
                    for first in range(0, len(tensors), step)
                ]
            return torch.cat(parts).numpy()[:, column] if parts else np.zeros((0, len(gallery)), dtype=np.float32)

        return rows

    def _divided(self, embeddings: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        length = embeddings.shape[1]
        if length % self.channels or length <= self.kernels * self.channels:
            raise VireidError(
                f'ContrastiveCorrelation was given embeddings of {length} numbers',
                allowed=f'{self.channels} for each cell, and {self.kernels} x {self.channels} for the kernels',
                todo='let model.embedding be the CorrelationHead alone',
            )
        return split(torch.from_numpy(np.ascontiguousarray(embeddings)).to(device), self.channels, self.kernels)
