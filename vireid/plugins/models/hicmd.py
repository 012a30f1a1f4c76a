"""HiCMD: separates identity from pose and illumination by swapping them in a generator."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.registry.signature import named_arguments
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Modality
from vireid.errors import Conflict, Mismatch, TooFew
from vireid.plugins.models.attribute_codes import AttributeCodes
from vireid.plugins.models.attribute_decoder import AttributeDecoder
from vireid.plugins.models.identity_factors import IdentityFactors
from vireid.plugins.models.multi_scale_critic import MultiScaleCritic, real_loss, squared_error
from vireid.plugins.models.prototype_encoder import PrototypeEncoder

Images = Mapping[Modality, Tensor]
OTHER = {VISIBLE: INFRARED, INFRARED: VISIBLE}
GAME = ('same', 'cross', 'cycle', 'codes', 'prior', 'fool', 'critic')  # the tasks of generator and critics
Count = Annotated[int, Ge(1)]


class HiCMD(nn.Module):
    """Hierarchical cross-modality disentanglement (Choi et al., CVPR 2020, arXiv 1912.01230).

    Each modality has a prototype encoder and an attribute encoder. The prototype, and the style in the attribute code,
    describe the identity; the pose and illumination in the code do not. One decoder generates an image from a prototype
    and a code. For a pair of images of one identity, visible and infrared, it generates images with the prototype and
    style of one image. A swapped image takes pose and illumination from the other image; a relit image takes only the
    illumination from it. The embedding reads prototype and style only.

    `forward` returns a loss for each task, each summed over the modalities. L1 is the mean absolute difference.

    - `same`: L1 of each image and its reconstruction. With `same_style='partner'`, the reconstruction has the style of
      the other image of the pair.
    - `cross`: L1 of each image and the swapped image with its pose and illumination.
    - `cycle`: L1 of each image and the image decoded after the swapped images are encoded and swapped back.
    - `codes`: L1 of the pose and illumination of a swapped image before decoding and after encoding it again, plus L1
      of its style before and after.
    - `prior`: the mean square of pose and illumination.
    - `fool`: squared error to 1 of the critics' scores of swapped and relit images.
    - `critic`: squared error to 0 of the scores of swapped and relit images, plus twice (once for each kind) the sum of
      the squared error to 1 of the scores of real images and the gradient penalty.
    - `losses`: each is a separate task, on the identity feature of real images, of swapped images, and of prototypes
      joined with the style of the swapped or real image of the same modality. For these losses, real and swapped images
      are erased, and swapped images pass no gradient to the decoder that generated them.

    A batch contains pairs: row n has the same identity in both modalities. Each BatchNorm of the encoders and of the
    network on the prototypes sees one set of images at a time: real or swapped images of one modality.

    Args:
        num_identities: number of training identities K.
        backbone: config of a residual network with two unshared streams and one output, the map whose average is the
            attribute code. Stages 2 and 3 of a second network of the same config, but fully shared, read the
            prototypes, which have as many channels as its stage 1.
        losses: config of each loss on the identity feature, by task name.
        weighter: config of the weighter, which weighs all tasks.
        build_part: builds these components.
        erasing: config of the transform that erases part of each image for the identity losses; None erases nothing.
        same_style: style of a reconstruction: its `own`, or its `partner`'s as in the released code.
        dilations: dilations of the prototype encoder's pyramid.
        hidden: hidden units of the decoder's perceptrons.
        critic_width: channels of the critics' first convolution.
        critic_scales: number of scales at which a critic scores an image.
        penalty: factor of the critics' gradient penalty, at least 0.
        channels: length of the embedding.
        metric_channels: length of the vector for metric losses.
        dropout: dropout rate of the identity feature, 0 to 1 (exclusive).
        modalities: image channels by modality; None means 3 channels for visible and infrared.

    Raises:
        VireidError: if the modalities are not visible and infrared with 3 channels each, the backbone does not output
            exactly one paired map, a dilation is below 1, or a loss has the name of another task or reads `context` or
            `progress`.
    """

    modalities = MODALITIES

    def __init__(
        self,
        num_identities: int,
        backbone: Annotated[dict, Component('backbones')],
        losses: dict[str, Annotated[dict, Component('losses')]],
        weighter: Annotated[dict, Component('weighters')],
        build_part: BuildPart,
        erasing: Annotated[dict | None, Component('transforms')] = None,
        same_style: Literal['own', 'partner'] = 'partner',
        dilations: tuple[int, ...] = (3, 6, 9),
        hidden: Count = 512,
        critic_width: Count = 32,
        critic_scales: Count = 3,
        penalty: Annotated[float, Ge(0)] = 0.01,
        channels: Count = 2048,
        metric_channels: Count = 1024,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
        modalities: Mapping[Modality, int] | None = None,
    ) -> None:
        super().__init__()
        if dict(modalities or dict.fromkeys(MODALITIES, 3)) != dict.fromkeys(MODALITIES, 3):
            raise Mismatch(
                f'HiCMD got the modalities {dict(modalities or {})}',
                allowed='visible and infrared images with 3 channels',
                todo='remove images.views',
            )
        if taken := [name for name in losses if name in GAME]:
            error = Conflict(f'HiCMD already has a task {taken[0]!r}', todo='choose another name')
            raise error.at(f'losses.{taken[0]}')
        self.penalty, self.own_style = penalty, same_style == 'own'
        self.attributes = build_part('backbones', backbone, 'backbone')
        (self.stage, spec), *more = self.attributes.outputs.items()
        if spec.layout != 'paired' or spec.kind != 'map' or more:
            given = ', '.join(f'{n} ({s.layout} {s.kind})' for n, s in self.attributes.outputs.items())
            raise Mismatch(
                f'backbone outputs {given}',
                allowed='one paired map',
                todo='set backbone.shared_from=5 and backbone.out_stages=[4]',
            )
        middle = build_part('backbones', {**backbone, 'shared_from': 0, 'out_stages': (1, 3)}, 'backbone')
        network = nn.Sequential(middle.shared['stage2'], middle.shared['stage3'])
        encoder = PrototypeEncoder(3, middle.outputs['stage1'].channels // 8, dilations)
        self.prototypes = nn.ModuleDict({VISIBLE: encoder, INFRARED: copy.deepcopy(encoder)})
        self.decoder = AttributeDecoder(encoder.channels, spec.channels, hidden)
        critic = MultiScaleCritic(3, critic_width, critic_scales)
        self.critics = nn.ModuleDict({VISIBLE: critic, INFRARED: copy.deepcopy(critic)})
        shape, style = middle.outputs['stage3'].channels, spec.channels // 2
        self.identity = IdentityFactors(network, shape, style, num_identities, channels, metric_channels, dropout)
        self.losses = nn.ModuleDict({name: _loss(build_part, name, config) for name, config in losses.items()})
        self.erase = build_part('transforms', erasing, 'erasing') if erasing else None
        self.task_names = (*GAME, *self.losses)
        self.weighter = build_part('weighters', weighter, 'weighter', task_names=self.task_names)

    def forward(self, batch: Batch, tasks: Collection[str] | None = None) -> dict[str, Tensor]:
        """Returns the loss of each task, () each, for a batch of pairs with labels 0..K-1.

        Args:
            batch: the pairs.
            tasks: the tasks to compute; None means all.

        Raises:
            VireidError: if the rows of the modalities are not pairs, or all have one identity.
        """
        needed = {name for name in self.task_names if tasks is None or name in tasks}
        images, labels = _pairs(batch)
        prototypes, codes = self.encode(images)
        exchanged = {m: prototypes[o] for m, o in OTHER.items()}
        mixed = {m: codes[m].with_style_of(codes[o]) for m, o in OTHER.items()}
        sets = {'swapped': (exchanged, mixed)}  # an image of m shows the identity of o
        if 'same' in needed:
            sets['same'] = (prototypes, codes if self.own_style else mixed)
        if needed & {'fool', 'critic'}:
            sets['relit'] = (exchanged, {m: codes[m].with_style_and_pose_of(codes[o]) for m, o in OTHER.items()})
        decoded = dict(zip(sets, self._decode(*sets.values()), strict=True))
        swapped = decoded['swapped']
        losses: dict[str, Tensor] = {}
        if 'same' in needed:
            losses['same'] = _l1(images, decoded['same'])
        if 'cross' in needed:
            losses['cross'] = _l1(images, swapped)
        if needed & {'codes', 'cycle'}:
            seen, recovered = self.encode(swapped)
            if 'cycle' in needed:
                (back,) = self._decode(({m: seen[o] for m, o in OTHER.items()}, mixed))
                losses['cycle'] = _l1(images, back)
            if 'codes' in needed:
                losses['codes'] = _l1(_excluded(codes), _excluded(recovered)) + _l1(_style(mixed), _style(recovered))
        if 'prior' in needed:
            losses['prior'] = torch.stack([code.square().mean() for code in _excluded(codes).values()]).sum()
        if needed & {'fool', 'critic'}:
            generated = {m: torch.cat([swapped[m], decoded['relit'][m]]) for m in images}
            if 'fool' in needed:
                losses['fool'] = self._score(generated, 1.0)
            if 'critic' in needed:
                real = [real_loss(self.critics[m], x, self.penalty) for m, x in images.items()]
                fake = self._score({m: x.detach() for m, x in generated.items()}, 0.0)
                losses['critic'] = fake + 2 * torch.stack(real).sum()
        if needed & set(self.losses):
            output = self._identify(images, {m: x.detach() for m, x in swapped.items()})
            rows = labels.repeat(len(output.feature) // len(labels))
            losses |= {name: loss(output, rows) for name, loss in self.losses.items() if name in needed}
        return {name: losses[name] for name in self.task_names if name in needed}

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Embeds (B, 3, H, W) images of one modality as (B, channels) vectors, not normalized."""
        prototypes, codes = self.encode({modality: images})
        shapes = self.identity.shape(prototypes[modality])
        return self.identity.embed(self.identity.join(shapes, codes[modality].style))

    def encode(self, images: Images) -> tuple[dict[Modality, Tensor], dict[Modality, AttributeCodes]]:
        """Returns the prototypes and the attribute codes of images of one or both modalities."""
        maps = self.attributes(images)[self.stage]
        codes = {m: AttributeCodes(x.mean(dim=(2, 3))) for m, x in maps.items()}
        return {m: self.prototypes[m](x) for m, x in images.items()}, codes

    @torch.no_grad()
    def swap_grid(self, batch: Batch, rows: Modality = VISIBLE, columns: Modality = INFRARED) -> Tensor:
        """Decodes an image for each combination of a row image and a column image.

        Args:
            batch: images of at least two identities.
            rows: modality of the R images that give prototype and style.
            columns: modality of the C images that give pose and illumination; may equal `rows`.

        Returns:
            (R, C, 3, H, W) images, normalized like the given ones, but not limited to the range of real images.

        Raises:
            VireidError: if a modality has no images, or all images have one identity.
        """
        if missing := [m for m in (rows, columns) if not len(batch.images.get(m, ()))]:
            raise Mismatch(f'a swap needs {missing[0]} images', allowed=', '.join(batch.images))
        _require_two([batch.identities[m] for m in (rows, columns)])
        training = self.training
        self.eval()
        try:
            prototypes, codes = self.encode({m: batch.images[m] for m in {rows, columns}})
            grid = []
            for prototype, code in zip(prototypes[rows], codes[rows].codes, strict=True):
                style = AttributeCodes(code.expand_as(codes[columns].codes))
                mixed = codes[columns].with_style_of(style)
                grid.append(self.decoder(prototype.expand(len(mixed.codes), -1, -1, -1), mixed.codes))
        finally:
            self.train(training)
        return torch.stack(grid)

    def _decode(self, *sets: tuple[Images, Mapping[Modality, AttributeCodes]]) -> list[dict[Modality, Tensor]]:
        """Decodes sets of prototypes and codes of both modalities, in one pass: no normalization layer mixes images."""
        parts = [(prototypes[m], codes[m].codes) for prototypes, codes in sets for m in MODALITIES]
        images = self.decoder(*(torch.cat(part) for part in zip(*parts, strict=True))).chunk(len(parts))
        return [dict(zip(MODALITIES, pair, strict=True)) for pair in zip(images[::2], images[1::2], strict=True)]

    def _score(self, images: Images, target: float) -> Tensor:
        """Returns the squared errors of the scores of swapped and relit images, summed over all of them."""
        return 2 * torch.stack([squared_error(self.critics[m](x), target) for m, x in images.items()]).sum()

    def _identify(self, images: Images, swapped: Images) -> Any:
        """Returns the identity output of 8 sets of rows: real and swapped images with their own and exchanged style."""
        parts = []
        for source in (images, swapped):
            prototypes, codes = self.encode({m: self._erased(x) for m, x in source.items()})
            parts.append({m: (self.identity.shape(prototypes[m]), codes[m].style) for m in source})
        real, generated = parts
        pairs = [*real.values(), *generated.values()]
        pairs += [(a[m][0], b[m][1]) for a, b in ((real, generated), (generated, real)) for m in images]
        shapes, styles = (torch.cat(part) for part in zip(*pairs, strict=True))
        return self.identity(self.identity.join(shapes, styles))

    def _erased(self, images: Tensor) -> Tensor:
        return images if self.erase is None else torch.stack([self.erase(image) for image in images.clone()])


def _l1(given: Mapping[Modality, Tensor], outputs: Mapping[Modality, Tensor]) -> Tensor:
    return torch.stack([(given[m] - outputs[m]).abs().mean() for m in given]).sum()


def _excluded(codes: Mapping[Modality, AttributeCodes]) -> dict[Modality, Tensor]:
    return {m: code.excluded for m, code in codes.items()}


def _style(codes: Mapping[Modality, AttributeCodes]) -> dict[Modality, Tensor]:
    return {m: code.style for m, code in codes.items()}


def _loss(build_part: BuildPart, name: str, config: Mapping[str, Any]) -> nn.Module:
    loss = build_part('losses', config, f'losses.{name}')
    if takes := named_arguments(loss, 'context', 'progress'):
        raise Mismatch(
            f'{config["type"]} reads {" and ".join(takes)}, which HiCMD does not pass to its losses',
            todo='use another loss',
        ).at(f'losses.{name}')
    return loss


def _pairs(batch: Batch) -> tuple[dict[Modality, Tensor], Tensor]:
    """Returns the images of a batch of pairs, and the label of each pair."""
    labels = [batch.identities.get(m, torch.empty(0)) for m in MODALITIES]
    first, second = map(len, labels)
    if first != second or not first or not torch.equal(*labels):  # a missing modality is on no GPU
        raise Mismatch(
            f'HiCMD got {" and ".join(f"{len(rows)} {m}" for m, rows in zip(MODALITIES, labels, strict=True))} '
            'images that do not form pairs',
            allowed='pairs: row n has the same identity in both modalities',
            todo='set sampler.visible and sampler.infrared to the same number',
            path='sampler',
        )
    _require_two(labels)
    return {m: batch.images[m] for m in MODALITIES}, labels[0]


def _require_two(labels: list[Tensor]) -> None:
    if len(torch.cat(labels).unique()) < 2:
        raise TooFew(
            'a swap needs two identities, but all images have the same one',
            allowed='images of at least two identities',
            todo='set sampler.identities to 2 or more',
            path='sampler',
        )
