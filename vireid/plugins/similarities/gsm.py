"""GSM: ranks a gallery by the generalized similarity measure that the network has learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from torch import nn

from vireid.core.types import Trial
from vireid.errors import Mismatch
from vireid.plugins.necks.generalized_similarity import GeneralizedSimilarity, generalized_similarity


class GSM:
    """Minus the measure S of GSM (Lin et al., PAMI 2017, arXiv 1605.04039), so that similar images have high values.

    The embedding must consist of the output of `GeneralizedSimilarity` alone, in which the layers of the image's
    modality are applied already. So the result follows the modality of an image, never its role: with query and
    gallery exchanged, the similarities are transposed. The embedding carries its own norm, which is restored here. All
    pairs take one matrix product, in float64.

    Args:
        model: the model; its `GeneralizedSimilarity` says how to split an embedding.
        channels: length r of the features, at least 1; None takes it from the model.

    Raises:
        Mismatch: if `channels` is None and the model does not have exactly one `GeneralizedSimilarity`.
    """

    name = 'GSM'

    def __init__(self, model: nn.Module, channels: Annotated[int, Ge(1)] | None = None) -> None:
        if channels is None:
            necks = [module for module in model.modules() if isinstance(module, GeneralizedSimilarity)]
            if len(necks) != 1:
                raise Mismatch(
                    f'GSM needs one GeneralizedSimilarity, but the model has {len(necks)}',
                    allowed='one',
                    todo='use it with configs/systems/gsm.py, or set channels',
                )
            channels = necks[0].channels
        self.length = 2 * channels + 2

    def similarity(
        self, query: np.ndarray, gallery: np.ndarray, trial: Trial | None = None
    ) -> Callable[[slice], np.ndarray]:
        """Returns a function that maps a slice of the queries to their (q, G) values of -S, float32.

        Args:
            query: (Q, 2r + 2) embeddings of one modality, each up to a factor.
            gallery: (G, 2r + 2) embeddings of the other modality.
            trial: the images, to check that query and gallery differ in modality.

        Raises:
            Mismatch: if the embeddings are not of `GeneralizedSimilarity`, or query and gallery have a modality in
                common.
        """
        if trial is not None:
            query_modalities, gallery_modalities = ({s.modality for s in of} for of in (trial.query, trial.gallery))
            if common := sorted(query_modalities & gallery_modalities):
                raise Mismatch(
                    f'GSM compares visible with infrared images; query and gallery of {trial.name!r} both have '
                    f'{common[0]} images',
                    todo='choose a protocol across the modalities, or remove evaluation.similarity',
                    path='evaluation.similarity',
                )
        if any(of.shape[1] != self.length or not of[:, -1].all() for of in (query, gallery)):
            raise Mismatch(
                f'GSM got embeddings of length {query.shape[1]} that are not those of GeneralizedSimilarity',
                allowed=f'{self.length} values, the last of which is not 0',
                todo='set model.embedding to the neck GeneralizedSimilarity alone, as in configs/systems/gsm.py',
                path='evaluation.similarity',
            )
        # a matrix product may round equal columns differently; equal gallery embeddings are compared once, so they tie
        distinct, column = np.unique(gallery, axis=0, return_inverse=True)
        column = column.reshape(-1)
        queries, others = (torch.from_numpy(np.asarray(of, dtype=np.float64)) for of in (query, distinct))
        return lambda rows: -generalized_similarity(queries[rows], others).numpy().astype(np.float32)[:, column]
