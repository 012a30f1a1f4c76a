"""How the tensors of the released AGW and DDAG checkpoints map to those of vireid."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CLASSIFIER = 'classifier.weight'
# parts of both networks that are never run, with the reason
STEMS = 'of the complete ResNets in the file, only the two stems and the shared stages are used'
IDLE = {
    r'(visible_module\.visible|thermal_module\.thermal)\.(layer\d|fc)\..*': STEMS,
    r'base_resnet\.base\.(conv1|bn1|fc)\..*': STEMS,
}


def copy(tensor: Tensor) -> Tensor:
    """Returns the tensor unchanged."""
    return tensor


def without_bias(mean: Tensor, bias: Tensor) -> Tensor:
    """Folds the bias of a convolution into the mean of the next BatchNorm: (Wx + b) - mean = Wx - (mean - b)."""
    return (mean.double() - bias.double()).to(mean.dtype)


def linear(convolution: Tensor) -> Tensor:
    """Turns the weight of a 1 x 1 convolution, (D, C, 1, 1), into that of a linear layer, (D, C)."""
    return convolution.squeeze(3).squeeze(2)


def projections(*weights: Tensor) -> Tensor:
    """Turns the W of M heads, (C, D) each for x @ W, into the weight of one linear layer, (M * D, C)."""
    return torch.cat([weight.t() for weight in weights])


def attentions(*vectors: Tensor) -> Tensor:
    """Turns the a of M heads, (2 * D, 1) each with the half of the node first, into (M, 2, D)."""
    return torch.stack([vector.reshape(2, -1) for vector in vectors])


@dataclass(frozen=True)
class Rule:
    """How to compute tensors of our network from those of a released file.

    Attributes:
        ours: pattern of our names, in which non-local blocks are numbered within their stage from 0.
        theirs: names in the released file, which may refer to groups of the pattern.
        make: computes our tensor from theirs.
    """

    ours: str
    theirs: tuple[str, ...]
    make: Callable[..., Tensor] = copy


@dataclass(frozen=True)
class ReleasedSystem:
    """The released files of a system.

    Attributes:
        rules: the first rule that matches a name applies.
        idle: patterns of tensors that their network never runs, with the reason.
        constants: values that are constants in their code and tensors in our network.
        training: pattern of our tensors that are used only in training and are in no file.
    """

    rules: tuple[Rule, ...]
    idle: Mapping[str, str]
    constants: Mapping[str, float]
    training: str = r'weighter\..*'


BACKBONE = (
    Rule(r'backbone\.streams\.visible\.stage0\.0\.(.*)', (r'visible_module.visible.conv1.\1',)),
    Rule(r'backbone\.streams\.visible\.stage0\.1\.(.*)', (r'visible_module.visible.bn1.\1',)),
    Rule(r'backbone\.streams\.infrared\.stage0\.0\.(.*)', (r'thermal_module.thermal.conv1.\1',)),
    Rule(r'backbone\.streams\.infrared\.stage0\.1\.(.*)', (r'thermal_module.thermal.bn1.\1',)),
    Rule(r'backbone\.shared\.stage(\d)\.(\d+\..*)', (r'base_resnet.base.layer\1.\2',)),
)
NON_LOCAL = r'backbone\.shared\.stage(\d)\.non_local(\d+)\.'
HEADS = range(4)  # heads of DDAG's graph attention
SYSTEMS = {
    'agw': ReleasedSystem(
        (
            *BACKBONE,
            Rule(NON_LOCAL + r'(theta|phi)\.(.*)', (r'NL_\1.\2.\3.\4',)),
            Rule(NON_LOCAL + r'g\.(.*)', (r'NL_\1.\2.g.0.\3',)),
            Rule(NON_LOCAL + r'W\.weight', (r'NL_\1.\2.W.0.weight',)),
            # their W has a bias; ours does not
            Rule(NON_LOCAL + r'norm\.running_mean', (r'NL_\1.\2.W.1.running_mean', r'NL_\1.\2.W.0.bias'), without_bias),
            Rule(NON_LOCAL + r'norm\.(.*)', (r'NL_\1.\2.W.1.\3',)),
            Rule(r'tasks\.stage4\.head\.branch\.bnneck\.(.*)', (r'bottleneck.\1',)),
            Rule(r'tasks\.stage4\.head\.branch\.classifier\.weight', (CLASSIFIER,)),
        ),
        IDLE,
        {'tasks.stage4.head.pool.p': 3.0},
    ),
    'ddag': ReleasedSystem(
        (
            *BACKBONE,
            Rule(r'tasks\.stage4\.head\.bnneck\.(.*)', (r'bottleneck.\1',)),
            Rule(r'tasks\.stage4\.head\.classifier\.weight', (CLASSIFIER,)),
            Rule(r'tasks\.stage4\.head\.u\.weight', ('wpa.fc1.0.weight',), linear),
            Rule(r'tasks\.stage4\.head\.u\.bias', ('wpa.fc1.0.bias',)),
            Rule(r'tasks\.stage4\.head\.v\.weight', ('wpa.fc2.weight',), linear),
            Rule(r'tasks\.stage4\.head\.v\.bias', ('wpa.fc2.bias',)),
            Rule(r'tasks\.stage4\.head\.z\.weight', ('wpa.fc3.weight',), linear),
            Rule(r'tasks\.stage4\.head\.z\.bias', ('wpa.fc3.bias',)),
            Rule(r'tasks\.stage4\.head\.gate', ('wpa.gate',)),
            Rule(r'tasks\.stage4\.head\.refined_bnneck\.(.*)', (r'wpa.bottleneck.\1',)),
            Rule(r'necks\.graph\.layer\.project\.weight', tuple(f'attention_{m}.W' for m in HEADS), projections),
            Rule(r'necks\.graph\.layer\.a', tuple(f'attention_{m}.a' for m in HEADS), attentions),
            Rule(r'tasks\.graph\.head\.layer\.project\.weight', ('out_att.W',), projections),
            Rule(r'tasks\.graph\.head\.layer\.a', ('out_att.a',), attentions),
        ),
        {
            **IDLE,
            r'classifier[12]\.weight': 'declared but never run',
            r'wpa\.W\..*': 'declared but never run',
        },
        {},
    ),
}


def number_non_local(names: Collection[str]) -> dict[str, str]:
    """Maps our names to names in which non-local blocks are numbered within their stage, not by their position."""
    places: dict[str, list[int]] = {}
    for name in names:
        if match := re.match(NON_LOCAL, name):
            places.setdefault(match[1], []).append(int(match[2]))
    numbered = {}
    for name in names:
        match = re.match(NON_LOCAL, name)
        first = min(places[match[1]]) if match else 0
        numbered[name] = f'{name[: match.start(2)]}{int(match[2]) - first}{name[match.end(2) :]}' if match else name
    return numbered


def find_rule(rules: Sequence[Rule], name: str) -> tuple[list[str], Callable[..., Tensor]]:
    """Returns the names in the released file for a tensor of ours, and the function that computes it.

    Without a matching rule, the list is empty.
    """
    for rule in rules:
        if match := re.fullmatch(rule.ours, name):
            return [match.expand(theirs) for theirs in rule.theirs], rule.make
    return [], copy
