"""A network with modality-specific early stages and shared later stages."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.types import MODALITIES, Context, FeatureSpec, Modality, joint_order
from vireid.errors import Mismatch, MissingKey, UnknownName, WrongValue
from vireid.plugins.backbones.inserts import Stage, add_inserts, require_stages

STAGES = (1, 2, 3, 4)


class TwoStreams(nn.Module):
    """Runs stage 0 (the stem) and stages 1 to 4 of a network.

    Each stage before `shared_from` has one copy per modality and outputs a `paired` feature. Later stages share their
    weights, their BatchNorm layers see all modalities together, and their features are `joint`. Features are named
    `stage1` to `stage4`. A subclass calls `add_stages`, then sets `outputs`.

    Args:
        shared_from: first shared stage, 0 (everything shared) to 5 (nothing shared).
        out_stages: stages whose maps are output.
        modalities: image channels by modality; None means 3 channels for visible and infrared.
        streams: modalities that use the stream of another modality, as in {'x': 'visible'}; the others have their own.

    Attributes:
        last: the last output stage; later stages are dropped.
        channels: image channels by modality.
        stream_of: the modality whose stream each modality uses.
        outputs: specs of the output features, by name.

    Raises:
        VireidError: if a stage, modality or stream does not exist, or modalities with different channels share a
            stream.
    """

    outputs: dict[str, FeatureSpec]

    def __init__(
        self,
        shared_from: int,
        out_stages: Sequence[int],
        modalities: Mapping[Modality, int] | None = None,
        streams: Mapping[Modality, Modality] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= shared_from <= 5:
            raise WrongValue(f'shared_from is {shared_from}', allowed='0 (all shared) to 5 (nothing shared)')
        if not out_stages or not set(out_stages) <= set(STAGES):
            raise WrongValue(f'out_stages is {tuple(out_stages)}', allowed='one or more of 1, 2, 3, 4')
        self.shared_from = shared_from
        self.out_stages = tuple(sorted(out_stages))
        self.last = self.out_stages[-1]
        self.channels = dict(modalities or dict.fromkeys(MODALITIES, 3))
        self.stream_of = _streams(self.channels, streams or {}, shared_from)
        self.streams: Any = nn.ModuleDict()
        self.shared: Any = nn.ModuleDict()
        self.copies = dict.fromkeys(range(5), 1)  # rows per image after each stage

    def add_stages(self, build: Callable[[int], Mapping[str, nn.Module]]) -> None:
        """Builds the streams in joint order, then the shared stages.

        Args:
            build: builds new modules `stage0` to `stage4` for images with the given number of channels. It is called
                once per stream and once more, so that random weights do not depend on what is kept; on the `meta`
                device, once per number of channels.
        """

        on_meta = torch.get_default_device().type == 'meta'
        build = functools.cache(build) if on_meta else build  # without values, copies are as good, and faster

        def kept(start: int, stop: int, channels: int) -> nn.ModuleDict:
            stages = build(channels)
            names = [f'stage{s}' for s in range(start, min(stop, self.last + 1))]
            return nn.ModuleDict({name: stages[name] for name in names})

        own = [m for m in joint_order(self.channels) if self.stream_of[m] == m]
        copies = {m: kept(0, self.shared_from, self.channels[m]) for m in own}
        if on_meta:
            copies = {m: copy.deepcopy(stages) for m, stages in copies.items()}
        self.streams = nn.ModuleDict(copies if self.shared_from else {})
        self.shared = kept(self.shared_from, 5, self.channels[own[0]])

    def add_inserts(
        self,
        inserts: Mapping[str, Any] | None,
        specs: Mapping[str, FeatureSpec],
        build_part: BuildPart | None,
        one_block: bool = False,
    ) -> None:
        """Builds the inserts and places them between the blocks of the stages; see `inserts.add_inserts`.

        Args:
            inserts: config of each insert.
            specs: spec of the output of each stage, as one tensor.
            build_part: builds an insert.
            one_block: whether an insert can only follow the last block of a stage.

        Raises:
            VireidError: if there is no `build_part`, no such stage, or an insert changes the shape of the map.
        """
        if not inserts:
            return
        if build_part is None:
            raise MissingKey('inserts need build_part, which builds them', todo='build the backbone from a config')
        places = [f'stage{s}' for s in STAGES if s <= self.last and f'stage{s}' in specs]
        require_stages(inserts, places, one_block, build_part.where)
        for stages in [*self.streams.values(), self.shared]:
            stages.update(add_inserts(stages, inserts, specs, build_part))
        for stage in range(self.last + 1):
            name = f'stage{stage}'
            stages = self.shared if stage >= self.shared_from else next(iter(self.streams.values()))
            copies = stages[name].copies if isinstance(stages[name], Stage) else 1
            self.copies[stage] = copies * (self.copies[stage - 1] if stage else 1)

    def spec(self, stage: int, channels: int, size: tuple[int, int] | None) -> FeatureSpec:
        """Returns the spec of a stage's output.

        Args:
            stage: the stage, 1 to 4.
            channels: channels of its map.
            size: (H, W) of its map, if known.
        """
        layout: Literal['joint', 'paired'] = 'joint' if stage >= self.shared_from else 'paired'
        return FeatureSpec(channels, 'map', layout, size, self.copies[stage])

    def as_map(self, stage: int, output: Tensor) -> Tensor:
        """Returns the output of a stage as a map (B, C, H, W); override it if stages output something else."""
        return output

    def forward(self, images: dict[Modality, Tensor]) -> dict[str, Tensor | dict[Modality, Tensor]]:
        """Maps {modality: (N_m, C_m, H, W)} to the maps of `out_stages`; joint maps have N = sum of N_m images.

        Raises:
            UnknownName: if a modality has no stream.
        """
        if self.shared_from > 0:
            unknown = set(images) - set(self.stream_of)
            if unknown:
                raise UnknownName(f'no stream for modality {sorted(unknown)}', allowed=', '.join(self.stream_of))
        order = joint_order(images)
        # modalities that share a stream run through it together, so its BatchNorm layers see all of them
        stream_of = {m: self.stream_of.get(m, m) for m in order}
        sharing = {own: [m for m in order if stream_of[m] == own] for own in stream_of.values()}

        def by_modality(by_stream: dict[Modality, Tensor], copies: int) -> dict[Modality, Tensor]:
            parts: dict[Modality, Tensor] = {}
            for own, members in sharing.items():
                # a single modality is not split: that would change the order in which gradients are summed
                sizes = [copies * images[m].shape[0] for m in members]
                split = by_stream[own].split(sizes) if len(members) > 1 else (by_stream[own],)
                parts.update(zip(members, split, strict=True))
            return {m: parts[m] for m in order}

        def run(stage: nn.Module, x: Tensor, members: Sequence[Modality], copies: int) -> Tensor:
            if not isinstance(stage, Stage):
                return stage(x)
            return stage(x, Context({m: copies * images[m].shape[0] for m in members}, copies=copies))

        paired = {own: _joined([images[m] for m in members]) for own, members in sharing.items()}
        outputs: dict[str, Tensor | dict[Modality, Tensor]] = {}
        joint = torch.cat([images[m] for m in order]) if self.shared_from == 0 else None
        for stage in range(self.last + 1):
            name, copies = f'stage{stage}', self.copies[stage - 1] if stage else 1
            if stage < self.shared_from:
                paired = {own: run(self.streams[own][name], x, sharing[own], copies) for own, x in paired.items()}
            else:
                joint = torch.cat(list(by_modality(paired, copies).values())) if joint is None else joint
                joint = run(self.shared[name], joint, order, copies)
            if stage not in self.out_stages:
                continue
            if joint is None:
                maps = {own: self.as_map(stage, x) for own, x in paired.items()}
                outputs[name] = by_modality(maps, self.copies[stage])
            else:
                outputs[name] = self.as_map(stage, joint)
        return outputs


def with_channels(convolution: nn.Conv2d, channels: int) -> None:
    """Changes a first convolution with 3 input channels to `channels`, 1 to 4, in place.

    Each weight becomes the sum over the three colors, divided by `channels`. With 4 channels, which are three colors
    and one more, the colors keep their weights and the fourth channel gets their mean, all times 3 / 4. Either way,
    images with equal channels keep their output.
    """
    if channels == 3:
        return
    colors = convolution.weight
    # a new convolution, although its weights are replaced, so that the random generator advances as for any other
    drawn = nn.Conv2d(channels, convolution.out_channels, convolution.kernel_size, bias=False)  # type: ignore[arg-type]
    convolution.in_channels, convolution.weight = channels, drawn.weight
    with torch.no_grad():
        gray = colors.sum(dim=1, keepdim=True)  # (C_out, 1, h, w)
        convolution.weight.copy_(gray.expand_as(convolution.weight) / channels)
        if channels == 4:
            convolution.weight[:, :3].copy_(0.75 * colors)


def _streams(
    channels: Mapping[Modality, int], given: Mapping[Modality, Modality], shared_from: int
) -> dict[Modality, Modality]:
    """Returns the modality whose stream each modality uses."""
    if wrong := {m: count for m, count in channels.items() if not 1 <= count <= 4}:
        raise WrongValue(f'images have channels {wrong}', allowed='1 to 4 channels per modality')
    stream_of = {m: given.get(m, m) for m in channels}
    for modality, other in given.items():
        if modality not in channels or stream_of.get(other) != other:
            raise UnknownName(
                f'streams: {modality!r} is set to the stream of {other!r}, but there is no '
                + (f'modality {modality!r}' if modality not in channels else f'stream {other!r}'),
                allowed=', '.join(f'{m!r}' for m in channels),
            )
    if shared_from and (own := [m for m in channels if m not in MODALITIES and m not in given]):
        raise MissingKey(
            f'streams does not name the stream of the modality {own[0]!r}',
            allowed=f'the stream of another modality, or its own stream, which is not used in evaluation: {own[0]!r}',
            todo=f"set model.backbone.streams, for example to {{'{own[0]}': 'visible'}}",
        )
    for modality in channels:
        other = stream_of[modality] if shared_from else next(iter(channels))
        if channels[modality] != channels[other]:
            raise Mismatch(
                f'{modality} images have {channels[modality]} channels, but {other} images have {channels[other]}',
                todo='use separate streams: shared_from=1 or more, and no entry in streams',
            )
    return stream_of


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]
