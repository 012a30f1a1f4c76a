"""Any network as a chain of modules, each applied to what the one before made, and cut into stages by stride."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.data.randomness import preserved

HEADS = ('classifier', 'fc', 'head', 'heads')


@dataclass(frozen=True)
class Link:
    """A module of the chain.

    Attributes:
        name: its name in the network.
        octave: how often it and those before it halve the image, rounded: 2 is stride 4.
        channels: of its map.
        channels_last: whether it makes (B, H, W, C).
    """

    name: str
    octave: int
    channels: int
    channels_last: bool


@dataclass(frozen=True)
class Chain:
    """The part of a network that is a chain.

    Attributes:
        links: its modules, in the order they run.
        broken: None if the network ends behind the last link, but for pooling and a classifier; else the first module
            there that makes a map or tokens.
    """

    links: tuple[Link, ...]
    broken: str | None

    def stages(self) -> dict[int, tuple[Link, ...]]:
        """Cuts the chain into stage 0 and those of stages 1 to 4 that it has.

        Stage s ends with the last link of stride 2 ** (s + 1); one behind which the chain is broken is not there, since
        more of it may follow. Stage 0 is what has stride 1 and 2. A network that starts with patches has no such links:
        there it is the patch embedding, which is the first link with the rest of its `nn.Sequential`. If all maps have
        one stride, what follows the stem is cut into four stages of equal depth.
        """
        links = list(self.links)
        stem = [link for link in links if link.octave < 2] or _patches(links)
        rest = links[len(stem) :]
        octaves = sorted({link.octave for link in links})
        if len(octaves) == 1 and octaves[0] > 1 and len(rest) >= 4 and not self.broken:
            return {0: tuple(stem), **{s: tuple(part) for s, part in enumerate(quarters(rest), 1)}}
        found = {s: tuple(link for link in rest if link.octave == s + 1) for s in (1, 2, 3, 4)}
        whole = links[-1].octave - 1 if links and self.broken else 5  # from there on stages are not complete
        return {0: tuple(stem), **{s: part for s, part in found.items() if part and s < whole}}


def quarters(items: list[Any]) -> list[list[Any]]:
    """Cuts at least four items into four parts whose lengths differ by one at most."""
    ends = [math.ceil(len(items) * k / 4) for k in range(5)]
    return [items[start:end] for start, end in pairwise(ends)]


def _patches(links: list[Link]) -> list[Link]:
    if not any(link.octave == links[0].octave for link in links[1:]):
        return []  # there would be nothing left of the first stage
    holder = links[0].name.rpartition('.')[0]
    beside = list(takewhile(lambda link: link.name.rpartition('.')[0] == holder, links))
    alike = beside[-1].octave == links[0].octave and len(beside) < len(links)
    return beside if holder and alike else links[:1]


@dataclass
class _Call:
    """One call of a module: what it was given and made, with the versions that in-place operations raise."""

    name: str
    module: nn.Module
    given: tuple[Any, ...]
    versions: tuple[int, ...]
    made: Any = None
    version: int = -1
    calls: list[_Call] = field(default_factory=list)

    def reads(self, tensor: Tensor, version: int) -> bool:
        """Whether it was given just this tensor, as it was at this version."""
        return len(self.given) == 1 and self.given[0] is tensor and self.versions[0] == version

    def walk(self) -> Iterator[_Call]:
        yield self
        for call in self.calls:
            yield from call.walk()


def find_chain(network: nn.Module, image: Tensor) -> Chain:
    """Runs one image through a network, in evaluation mode and without gradients, and follows it.

    A module is a link if it is given what the link before made and nothing else, and if nothing has been done to that
    in between, in place neither. The network itself and `nn.Sequential`s are opened, other modules are links as a
    whole. It ends before global pooling and the classifier, or where what is made is no map any more. Neither random
    generators nor running statistics move.

    Args:
        network: takes (B, C, H, W).
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
        made = _map_of(call.made, size, last.channels_last)
        if made is None or not call.reads(current, version) or made.octave < last.octave:
            makers = (inner.name for step in steps[position:] for inner in step.walk() if _has_places(inner.made, size))
            return Chain(tuple(links), next(makers, None))
        if made.octave > 5:
            break
        links.append(Link(call.name, made.octave, made.channels, made.channels_last))
        current, version = call.made, call.version
    return Chain(tuple(links), None)


def _record(network: nn.Module, image: Tensor) -> _Call:
    """Returns the call of the network with those of its modules."""
    names = {module: name for name, module in network.named_modules()}
    root = _Call('', network, (image,), (image._version,))
    stack = [root]

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = tuple(x for x in (*args, *kwargs.values()) if x is not None)
        versions = tuple(x._version if isinstance(x, Tensor) else -1 for x in given)
        call = _Call(names[module], module, given, versions)
        stack[-1].calls.append(call)
        stack.append(call)

    def after(module: nn.Module, args: Any, made: Any) -> None:
        call = stack.pop()
        call.made, call.version = made, made._version if isinstance(made, Tensor) else -1

    inner = [module for module in names if module is not network]
    hooks = [module.register_forward_pre_hook(before, with_kwargs=True) for module in inner]
    hooks += [module.register_forward_hook(after) for module in inner]
    training = network.training
    network.eval()
    try:
        with preserved(), torch.no_grad():
            root.made = network(image)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return root


def _steps(call: _Call) -> Iterator[_Call]:
    """Yields the calls within one, those of `nn.Sequential`s instead of themselves."""
    for inner in call.calls:
        plain: Callable[..., Any] = nn.Sequential.forward
        if type(inner.module).forward is plain and inner.calls and not _is_end(inner):
            yield from _steps(inner)
        else:
            yield inner


def _is_end(call: _Call) -> bool:
    name = type(call.module).__name__
    return call.name in HEADS or name.startswith(('AdaptiveAvgPool', 'AdaptiveMaxPool', 'SelectAdaptivePool'))


def _has_places(made: Any, image: tuple[int, int]) -> bool:
    """Whether something still tells places of the image apart: a map, or tokens (1, N, C)."""
    if isinstance(made, Tensor) and made.dim() == 3:
        return made.shape[0] == 1 < min(made.shape[1:])
    found = _map_of(made, image)
    return found is not None and found.octave <= 5


@dataclass(frozen=True)
class _Map:
    octave: int
    channels: int
    channels_last: bool


def _map_of(made: Any, image: tuple[int, int], before: bool = False) -> _Map | None:
    """Returns what a tensor is as a map of an image of (H, W), None if it is none.

    The order of its axes is the one that keeps the shape of the image. If both do about equally well, it is that of the
    map `before`: whether that had channels last.
    """
    if not isinstance(made, Tensor) or made.dim() != 4 or made.shape[0] != 1:
        return None
    first, second, third = made.shape[1:]
    orders = {False: (second, third, first), True: (first, second, third)}
    found: dict[float, _Map] = {}
    for channels_last in (not before, before):
        height, width, channels = orders[channels_last]
        if height * width > 1 and height <= image[0] and width <= image[1]:
            octaves = math.log2(image[0] / height), math.log2(image[1] / width)
            distortion = abs(octaves[0] - octaves[1]) - (0.1 if channels_last == before else 0)
            found[distortion] = _Map(round(octaves[0]), channels, channels_last)
    least = min(found, default=math.inf)
    return found[least] if least < 0.6 else None  # sizes are rounded
