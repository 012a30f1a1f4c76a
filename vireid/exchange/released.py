"""The authors' released checkpoints of AGW and DDAG as checkpoints of vireid.

Each tensor of our network is made of tensors of theirs, by the table of its system. Nothing of a file is executed, and
nothing is passed over in silence: what a file holds is used, or is among what its own network never runs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vireid.boundary.weights import Shapes, find_weights, is_checkpoint, read_weights
from vireid.core.config.experiment import Experiment
from vireid.core.errors import VireidError
from vireid.core.training import checkpoint as checkpoints
from vireid.core.training.state import versions
from vireid.core.wording import counted
from vireid.launch.preflight import on_meta
from vireid.launch.resolve import resolve
from vireid.plugin_manager.manager import create_manager

CLASSIFIER = 'classifier.weight'
CHANNELS = 'model.backbone.non_local_channels'
# what their network holds and never runs, by why; the same in both systems
STEMS = 'each stem is a whole ResNet of which only the stem is run, and the shared part one without its stem'
IDLE = {
    r'(visible_module\.visible|thermal_module\.thermal)\.(layer\d|fc)\..*': STEMS,
    r'base_resnet\.base\.(conv1|bn1|fc)\..*': STEMS,
}


def same(tensor: Tensor) -> Tensor:
    """Takes a tensor as it is."""
    return tensor


def without_bias(mean: Tensor, bias: Tensor) -> Tensor:
    """Takes the bias of a convolution into the BatchNorm behind it: (Wx + b) - mean = Wx - (mean - b)."""
    return (mean.double() - bias.double()).to(mean.dtype)


def linear(convolution: Tensor) -> Tensor:
    """(D, C, 1, 1), a convolution of one cell, to the (D, C) of a linear layer."""
    return convolution.squeeze(3).squeeze(2)


def projections(*weights: Tensor) -> Tensor:
    """Heads' W, (C, D) each and multiplied from the right, to one linear layer of all heads, (M * D, C)."""
    return torch.cat([weight.t() for weight in weights])


def attentions(*vectors: Tensor) -> Tensor:
    """Heads' a, (2 * D, 1) each with the node's own half first, to (M, 2, D)."""
    return torch.stack([vector.reshape(2, -1) for vector in vectors])


@dataclass(frozen=True)
class Rule:
    """What some tensors of our network are made of.

    Attributes:
        ours: pattern of their names, a non-local block called by its number within the stage, from 0.
        theirs: names in the released file, with what the pattern's groups found.
        make: turns those tensors into ours.
    """

    ours: str
    theirs: tuple[str, ...]
    make: Callable[..., Tensor] = same


@dataclass(frozen=True)
class System:
    """How a system was released.

    Attributes:
        rules: the first that fits a name holds.
        idle: patterns of what their network has and never runs, by why.
        constants: what they wrote into their code and our network keeps as a tensor.
        training: pattern of what only our training reads and no file has.
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
HEADS = range(4)  # of DDAG's graph attention
SYSTEMS = {
    'agw': System(
        (
            *BACKBONE,
            Rule(NON_LOCAL + r'(theta|phi)\.(.*)', (r'NL_\1.\2.\3.\4',)),
            Rule(NON_LOCAL + r'g\.(.*)', (r'NL_\1.\2.g.0.\3',)),
            Rule(NON_LOCAL + r'W\.weight', (r'NL_\1.\2.W.0.weight',)),
            # their W has a bias and ours has none
            Rule(NON_LOCAL + r'norm\.running_mean', (r'NL_\1.\2.W.1.running_mean', r'NL_\1.\2.W.0.bias'), without_bias),
            Rule(NON_LOCAL + r'norm\.(.*)', (r'NL_\1.\2.W.1.\3',)),
            Rule(r'tasks\.stage4\.head\.branch\.bnneck\.(.*)', (r'bottleneck.\1',)),
            Rule(r'tasks\.stage4\.head\.branch\.classifier\.weight', (CLASSIFIER,)),
        ),
        IDLE,
        {'tasks.stage4.head.pool.p': 3.0},
    ),
    'ddag': System(
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
            r'classifier[12]\.weight': 'declared and never run',
            r'wpa\.W\..*': 'declared and never run',
        },
        {},
    ),
}


@dataclass(frozen=True)
class Converted:
    """What `convert` did.

    Attributes:
        out: the new checkpoint.
        identities: how many its classifier knows.
        used: how many tensors of the file are in it.
        left_out: how many are not, by why.
        training: tensors of ours that only training reads: as they are in a new network.
        weights: which weights these are, as tables say it.
        place: where in the file they were, in words; empty if they are all that it holds.
        options: what the config has to say besides, as `--cfg-options` takes it.
    """

    out: Path
    identities: int
    used: int
    left_out: dict[str, int]
    training: tuple[str, ...]
    weights: str
    place: str = ''
    options: tuple[str, ...] = ()

    def text(self) -> str:
        """Returns the same in words, a line for each thing."""
        lines = [f'identities   {self.identities:,}', f'used         {counted(self.used, "tensor")} of the file']
        lines[-1] += f', {self.place}' if self.place else ''
        lines += [f'left out     {counted(count, "tensor")}: {why}' for why, count in self.left_out.items()]
        lines += [f'by the file  {option}' for option in self.options]
        if self.training:
            lines.append(f'new          {", ".join(self.training)}: only training reads them')
        return '\n'.join([*lines, f'weights      {self.weights}'])


def convert(
    system: str, source: str | Path, out: str | Path, config: str | Path | Experiment | None = None, split: str = ''
) -> Converted:
    """Writes a checkpoint of vireid with the weights of a released one.

    Args:
        system: `agw` or `ddag`.
        source: what the authors' training wrote with torch.save: a state dict, below any key and behind any prefix;
            see `find_weights`.
        out: the file to write; it may not be there.
        config: of the same network, for other data or images; the system's own if None. What it says of the network is
            believed: a stride, say, leaves no trace in a file. But the channels inside non-local blocks are the file's.
        split: the split of the config's dataset that the weights were trained on, such as `trial 3` of RegDB; a
            dataset with several is scored on this one alone.

    Returns:
        What was done.

    Raises:
        VireidError: for an unknown system, a file that is damaged, holds code or is of another network, or an `out`
            that exists.
    """
    source, out = Path(source), Path(out)
    if system not in SYSTEMS:
        raise VireidError(f'no released weights of {system!r} are known', allowed=', '.join(SYSTEMS))
    if out.exists():
        raise VireidError(f'{out} exists already', todo='name another file with -o; no checkpoint is written over')
    content = read_weights(source, "what the authors' training wrote")
    if is_checkpoint(content):
        raise VireidError(
            f'{source} is a checkpoint of vireid already', todo='use it as it is: vireid test CONFIG FILE'
        )
    experiment = resolve(config or f'vireid::systems/{system}.py', manager=create_manager())
    found = find_weights(content, _wanted(system, on_meta(lambda: experiment.build_model(2, pretrained=False))))
    theirs = found.tensors
    if CLASSIFIER not in theirs or theirs[CLASSIFIER].dim() != 2:
        raise VireidError(
            f'{source} has no {CLASSIFIER} of two dimensions: it is no released checkpoint of {system}',
            allowed=f"what the authors' training wrote; it holds {_some(list(theirs)) or 'no tensors by name'}",
        )
    identities = len(theirs[CLASSIFIER])
    if not identities:
        raise VireidError(f'{source}: {CLASSIFIER} is of no identity')
    experiment, options = _with_channels(experiment, theirs)
    own = experiment.build_model(identities, pretrained=False).state_dict()
    weights, used = _filled(system, own, theirs, source)
    reasons = [next(w for p, w in SYSTEMS[system].idle.items() if re.fullmatch(p, n)) for n in theirs if n not in used]
    reasons += ['beside the network'] * len(found.apart)
    training = tuple(name for name in own if re.fullmatch(SYSTEMS[system].training, name))
    chosen = f'converted from {source.name}'
    with source.open('rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    content = {
        'model': weights,
        'progress': {'step': 0},
        'fitted_step': 0,
        'config': experiment.to_config(),
        'num_identities': identities,
        'data': 'images that the released file does not name',
        'split': split,
        'trained_on': torch.zeros(0, dtype=torch.int64),
        'versions': versions(),
        'chosen': chosen,
        'converted': {'system': system, 'file': source.name, 'sha256': digest},
    }
    checkpoints.save(out, content)
    left_out = {why: reasons.count(why) for why in dict.fromkeys(reasons)}
    return Converted(out, identities, len(used), left_out, training, chosen, found.place, options)


def _wanted(system: str, model: nn.Module) -> Shapes:
    """Returns the names in a released file, and the shapes of those that we take as they are."""
    own = model.state_dict()
    numbers, found = _number_non_local(own), dict[str, tuple[int, ...] | None]()
    for name, tensor in own.items():
        names, make = _origin(SYSTEMS[system].rules, numbers[name])
        found.update(dict.fromkeys(names, tuple(tensor.shape) if make is same else None))
    return found


def _with_channels(experiment: Experiment, theirs: Mapping[str, Tensor]) -> tuple[Experiment, tuple[str, ...]]:
    """Lets a config say how many channels the non-local blocks of a file have inside; returns what it did not say."""
    name, backbone = CHANNELS.rpartition('.')[2], experiment.model.get('backbone', {})
    blocks = [t.shape for n, t in theirs.items() if re.fullmatch(r'NL_\d\.\d+\.theta\.weight', n) and t.dim() == 4]
    halves = all(shape[0] == shape[1] // 2 for shape in blocks)
    if not blocks or (not halves and len({shape[0] for shape in blocks}) > 1):
        return experiment, ()
    channels = None if halves else blocks[0][0]
    if backbone.get(name) == channels:
        return experiment, ()
    return experiment.with_overrides({CHANNELS: channels}), (f'{CHANNELS}={channels}',)


def _filled(
    system: str, own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], source: Path
) -> tuple[dict[str, Tensor], set[str]]:
    """Returns our weights, and the names of what they are made of.

    Raises:
        VireidError: naming what is missing, of another shape or unknown, and the share that fits.
    """
    known, weights = SYSTEMS[system], dict[str, Tensor]()
    used, missing, misfits, fits, wanted = set[str](), list[str](), list[str](), 0, 0
    numbers = _number_non_local(own)
    for name, tensor in own.items():
        if name in known.constants:
            weights[name] = torch.full_like(tensor, known.constants[name])
            continue
        if re.fullmatch(known.training, name):
            weights[name] = tensor.clone()
            continue
        names, make = _origin(known.rules, numbers[name])
        absent = [each for each in names if each not in theirs]
        if absent and name.endswith('num_batches_tracked'):  # early PyTorch had none, and scoring reads none
            weights[name] = tensor.clone()
            continue
        wanted += 1
        if absent or not names:
            missing += absent or [f'anything for {name}']
        else:
            used.update(names)
            made = _made(make, [theirs[each] for each in names], tensor)
            if made is None:
                shapes = ' and '.join(f'{each} is {tuple(theirs[each].shape)}' for each in names)
                misfits.append(f'{shapes}, for {tuple(tensor.shape)}')
            elif tensor.is_floating_point() and not made.isfinite().all():
                raise VireidError(f'{source}: {names[0]} holds values that are not finite', todo='download it again')
            else:
                weights[name], fits = made, fits + 1
    idle = [name for name in theirs if any(re.fullmatch(pattern, name) for pattern in known.idle)]
    strange = [name for name in theirs if name not in used and name not in idle]
    if missing or misfits or strange:
        found = (('missing', missing), ('of another shape', misfits), ('unknown', strange))
        raise VireidError(
            f'{source} is not of the network {system}: {fits} of {wanted} tensors fit; '
            + '; '.join(f'{len(names)} {what} ({_some(names)})' for what, names in found if names),
            allowed=f'a released checkpoint of {system}, a ResNet-50 unless --config says otherwise',
            todo=f'give the system that it is of ({", ".join(SYSTEMS)}), or a config of its network with --config',
        )
    return weights, used


def _number_non_local(names: Mapping[str, Any]) -> dict[str, str]:
    """Returns names in which a non-local block has its number within the stage, where ours has its place."""
    places: dict[str, list[int]] = {}
    for name in names:
        if found := re.match(NON_LOCAL, name):
            places.setdefault(found[1], []).append(int(found[2]))
    numbered = {}
    for name in names:
        found = re.match(NON_LOCAL, name)
        first = min(places[found[1]]) if found else 0
        numbered[name] = f'{name[: found.start(2)]}{int(found[2]) - first}{name[found.end(2) :]}' if found else name
    return numbered


def _origin(rules: Sequence[Rule], name: str) -> tuple[list[str], Callable[..., Tensor]]:
    """Returns the names of what a tensor of ours is made of, and how; none if no rule is for it."""
    for rule in rules:
        if found := re.fullmatch(rule.ours, name):
            return [found.expand(theirs) for theirs in rule.theirs], rule.make
    return [], same


def _made(make: Callable[..., Tensor], parts: Sequence[Tensor], wanted: Tensor) -> Tensor | None:
    """Returns a tensor of the wanted shape and type, in memory of its own; None if the parts do not fit."""
    if sum(part.numel() for part in parts) > len(parts) * wanted.numel():  # before any of them is copied
        return None
    if any(part.is_floating_point() != wanted.is_floating_point() for part in parts):
        return None
    try:
        made = make(*(part.to(wanted.dtype) for part in parts))  # half precision would be computed in
    except (RuntimeError, IndexError):  # of other dimensions
        return None
    if made.shape != wanted.shape:
        return None
    return made.to(wanted.dtype, copy=True, memory_format=torch.contiguous_format)


def _some(names: Sequence[str], shown: int = 3) -> str:
    return ', '.join(names[:shown]) + (', ...' if len(names) > shown else '')
