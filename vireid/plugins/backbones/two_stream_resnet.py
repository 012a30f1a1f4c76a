"""A ResNet whose first stages have one copy per modality and whose later ones are shared."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import MODALITIES, FeatureSpec, Modality, joint_order
from vireid.plugins.backbones.non_local import with_non_local

STAGES = (1, 2, 3, 4)


class TwoStreamResNet(nn.Module):
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
        weights: `imagenet` (torchvision's IMAGENET1K_V1, downloaded once), the path of a ResNet state dict of the
            same depth, or None for random weights.
        pretrained: False ignores `weights`: the framework says so where a checkpoint is about to replace them.
        image_size: (H, W) of the images, from which the maps' sizes follow; None leaves them open.
        modalities: channels of the images by modality; 3 of visible and infrared ones if None. Each has a stream.
        streams: modalities without a stream of their own, and whose they take: {'x': 'visible'}.
        non_local: how many non-local blocks each of the four stages gets, from 0, behind its last residual blocks. A
            stage with fewer residual blocks gets one behind each: (0, 2, 3, 0), made for depth 50, is 0, 2, 2, 0 at 18.

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
    ) -> None:
        super().__init__()
        if not 0 <= shared_from <= 5:
            raise VireidError(f'shared_from is {shared_from}', allowed='0 (all shared) to 5 (nothing shared)')
        if not out_stages or not set(out_stages) <= set(STAGES):
            raise VireidError(f'out_stages is {tuple(out_stages)}', allowed='one or more of 1, 2, 3, 4')
        if len(non_local) != len(STAGES) or min(non_local) < 0:
            raise VireidError(
                f'non_local is {tuple(non_local)}', allowed='four numbers from 0, one for each of the stages 1 to 4'
            )
        self.shared_from = shared_from
        self.out_stages = tuple(sorted(out_stages))
        self.last = self.out_stages[-1]  # later stages are not built
        state = load_resnet_weights(depth, weights if pretrained else None)
        channels = dict(modalities or dict.fromkeys(MODALITIES, 3))
        self.stream_of = self._streams(channels, streams or {}, shared_from)
        own = [m for m in joint_order(channels) if self.stream_of[m] == m]
        self.streams: Any = nn.ModuleDict(
            {m: self._stages(depth, state, last_stride, 0, shared_from, channels[m]) for m in own}
        )
        if shared_from == 0:
            self.streams = nn.ModuleDict()
        self.shared: Any = self._stages(depth, state, last_stride, shared_from, 5, channels[own[0]])
        expansion = 4 if depth >= 50 else 1
        strides = {1: 4, 2: 8, 3: 16, 4: 16 * last_stride}
        self.outputs = {
            f'stage{s}': FeatureSpec(
                channels=64 * 2 ** (s - 1) * expansion,
                kind='map',
                layout='joint' if s >= shared_from else 'paired',
                # each halving rounds up, so they add up to one division
                size=(-(-image_size[0] // strides[s]), -(-image_size[1] // strides[s])) if image_size else None,
            )
            for s in self.out_stages
        }
        # last, so that they leave the random weights of the ResNet as they are without them
        for stages in [*self.streams.values(), self.shared]:
            for s, count in zip(STAGES, non_local, strict=True):
                if count and f'stage{s}' in stages:
                    width = 64 * 2 ** (s - 1) * expansion
                    stages[f'stage{s}'] = with_non_local(stages[f'stage{s}'], count, width)

    @staticmethod
    def _streams(
        channels: Mapping[Modality, int], given: Mapping[Modality, Modality], shared_from: int
    ) -> dict[Modality, Modality]:
        """Returns whose stream each modality takes."""
        if wrong := {m: count for m, count in channels.items() if not 1 <= count <= 4}:
            raise VireidError(f'images have channels {wrong}', allowed='1 to 4 of each modality')
        stream_of = {m: given.get(m, m) for m in channels}
        for modality, other in given.items():
            if modality not in channels or stream_of.get(other) != other:
                raise VireidError(
                    f'streams: {modality!r} takes the stream of {other!r}, and there is no such '
                    + ('modality' if modality not in channels else 'stream'),
                    allowed=', '.join(f'{m!r}' for m in channels),
                )
        for modality in channels:
            other = stream_of[modality] if shared_from else next(iter(channels))
            if channels[modality] != channels[other]:
                raise VireidError(
                    f'{modality} images have {channels[modality]} channels and {other} ones {channels[other]}',
                    todo='give it a stream of its own: shared_from=1 or more, and no entry in streams',
                )
        return stream_of

    def _stages(
        self, depth: int, state: dict | None, last_stride: int, start: int, stop: int, channels: int
    ) -> nn.ModuleDict:
        resnet = getattr(torchvision.models, f'resnet{depth}')()
        if state is not None:
            resnet.load_state_dict(state, strict=False)  # checked by load_resnet_weights; only `fc` may be absent
        if channels != 3:
            rgb = resnet.conv1
            resnet.conv1 = nn.Conv2d(channels, rgb.out_channels, rgb.kernel_size, rgb.stride, rgb.padding, bias=False)
            with torch.no_grad():
                grey = rgb.weight.sum(dim=1, keepdim=True)  # (64, 1, 7, 7)
                resnet.conv1.weight.copy_(grey.expand_as(resnet.conv1.weight) / channels)
        if last_stride == 1:
            block = resnet.layer4[0]
            # the 3x3 convolution carries the stride: the first of a BasicBlock, the second of a Bottleneck
            (block.conv2 if depth >= 50 else block.conv1).stride = (1, 1)
            block.downsample[0].stride = (1, 1)
        stages = {
            'stage0': nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool),
            **{f'stage{s}': getattr(resnet, f'layer{s}') for s in STAGES},
        }
        return nn.ModuleDict({f'stage{s}': stages[f'stage{s}'] for s in range(start, min(stop, self.last + 1))})

    def forward(self, images: dict[Modality, Tensor]) -> dict[str, Tensor | dict[Modality, Tensor]]:
        """Maps {modality: (N_m, 3, H, W)} to the maps of `out_stages`, joint ones with N = sum of N_m."""
        if self.shared_from > 0:
            unknown = set(images) - set(self.stream_of)
            if unknown:
                raise VireidError(f'no stream for modality {sorted(unknown)}', allowed=', '.join(self.stream_of))
        order = joint_order(images)
        # modalities of one stream go through it together: BatchNorm sees them all
        stream_of = {m: self.stream_of.get(m, m) for m in order}
        sharing = {own: [m for m in order if stream_of[m] == own] for own in stream_of.values()}

        def by_modality(found: dict[Modality, Tensor]) -> dict[Modality, Tensor]:
            parts: dict[Modality, Tensor] = {}
            for own, members in sharing.items():
                # one alone is not split: gradients would be added up in another order
                sizes = [images[m].shape[0] for m in members]
                cut = found[own].split(sizes) if len(members) > 1 else (found[own],)
                parts.update(zip(members, cut, strict=True))
            return {m: parts[m] for m in order}

        paired = {own: _joined([images[m] for m in members]) for own, members in sharing.items()}
        outputs: dict[str, Tensor | dict[Modality, Tensor]] = {}
        joint = torch.cat([images[m] for m in order]) if self.shared_from == 0 else None
        for stage in range(self.last + 1):
            name = f'stage{stage}'
            if stage < self.shared_from:
                paired = {own: self.streams[own][name](x) for own, x in paired.items()}
            else:
                joint = self.shared[name](torch.cat(list(by_modality(paired).values())) if joint is None else joint)
            if stage in self.out_stages:
                outputs[name] = by_modality(paired) if joint is None else joint
        return outputs


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def load_resnet_weights(depth: int, weights: str | None) -> dict[str, Tensor] | None:
    """Returns the state dict of a torchvision ResNet, complete but for the classifier.

    Raises:
        VireidError: if it cannot be downloaded or read, or is not of that depth.
    """
    if weights is None:
        return None
    state = _imagenet(depth) if weights == 'imagenet' else _read(Path(weights), 'give the path of another file')
    own = getattr(torchvision.models, f'resnet{depth}')().state_dict()
    fits = {k for k, v in own.items() if isinstance(state, dict) and k in state and state[k].shape == v.shape}
    wanted = {k for k in own if not k.startswith('fc.')}
    if not wanted <= fits:
        lacking = sorted(wanted - fits)
        raise VireidError(
            f'backbone weights {weights!r} do not fit ResNet-{depth}: {len(wanted) - len(lacking)} of {len(wanted)} '
            f'tensors fit; {lacking[0]} does not',
            todo='give weights of the same depth',
        )
    return {k: state[k] for k in wanted}


def _imagenet(depth: int) -> dict[str, Tensor]:
    """Returns torchvision's weights: from the folder where torch keeps them, or downloaded into it."""
    published = torchvision.models.get_model_weights(f'resnet{depth}').IMAGENET1K_V1
    path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(published.url).name
    if path.exists():
        return _read(path, f'delete it and put another copy there, of {published.url}')
    try:
        return published.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # the network may fail in any way
        raise VireidError(
            f'ImageNet weights of ResNet-{depth} are not in {path.parent} and cannot be downloaded: {error}',
            allowed="weights='imagenet', the path of a state dict, or None for random weights",
            todo=f'on a machine with internet get {published.url}, then put it into that folder, or name its path: '
            f'--cfg-options model.backbone.weights={path.name}',
        ) from error


def _read(path: Path, todo: str) -> dict[str, Tensor]:
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # a damaged file may fail in any way
        raise VireidError(
            f'backbone weights {str(path)!r} cannot be read: {_what_is_wrong(path, error)}',
            allowed="'imagenet', the path of a ResNet state dict saved by torch.save, or None",
            todo=todo,
        ) from error


def _what_is_wrong(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    with path.open('rb') as file:
        head = file.read(256).lstrip().lower()
    if not head:
        return 'it is empty'
    if head.startswith((b'<!doctype', b'<html', b'<?xml')):
        return 'it is a web page'
    if head.startswith(b'pk') and not zipfile.is_zipfile(path):
        return 'its end is missing, as of a download that broke off'
    # for a foreign file torch advises to load it unsafely; we do not
    foreign = isinstance(error, pickle.UnpicklingError) or not str(error)
    return 'it holds no tensors' if foreign else str(error).splitlines()[0]
