"""Stages of a network that modalities go through apart, each in a copy of its own, and then together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import MODALITIES, FeatureSpec, Modality, joint_order

STAGES = (1, 2, 3, 4)


class TwoStreams(nn.Module):
    """Runs stage 0, the stem, and stages 1 to 4 of a network.

    Each stage before `shared_from` has one copy per modality and makes a `paired` feature; from there on weights are
    shared, BatchNorm sees all modalities at once, and the feature is `joint`. Features are called `stage1` to `stage4`.
    A network calls `add_stages`, then sets `outputs`.

    Args:
        shared_from: first shared stage, 0 (one network for all) to 5 (nothing shared).
        out_stages: stages whose maps are handed on.
        modalities: channels of the images by modality; 3 of visible and infrared ones if None. Each has a stream.
        streams: modalities without a stream of their own, and whose they take: {'x': 'visible'}.

    Attributes:
        last: the last stage that is handed on; later ones are not kept.
        channels: channels of the images by modality.
        stream_of: whose stream each modality takes.
        outputs: what is handed on, by name.

    Raises:
        VireidError: for a stage, modality or stream that does not exist, or channels that cannot share a stream.
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
            raise VireidError(f'shared_from is {shared_from}', allowed='0 (all shared) to 5 (nothing shared)')
        if not out_stages or not set(out_stages) <= set(STAGES):
            raise VireidError(f'out_stages is {tuple(out_stages)}', allowed='one or more of 1, 2, 3, 4')
        self.shared_from = shared_from
        self.out_stages = tuple(sorted(out_stages))
        self.last = self.out_stages[-1]
        self.channels = dict(modalities or dict.fromkeys(MODALITIES, 3))
        self.stream_of = _streams(self.channels, streams or {}, shared_from)
        self.streams: Any = nn.ModuleDict()
        self.shared: Any = nn.ModuleDict()

    def add_stages(self, build: Callable[[int], Mapping[str, nn.Module]]) -> None:
        """Builds the streams in joint order, then the shared stages.

        Args:
            build: makes `stage0` to `stage4` for images of so many channels, anew at each call. It is called for every
                stream and once more, also where none of what it makes is kept: random weights depend on it.
        """

        def kept(start: int, stop: int, channels: int) -> nn.ModuleDict:
            made = build(channels)
            names = [f'stage{s}' for s in range(start, min(stop, self.last + 1))]
            return nn.ModuleDict({name: made[name] for name in names})

        own = [m for m in joint_order(self.channels) if self.stream_of[m] == m]
        copies = {m: kept(0, self.shared_from, self.channels[m]) for m in own}
        self.streams = nn.ModuleDict(copies if self.shared_from else {})
        self.shared = kept(self.shared_from, 5, self.channels[own[0]])

    def spec(self, stage: int, channels: int, size: tuple[int, int] | None) -> FeatureSpec:
        """Returns what a stage hands on."""
        return FeatureSpec(channels, 'map', 'joint' if stage >= self.shared_from else 'paired', size)

    def as_map(self, stage: int, made: Tensor) -> Tensor:
        """Returns what a stage made as a map (B, C, H, W); for networks that make it otherwise."""
        return made

    def forward(self, images: dict[Modality, Tensor]) -> dict[str, Tensor | dict[Modality, Tensor]]:
        """Maps {modality: (N_m, C_m, H, W)} to the maps of `out_stages`, joint ones with N = sum of N_m."""
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
            if stage not in self.out_stages:
                continue
            if joint is None:
                outputs[name] = by_modality({own: self.as_map(stage, x) for own, x in paired.items()})
            else:
                outputs[name] = self.as_map(stage, joint)
        return outputs


def with_channels(convolution: nn.Conv2d, channels: int) -> None:
    """Makes a first convolution of 3 channels one of `channels`, 1 to 4; 3 leave it as it is.

    Its weights become the sum over the three colours, times 1 / channels: the sum for 1 channel, the mean times 3 / C
    for C of them. Images that are equal in all channels give what they gave.
    """
    if channels == 3:
        return
    colours = convolution.weight
    # drawn as torch draws them, though they are replaced: random weights after it are those of any new convolution
    drawn = nn.Conv2d(channels, convolution.out_channels, convolution.kernel_size, bias=False)  # type: ignore[arg-type]
    convolution.in_channels, convolution.weight = channels, drawn.weight
    with torch.no_grad():
        grey = colours.sum(dim=1, keepdim=True)  # (C_out, 1, h, w)
        convolution.weight.copy_(grey.expand_as(convolution.weight) / channels)


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


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]
