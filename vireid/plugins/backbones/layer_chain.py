"""Views a network as a chain of modules, each applied to the output of the previous one, and splits it by stride."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any

import torch
from torch import Tensor, nn

from vireid.runtime.randomness import preserved

HEADS = ('classifier', 'fc', 'head', 'heads')


@dataclass(frozen=True)
class Link:
    """A module of the chain.

    Attributes:
        name: its name in the network.
        octave: log2 of the stride of its output, rounded: 2 is stride 4.
        channels: channels of its output.
        channels_last: whether its output is (B, H, W, C).
    """

    name: str
    octave: int
    channels: int
    channels_last: bool


@dataclass(frozen=True)
class LayerChain:
    """The part of a network that is a chain.

    Attributes:
        links: its modules, in execution order.
        broken: None if only pooling and a classifier follow the last link; otherwise the first module after it that
            outputs a map or tokens.
    """

    links: tuple[Link, ...]
    broken: str | None

    def stages(self) -> dict[int, tuple[Link, ...]]:
        """Splits the chain into stage 0 and those of stages 1 to 4 that it has.

        Stage s ends with the last link of stride 2 ** (s + 1). A stage in which the chain breaks is dropped, since it
        may be incomplete. Stage 0 consists of the links with strides 1 and 2. A network that starts with a patch
        embedding has no such links; there, stage 0 is the first link and the rest of its `nn.Sequential`. If all maps
        have the same stride, the links after stage 0 are split into four stages of equal depth.
        """
        links = list(self.links)
        stem = [link for link in links if link.octave < 2] or _patches(links)
        rest = links[len(stem) :]
        octaves = sorted({link.octave for link in links})
        if len(octaves) == 1 and octaves[0] > 1 and len(rest) >= 4 and not self.broken:
            return {0: tuple(stem), **{s: tuple(part) for s, part in enumerate(quarters(rest), 1)}}
        by_stride = {s: tuple(link for link in rest if link.octave == s + 1) for s in (1, 2, 3, 4)}
        incomplete = links[-1].octave - 1 if links and self.broken else 5  # first stage that may be incomplete
        return {0: tuple(stem), **{s: part for s, part in by_stride.items() if part and s < incomplete}}


def quarters(items: list[Any]) -> list[list[Any]]:
    """Splits at least four items into four parts whose lengths differ by at most one."""
    ends = [math.ceil(len(items) * k / 4) for k in range(5)]
    return [items[start:end] for start, end in pairwise(ends)]


def _patches(links: list[Link]) -> list[Link]:
    if not any(link.octave == links[0].octave for link in links[1:]):
        return []  # the first stage would be empty
    holder = links[0].name.rpartition('.')[0]
    beside = list(takewhile(lambda link: link.name.rpartition('.')[0] == holder, links))
    alike = beside[-1].octave == links[0].octave and len(beside) < len(links)
    return beside if holder and alike else links[:1]


@dataclass
class _Call:
    """One call of a module: inputs and output, with their versions, which in-place operations increment."""

    name: str
    module: nn.Module
    given: tuple[Any, ...]
    versions: tuple[int, ...]
    output: Any = None
    version: int = -1
    calls: list[_Call] = field(default_factory=list)

    def reads(self, tensor: Tensor, version: int) -> bool:
        """Returns whether its only input is this tensor at this version."""
        return len(self.given) == 1 and self.given[0] is tensor and self.versions[0] == version

    def walk(self) -> Iterator[_Call]:
        yield self
        for call in self.calls:
            yield from call.walk()


def find_chain(network: nn.Module, image: Tensor) -> LayerChain:
    """Runs one image through a network, in eval mode and without gradients, and records the chain of modules.

    A module is a link if its only input is the unmodified output of the previous link; in-place changes count as
    modifications. The network itself and each `nn.Sequential` are expanded; any other module is one link. The chain
    ends before global pooling and the classifier, or where an output is not a map. Random generators and running
    statistics are not changed.

    Args:
        network: maps (B, C, H, W) images.
        image: (1, C, H, W), on the network's device.
    """
    root = _record(network, image)
    size = (image.shape[2], image.shape[3])
    links: list[Link] = []
    current, version = image, image._version
    steps = list(_steps(root))
    for position, call in enumerate(steps):
        if _is_end(call):
            break
        last = links[-1] if links else Link('', 0, image.shape[1], False)
        output = _map_of(call.output, size, last.channels_last)
        if output is None or not call.reads(current, version) or output.octave < last.octave:
            later = (inner for step in steps[position:] for inner in step.walk())
            return LayerChain(tuple(links), next((call.name for call in later if _is_spatial(call.output, size)), None))
        if output.octave > 5:
            break
        links.append(Link(call.name, output.octave, output.channels, output.channels_last))
        current, version = call.output, call.version
    return LayerChain(tuple(links), None)


def _record(network: nn.Module, image: Tensor) -> _Call:
    """Returns the call of the network, which holds the calls of its modules."""
    names = {module: name for name, module in network.named_modules()}
    root = _Call('', network, (image,), (image._version,))
    stack = [root]

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = tuple(x for x in (*args, *kwargs.values()) if x is not None)
        versions = tuple(x._version if isinstance(x, Tensor) else -1 for x in given)
        call = _Call(names[module], module, given, versions)
        stack[-1].calls.append(call)
        stack.append(call)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        call = stack.pop()
        call.output, call.version = output, output._version if isinstance(output, Tensor) else -1

    inner = [module for module in names if module is not network]
    hooks = [module.register_forward_pre_hook(before, with_kwargs=True) for module in inner]
    hooks += [module.register_forward_hook(after) for module in inner]
    training = network.training
    network.eval()
    try:
        with preserved(), torch.no_grad():
            root.output = network(image)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return root


def _steps(call: _Call) -> Iterator[_Call]:
    """Yields the calls within a call, expanding each `nn.Sequential`."""
    for inner in call.calls:
        plain: Callable[..., Any] = nn.Sequential.forward
        if type(inner.module).forward is plain and inner.calls and not _is_end(inner):
            yield from _steps(inner)
        else:
            yield inner


def _is_end(call: _Call) -> bool:
    name = type(call.module).__name__
    return call.name in HEADS or name.startswith(('AdaptiveAvgPool', 'AdaptiveMaxPool', 'SelectAdaptivePool'))


def _is_spatial(output: Any, image: tuple[int, int]) -> bool:
    """Returns whether an output has spatial positions: a map, or tokens (1, N, C)."""
    if isinstance(output, Tensor) and output.dim() == 3:
        return output.shape[0] == 1 < min(output.shape[1:])
    as_map = _map_of(output, image)
    return as_map is not None and as_map.octave <= 5


@dataclass(frozen=True)
class _Map:
    octave: int
    channels: int
    channels_last: bool


def _map_of(output: Any, image: tuple[int, int], before: bool = False) -> _Map | None:
    """Returns an output as a map of the image, or None if it is not a map.

    The axis order is the one that best preserves the aspect ratio of the image. If both do about equally well, the
    order of the previous map is used.

    Args:
        output: the output of a module.
        image: (H, W) of the image.
        before: whether the previous map was channels-last.
    """
    if not isinstance(output, Tensor) or output.dim() != 4 or output.shape[0] != 1:
        return None
    first, second, third = output.shape[1:]
    orders = {False: (second, third, first), True: (first, second, third)}
    candidates: dict[float, _Map] = {}
    for channels_last in (not before, before):
        height, width, channels = orders[channels_last]
        if height * width > 1 and height <= image[0] and width <= image[1]:
            octaves = math.log2(image[0] / height), math.log2(image[1] / width)
            distortion = abs(octaves[0] - octaves[1]) - (0.1 if channels_last == before else 0)
            candidates[distortion] = _Map(round(octaves[0]), channels, channels_last)
    least = min(candidates, default=math.inf)
    return candidates[least] if least < 0.6 else None  # above 0: sizes are rounded
