"""JointCritic: AlignGAN's discriminator of pairs of an infrared image and a feature map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Context, FeatureSpec, HeadOutput, Modality
from vireid.errors import Mismatch
from vireid.plugins.image_networks import initialize, of_modality, patch_layers, require_size


class JointCritic(nn.Module):
    """Judges pairs of an image and a feature map: do both come from real infrared images of one identity?

    From Wang et al., ICCV 2019, arXiv 1910.05839.

    The image passes three convolutions with stride 2. The map is reduced to as many channels as the first of them has,
    enlarged, and joined to the result. Two more convolutions with stride 2 and one of 3 x 3 give a value per patch.

    Row i of the visible images must show the identity of row i of the infrared images. With real and fake infrared
    images x and x', and the maps f and f' that the backbone computes from them, the outputs are values per patch of

    - `real`: (x, f);
    - `fake`: the pairs that are not: (x of another identity, f), (x, f'), (x', f), (x', f'), one after the other, so
      4 rows per image. With a single identity, the first is left out;
    - `image`: (x', f), for the generator; no gradient flows into f;
    - `feature`: (x, f'), for the backbone.

    Args:
        inputs: the paired maps `real` and `fake`, and a joint feature map.
        channels: after the first convolution.

    Raises:
        VireidError: if the inputs are not two paired maps and a joint one, or they are too small; when called, if a
            modality is missing or the identities of the rows differ.
    """

    layout, train_only = 'any', True
    outputs = {'real': 0, 'fake': 0, 'image': 0, 'feature': 0}  # noqa: RUF012

    def __init__(self, inputs: Sequence[FeatureSpec], channels: Annotated[int, Ge(1)] = 64) -> None:
        super().__init__()
        given = [(spec.layout, spec.kind) for spec in inputs]
        if given != [('paired', 'map'), ('paired', 'map'), ('joint', 'map')]:
            raise Mismatch(
                f'JointCritic reads {", ".join(" ".join(each) for each in given)}',
                allowed="a translator's real and fake, and a joint map of the backbone, such as stage4",
            )
        require_size(inputs[0], 5, 2, 'JointCritic')
        self.image = nn.Sequential(*patch_layers(inputs[0].channels, channels, 2))
        self.feature = nn.Sequential(nn.Conv2d(inputs[2].channels, channels, 1), nn.LeakyReLU(0.2))
        wide = 4 * channels
        layers: list[nn.Module] = []
        for given_channels in (wide + channels, 2 * wide):
            layers += [nn.Conv2d(given_channels, wide := 2 * wide, 4, stride=2, padding=1), nn.InstanceNorm2d(wide)]
            layers += [nn.LeakyReLU(0.2)]
        self.pair = nn.Sequential(*layers, nn.Conv2d(wide, 1, 3, padding=1, bias=False))
        initialize(self)

    def forward(
        self, real: Mapping[Modality, Tensor], fake: Mapping[Modality, Tensor], features: Tensor, context: Context
    ) -> dict[str, HeadOutput]:
        images = of_modality(real, INFRARED, 'JointCritic')
        translated = of_modality(fake, VISIBLE, 'JointCritic')
        rows = {m: context.rows(m) for m in (VISIBLE, INFRARED)}
        assert context.identities is not None
        identities = context.identities[rows[INFRARED]]
        if not torch.equal(context.identities[rows[VISIBLE]], identities):
            raise Mismatch(
                'JointCritic pairs the visible and infrared images of a batch, but their identities differ',
                todo='set sampler.visible and sampler.infrared to the same number',
            )
        own, other = features[rows[INFRARED]], features[rows[VISIBLE]]
        wrong = another_identity(identities)
        x, fake_x = self.image(images), self.image(translated)
        size = x.shape[2:]
        f, fixed, fake_f = self._reduced(own, size), self._reduced(own.detach(), size), self._reduced(other, size)
        pairs = [(x, fake_f), (fake_x, f), (fake_x, fake_f)]
        pairs = [(x[wrong], f), *pairs] if wrong is not None else pairs
        return {
            'real': self._judged(x, f),
            'fake': self._judged(*(torch.cat(both) for both in zip(*pairs, strict=True))),
            'image': self._judged(fake_x, fixed),
            'feature': self._judged(x, fake_f),
        }

    def _reduced(self, features: Tensor, size: Sequence[int]) -> Tensor:
        return nn.functional.interpolate(self.feature(features), tuple(size), mode='bilinear')

    def _judged(self, images: Tensor, features: Tensor) -> HeadOutput:
        return HeadOutput(self.pair(torch.cat([images, features], dim=1)).flatten(1))  # (N, patches)


def another_identity(identities: Tensor) -> Tensor | None:
    """Returns, for each of (N,) identities, the row of another one; None if there is only one identity.

    Rows of an identity are paired in order with those of the next. If all have K rows, one after the other, that is a
    shift by K, as in the released code.
    """
    places: dict[int, list[int]] = {}
    for row, identity in enumerate(identities.tolist()):  # a single transfer from the device
        places.setdefault(identity, []).append(row)
    groups = list(places.values())
    if len(groups) < 2:
        return None
    rows = [0] * len(identities)
    for own, following in zip(groups, [*groups[1:], groups[0]], strict=True):
        for number, row in enumerate(own):
            rows[row] = following[number % len(following)]
    return torch.tensor(rows, device=identities.device)
