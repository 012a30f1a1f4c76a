"""The authors' released checkpoints of AGW and DDAG as checkpoints of vireid.

Each tensor of our network is made of tensors of theirs, by the table of its system. Nothing of a file is executed, and
nothing is passed over in silence: what a file holds is used, or is among what its own network never runs.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vireid.boundary.reading import reads
from vireid.boundary.tensors import load_tensors
from vireid.core.config import files
from vireid.core.config.experiment import Experiment
from vireid.core.errors import VireidError
from vireid.core.training import checkpoint as checkpoints
from vireid.core.training.state import versions
from vireid.core.wording import counted
from vireid.plugin_manager.manager import create_manager

CLASSIFIER = 'classifier.weight'
WRAPPERS = ('net', 'state_dict')
# what their network holds and never runs, by why; the same in both systems
STEMS = 'each stem is a whole ResNet of which only the stem is run, and the shared part one without its stem'
IDLE = {
    r'(visible_module\.visible|thermal_module\.thermal)\.(layer\d|fc)\..*': STEMS,
    r'base_resnet\.base\.(conv1|bn1|fc)\..*': STEMS,
}
# made by pickles of NumPy's arrays and numbers, before version 2 and since
NUMPY = ('multiarray.scalar', 'multiarray._reconstruct', 'numeric._frombuffer')
NUMPY_NAMES = (
    *(f'numpy.{core}.{name}' for core in ('core', '_core') for name in NUMPY),
    'numpy.ndarray',
    'numpy.dtype',
)


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
    """

    out: Path
    identities: int
    used: int
    left_out: dict[str, int]
    training: tuple[str, ...]
    weights: str

    def text(self) -> str:
        """Returns the same in words, a line for each thing."""
        lines = [f'identities   {self.identities:,}', f'used         {counted(self.used, "tensor")} of the file']
        lines += [f'left out     {counted(count, "tensor")}: {why}' for why, count in self.left_out.items()]
        if self.training:
            lines.append(f'new          {", ".join(self.training)}: only training reads them')
        return '\n'.join([*lines, f'weights      {self.weights}'])


def convert(
    system: str, source: str | Path, out: str | Path, config: str | Path | Experiment | None = None, split: str = ''
) -> Converted:
    """Writes a checkpoint of vireid with the weights of a released one.

    Args:
        system: `agw` or `ddag`.
        source: what the authors' training wrote with torch.save: a state dict, or one under `net` or `state_dict`.
        out: the file to write; it may not be there.
        config: of the same network, for other data or images; the system's own if None. What it says of the network is
            believed: a stride, say, leaves no trace in a file.
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
    theirs = read_released(source)
    if CLASSIFIER not in theirs or theirs[CLASSIFIER].dim() != 2:
        raise VireidError(
            f'{source} has no {CLASSIFIER} of two dimensions: it is no released checkpoint of {system}',
            allowed=f"what the authors' training wrote; it holds {_some(list(theirs)) or 'no tensor'}",
        )
    identities = len(theirs[CLASSIFIER])
    if not identities:
        raise VireidError(f'{source}: {CLASSIFIER} is of no identity')
    experiment = config if isinstance(config, Experiment) else _experiment(config or f'vireid::systems/{system}.py')
    own = experiment.build_model(identities, pretrained=False).state_dict()
    weights, used = _filled(system, own, theirs, source)
    reasons = [next(w for p, w in SYSTEMS[system].idle.items() if re.fullmatch(p, n)) for n in theirs if n not in used]
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
    return Converted(
        out, identities, len(used), {w: reasons.count(w) for w in dict.fromkeys(reasons)}, training, chosen
    )


class _Unread:
    """Stands for a NumPy value in a file, such as the scores beside the weights: it takes all and keeps nothing."""

    def __new__(cls, *values: Any) -> _Unread:
        return super().__new__(cls)

    def __init__(self, *values: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


@reads('a released checkpoint', '*.pth', '*.t')
def read_released(path: Path) -> dict[str, Tensor]:
    """Reads a released state dict to the CPU and executes nothing of it; names lose the `module.` of DataParallel.

    Raises:
        VireidError: if the file is missing or damaged, or holds code or no state dict.
    """
    try:
        # NumPy's own functions can be made to build arrays of what is no memory of theirs; these cannot
        with torch.serialization.safe_globals([(_Unread, name) for name in NUMPY_NAMES]):
            content = load_tensors(path)
    except FileNotFoundError as error:
        raise VireidError(f'no file {path}', todo="give the path of the authors' checkpoint") from error
    except Exception as error:  # a damaged file may fail in any way
        code = re.search(r'GLOBAL (\S+)', str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code:
            raise VireidError(
                f'{path} holds code, {code[1]}; none of it was executed',
                allowed='files of tensors, numbers and texts',
                todo="if it holds a whole module, save its state_dict() where you trust it: torch.save({'net': ...})",
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch advises to load it unsafely; we do not
            reason = 'it is no file of tensors that torch.save wrote, or is cut short'
        raise VireidError(f'{path} cannot be read: {reason}', todo='download or copy it again') from error
    if isinstance(content, dict) and {'model', 'config', 'format'} <= set(content):
        raise VireidError(f'{path} is a checkpoint of vireid already', todo='use it as it is: vireid test CONFIG FILE')
    for name in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not content or not all(map(_is_entry, content.items())):
        raise VireidError(
            f'{path} holds no state dict', allowed=f'tensors by name, alone or under {" or ".join(map(repr, WRAPPERS))}'
        )
    return {name.removeprefix('module.'): tensor for name, tensor in content.items()}


def _is_entry(entry: tuple[Any, Any]) -> bool:
    name, value = entry
    return isinstance(name, str) and isinstance(value, Tensor) and value.layout is torch.strided


def _experiment(config: str | Path) -> Experiment:
    sections = files.load(config, folders=lambda: create_manager().configs)  # refuses plugins that data name
    sections.setdefault('name', Path(str(config).rpartition('::')[2]).stem)
    return Experiment.from_config(sections, create_manager(sections.get('plugins', ())))


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
        made = make(*parts)
    except (RuntimeError, IndexError):  # of other dimensions
        return None
    if made.shape != wanted.shape:
        return None
    return made.to(wanted.dtype, copy=True, memory_format=torch.contiguous_format)


def _some(names: Sequence[str], shown: int = 3) -> str:
    return ', '.join(names[:shown]) + (', ...' if len(names) > shown else '')
