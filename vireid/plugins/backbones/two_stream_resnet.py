"""TwoStreamResNet: a ResNet with modality-specific early stages and shared later stages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torchvision
from torch import Tensor, nn

from vireid.boundary.weights import is_checkpoint, read_weights
from vireid.core.registry.components import BuildPart
from vireid.core.types import FeatureSpec, Modality
from vireid.plugins.backbones.inserts import Inserts
from vireid.plugins.backbones.streams import STAGES, TwoStreams, with_channels
from vireid.plugins.backbones.weights import fitting, published_weights


class TwoStreamResNet(TwoStreams):
    """torchvision's ResNet (He et al., CVPR 2016, arXiv 1512.03385) in two streams.

    See TFFN section 2.1 and DMCF section III-A. Stage 0 is the stem (convolution, BatchNorm, pooling); stages 1 to 4
    are the residual stages. Each stage before `shared_from` has one copy per modality and outputs a `paired` feature.
    Later stages share their weights, their BatchNorm layers see all modalities together, and their features are
    `joint`. The outputs are named `stage1` to `stage4`. A modality with C != 3 channels gets its own first convolution,
    with the pretrained weights summed over the three colors and divided by C, so gray images keep their output.

    Args:
        depth: 18, 34, 50 or 101 layers.
        shared_from: first shared stage, 0 (everything shared) to 5 (nothing shared).
        out_stages: stages whose maps are output.
        last_stride: stride of stage 4: 1 gives maps at 1/16 of the image size, 2 is the standard ResNet.
        weights: `imagenet` (torchvision's IMAGENET1K_V1, downloaded once), the path of a file with a ResNet of the same
            depth (under any key and with any prefix) or of a checkpoint with this backbone (its visible stream is used
            for all streams), or None for random weights.
        pretrained: False ignores `weights`; the framework passes it when a checkpoint will replace the weights.
        image_size: (H, W) of the images, which determines the map sizes; None leaves the map sizes unknown.
        modalities: image channels by modality; None means 3 channels for visible and infrared.
        streams: modalities that use the stream of another modality, as in {'x': 'visible'}; the others have their own.
        build_part: builds the inserts.
        inserts: necks between the residual blocks, by name, such as non-local blocks. Each follows the stage `after`
            (by default its name), or each of the last blocks of several stages, as in `after=dict(stage2=2, stage3=3)`;
            a stage with fewer blocks gets one after each. With `with_input=True`, an insert reads the input of the
            stage and the output. It keeps the shape of the map, but may return several rows per image (`copies`).
            `weights` are those of the network without inserts.

    Raises:
        VireidError: if a stage does not exist, an argument is out of range, an insert changes the shape of the map, or
            the weights cannot be loaded or do not fit.
    """

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101] = 50,
        shared_from: int = 2,
        out_stages: Sequence[int] = (4,),
        last_stride: Literal[1, 2] = 1,
        weights: str | None = 'imagenet',
        pretrained: bool = True,
        image_size: tuple[int, int] | None = None,
        modalities: Mapping[Modality, int] | None = None,
        streams: dict[Modality, Modality] | None = None,
        build_part: BuildPart | None = None,
        inserts: Inserts | None = None,
    ) -> None:
        super().__init__(shared_from, out_stages, modalities, streams)
        state = load_resnet_weights(depth, weights if pretrained else None)
        self.add_stages(lambda channels: _stages(depth, state, last_stride, channels))
        expansion = 4 if depth >= 50 else 1
        widths = {s: 64 * 2 ** (s - 1) * expansion for s in STAGES}
        strides = {1: 4, 2: 8, 3: 16, 4: 16 * last_stride}
        # each halving rounds up, which equals one division that rounds up
        sizes = {
            s: (-(-image_size[0] // n), -(-image_size[1] // n)) if image_size else None for s, n in strides.items()
        }
        specs = {f'stage{s}': FeatureSpec(widths[s], 'map', size=sizes[s]) for s in STAGES}
        specs['stage0'] = FeatureSpec(64, 'map', size=sizes[1])
        # last, so that the random weights of the ResNet are the same as without inserts
        self.add_inserts(inserts, specs, build_part)
        self.outputs = {f'stage{s}': self.spec(s, widths[s], sizes[s]) for s in self.out_stages}


def _stages(depth: int, state: dict[str, Tensor] | None, last_stride: int, channels: int) -> dict[str, nn.Module]:
    """Builds a ResNet for images with `channels` channels and returns its stages."""
    resnet = getattr(torchvision.models, f'resnet{depth}')()
    if state is not None:
        resnet.load_state_dict(state, strict=False)  # checked by load_resnet_weights; only `fc` may be absent
    with_channels(resnet.conv1, channels)
    if last_stride == 1:
        block = resnet.layer4[0]
        # the strided 3x3 convolution is the first of a BasicBlock and the second of a Bottleneck
        (block.conv2 if depth >= 50 else block.conv1).stride = (1, 1)
        block.downsample[0].stride = (1, 1)
    stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
    return {'stage0': stem, **{f'stage{s}': getattr(resnet, f'layer{s}') for s in STAGES}}


def load_resnet_weights(depth: int, weights: str | None) -> dict[str, Tensor] | None:
    """Returns the state dict of a torchvision ResNet without its classifier, or None if `weights` is None.

    Raises:
        VireidError: if it cannot be downloaded or read, or has another depth.
    """
    if weights is None:
        return None
    if weights == 'imagenet':
        published = torchvision.models.get_model_weights(f'resnet{depth}').IMAGENET1K_V1
        allowed = "weights='imagenet', the path of a state dict, or None for random weights"
        state = published_weights(published, f'ImageNet weights of ResNet-{depth}', allowed)
    else:
        state = _as_torchvision(read_weights(Path(weights), "'imagenet', the path of a ResNet state dict, or None"))
    own = getattr(torchvision.models, f'resnet{depth}')().state_dict()
    expected = {name: tensor for name, tensor in own.items() if not name.startswith('fc.')}
    return fitting(state, expected, weights, f'ResNet-{depth}', 'use weights of the same depth')


def _as_torchvision(content: Any) -> Any:
    """Returns a checkpoint of this backbone as a state dict of torchvision's ResNet; other content is unchanged."""
    if not is_checkpoint(content):
        return content
    names = {'stage0.0.': 'conv1.', 'stage0.1.': 'bn1.', **{f'stage{s}.': f'layer{s}.' for s in STAGES}}
    renamed = {}
    for name, tensor in content['model'].items():
        if match := re.fullmatch(r'backbone\.(?:shared|streams\.visible)\.(stage0\.\d\.|stage\d\.)(.*)', name):
            renamed[f'{names.get(match[1], match[1])}{match[2]}'] = tensor
    return renamed or content
