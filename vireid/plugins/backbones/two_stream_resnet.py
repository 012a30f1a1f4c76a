"""A ResNet whose first stages have one copy per modality and whose later ones are shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torchvision
from torch import Tensor, nn

from vireid.boundary.weights import read_weights
from vireid.core.errors import VireidError
from vireid.core.types import Modality
from vireid.plugins.backbones.non_local import with_non_local
from vireid.plugins.backbones.streams import STAGES, TwoStreams, with_channels
from vireid.plugins.backbones.weights import fitting, published_weights


class TwoStreamResNet(TwoStreams):
    """torchvision's ResNet in two streams (TFFN section 2.1; DMCF section III-A).

    Stage 0 is the stem (convolution, BatchNorm, pooling), stages 1 to 4 are the four residual stages. Each stage
    before `shared_from` has one copy per modality and makes a `paired` feature; from there on weights are shared,
    BatchNorm sees all modalities at once, and the feature is `joint`. Its outputs are called `stage1` to `stage4`.
    Modalities of other than 3 channels get a first convolution of their own width; its pretrained weights are the sum
    over the three for 1 channel, and their mean times 3 / C for C channels: grey images give what they gave.

    Args:
        depth: 18, 34, 50 or 101 layers.
        shared_from: first shared stage, 0 (one network for both) to 5 (nothing shared).
        out_stages: stages whose maps are handed on, in rising order.
        last_stride: stride of stage 4; 1 keeps maps at 1/16 of the image, 2 is ImageNet's.
        weights: `imagenet` (torchvision's IMAGENET1K_V1, downloaded once), the path of a file with a ResNet of the same
            depth, below any key and behind any prefix, or None for random weights.
        pretrained: False ignores `weights`: the framework says so where a checkpoint is about to replace them.
        image_size: (H, W) of the images, from which the maps' sizes follow; None leaves them open.
        modalities: channels of the images by modality; 3 of visible and infrared ones if None. Each has a stream.
        streams: modalities without a stream of their own, and whose they take: {'x': 'visible'}.
        non_local: how many non-local blocks each of the four stages gets, from 0, behind its last residual blocks. A
            stage with fewer residual blocks gets one behind each: (0, 2, 3, 0), made for depth 50, is 0, 2, 2, 0 at 18.
        non_local_channels: channels inside them; None is half of those of the map. AGW's released code has 1.

    Raises:
        VireidError: if a stage does not exist, or the weights are out of reach or do not fit.
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
        non_local: Sequence[int] = (0, 0, 0, 0),
        non_local_channels: int | None = None,
    ) -> None:
        super().__init__(shared_from, out_stages, modalities, streams)
        if len(non_local) != len(STAGES) or min(non_local) < 0:
            raise VireidError(
                f'non_local is {tuple(non_local)}', allowed='four numbers from 0, one for each of the stages 1 to 4'
            )
        state = load_resnet_weights(depth, weights if pretrained else None)
        self.add_stages(lambda channels: _stages(depth, state, last_stride, channels))
        expansion = 4 if depth >= 50 else 1
        widths = {s: 64 * 2 ** (s - 1) * expansion for s in STAGES}
        strides = {1: 4, 2: 8, 3: 16, 4: 16 * last_stride}
        # each halving rounds up, so they add up to one division
        sizes = {
            s: (-(-image_size[0] // n), -(-image_size[1] // n)) if image_size else None for s, n in strides.items()
        }
        self.outputs = {f'stage{s}': self.spec(s, widths[s], sizes[s]) for s in self.out_stages}
        # last, so that they leave the random weights of the ResNet as they are without them
        for stages in [*self.streams.values(), self.shared]:
            for s, count in zip(STAGES, non_local, strict=True):
                if count and f'stage{s}' in stages:
                    stages[f'stage{s}'] = with_non_local(stages[f'stage{s}'], count, widths[s], non_local_channels)


def _stages(depth: int, state: dict[str, Tensor] | None, last_stride: int, channels: int) -> dict[str, nn.Module]:
    """Builds a ResNet for images of so many channels and takes it apart."""
    resnet = getattr(torchvision.models, f'resnet{depth}')()
    if state is not None:
        resnet.load_state_dict(state, strict=False)  # checked by load_resnet_weights; only `fc` may be absent
    with_channels(resnet.conv1, channels)
    if last_stride == 1:
        block = resnet.layer4[0]
        # the 3x3 convolution carries the stride: the first of a BasicBlock, the second of a Bottleneck
        (block.conv2 if depth >= 50 else block.conv1).stride = (1, 1)
        block.downsample[0].stride = (1, 1)
    stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
    return {'stage0': stem, **{f'stage{s}': getattr(resnet, f'layer{s}') for s in STAGES}}


def load_resnet_weights(depth: int, weights: str | None) -> dict[str, Tensor] | None:
    """Returns the state dict of a torchvision ResNet, complete but for the classifier.

    Raises:
        VireidError: if it cannot be downloaded or read, or is not of that depth.
    """
    if weights is None:
        return None
    if weights == 'imagenet':
        published = torchvision.models.get_model_weights(f'resnet{depth}').IMAGENET1K_V1
        allowed = "weights='imagenet', the path of a state dict, or None for random weights"
        state = published_weights(published, f'ImageNet weights of ResNet-{depth}', allowed)
    else:
        state = read_weights(Path(weights), "'imagenet', the path of a ResNet state dict, or None")
    own = getattr(torchvision.models, f'resnet{depth}')().state_dict()
    wanted = {name: tensor for name, tensor in own.items() if not name.startswith('fc.')}
    return fitting(state, wanted, weights, f'ResNet-{depth}', 'give weights of the same depth')
