"""ContrastiveCorrelation: ranks a gallery by the pair similarity of DSCSN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.errors import Mismatch
from vireid.plugins.heads.contrast import contrast
from vireid.plugins.heads.correlation_head import CorrelationHead, split

# Elements of one contrastive feature over all pairs of a chunk: 4 MiB of float32, which fits a CPU cache.
CHUNK = 2**20


class ContrastiveCorrelation:
    """Similarity of query and gallery images by contrastive features (Zhang et al., TIP 2021, arXiv 1910.11656).

    The embedding must consist of a `CorrelationHead` alone. Similarities are computed on the model's device. Apart from
    the embeddings and the result, memory use is a few chunks of `CHUNK` elements.

    Args:
        model: the model; its `CorrelationHead` says how to split an embedding.
        channels: channels of the tensors, at least 1; None takes them from the head.
        kernels: number of kernels per image, at least 1; None takes it from the head.

    Raises:
        Mismatch: if `channels` or `kernels` is None and the model does not have exactly one `CorrelationHead`.
    """

    name = 'contrastive correlation'

    def __init__(
        self,
        model: nn.Module,
        channels: Annotated[int, Ge(1)] | None = None,
        kernels: Annotated[int, Ge(1)] | None = None,
    ) -> None:
        if channels is None or kernels is None:
            heads = [module for module in model.modules() if isinstance(module, CorrelationHead)]
            if len(heads) != 1:
                raise Mismatch(
                    f'ContrastiveCorrelation needs one CorrelationHead, but the model has {len(heads)}',
                    allowed='one',
                    todo='use it with configs/systems/dscsn.py, or set channels and kernels',
                )
            channels = heads[0].channels if channels is None else channels
            kernels = heads[0].kernels if kernels is None else kernels
        self.model, self.channels, self.kernels = model, channels, kernels

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
        """Returns a function that maps a slice of the queries to their (q, G) similarities.

        Args:
            query: (Q, D) embeddings.
            gallery: (G, D) embeddings.

        Raises:
            Mismatch: if D does not fit the channels and kernels.
        """
        device = next((parameter.device for parameter in self.model.parameters()), torch.device('cpu'))
        # a matrix product may round equal columns differently; equal gallery embeddings are compared once, so they tie
        distinct, column = np.unique(gallery, axis=0, return_inverse=True)
        column = column.reshape(-1)
        queries, others = self._divided(query, device), self._divided(distinct, device)
        cells = others[0].shape[2]

        def rows(chosen: slice) -> np.ndarray:
            tensors, kernels = queries[0][chosen], queries[1][chosen]
            step = max(1, CHUNK // (self.kernels * cells * max(1, len(distinct))))
            with torch.no_grad():
                parts = [
                    contrast(tensors[first : first + step], kernels[first : first + step], *others).cpu()
                    for first in range(0, len(tensors), step)
                ]
            return torch.cat(parts).numpy()[:, column] if parts else np.zeros((0, len(gallery)), dtype=np.float32)

        return rows

    def _divided(self, embeddings: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        length = embeddings.shape[1]
        if length % self.channels or length <= self.kernels * self.channels:
            raise Mismatch(
                f'ContrastiveCorrelation got embeddings of length {length}',
                allowed=f'{self.channels} for each cell, plus {self.kernels} x {self.channels} for the kernels',
                todo='set model.embedding to the CorrelationHead alone',
            )
        return split(torch.from_numpy(np.ascontiguousarray(embeddings)).to(device), self.channels, self.kernels)
