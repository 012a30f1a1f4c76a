"""The orthogonality loss of DEEN, which keeps generated embeddings apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.types import Context, HeadOutput
from vireid.plugins.full_precision import full_precision
from vireid.plugins.losses.copies import split_copies


class Orthogonality(nn.Module):
    """The inner products of an image's generated vectors (DEEN, Eq. 6).

    From Zhang and Wang, CVPR 2023, arXiv 2303.14481. For each image, the inner products of all pairs of generated
    vectors, copies 1 and up, are summed. The loss is the sum over images, divided by the number of rows, which are
    images x copies, as in the released code. Vectors that are averages of ReLUs have products of at least 0.

    Args:
        original: whether pairs with the original, copy 0, count too; not in the released code.
        normalize: whether vectors are scaled to length 1; not in the released code.
    """

    reads_parts = False

    def __init__(self, original: bool = False, normalize: bool = False) -> None:
        super().__init__()
        self.original, self.normalize = original, normalize
        self.least_copies = 2 if original else 3

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        copies = split_copies('Orthogonality', output, context, self.least_copies)  # (B, copies, C)
        vectors = copies if self.original else copies[:, 1:]
        vectors = nn.functional.normalize(vectors, dim=2) if self.normalize else vectors
        # under autocast the product would be in half precision
        with full_precision(vectors):
            products = torch.einsum('bmc,bnc->mn', vectors, vectors)
        return products.triu(diagonal=1).sum() / len(identities)  # ()
