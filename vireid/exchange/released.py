"""Converts the released checkpoints of AGW and DDAG into checkpoints of vireid.

Nothing in a file is executed. Every tensor of a file is either used or belongs to a part that the authors' network
never runs; any other tensor is an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import torch
from torch import Tensor, nn

from vireid.boundary import checkpoint as checkpoints
from vireid.boundary.showing import some
from vireid.boundary.weights import Shapes, find_weights, is_checkpoint, read_weights
from vireid.console.wording import counted
from vireid.core.config.experiment import Experiment
from vireid.core.training.state import versions
from vireid.errors import AlreadyExists, Mismatch, NotFinite, UnknownName, UnsupportedFile, WrongContent
from vireid.exchange.released_rules import CLASSIFIER, SYSTEMS, copy, find_rule, number_non_local
from vireid.launch.preflight import on_meta
from vireid.launch.resolve import resolve
from vireid.plugin_manager.manager import create_manager

CHANNELS = 'model.backbone.inserts.non_local.channels'


@dataclass(frozen=True)
class Converted:
    """The result of `convert`.

    Attributes:
        out: the new checkpoint.
        identities: number of identities of the classifier.
        used: number of tensors taken from the file.
        left_out: number of tensors not taken, by reason.
        training: our tensors that are used only in training; they have their initial values.
        weights: description of the weights, as in result tables.
        place: where in the file the weights are; empty if the file holds nothing else.
        options: config options that the file requires, in the syntax of `--cfg-options`.
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
        """Returns a summary, one line per fact."""
        lines = [f'identities   {self.identities:,}', f'used         {counted(self.used, "tensor")} from the file']
        lines[-1] += f', {self.place}' if self.place else ''
        lines += [f'left out     {counted(count, "tensor")}: {why}' for why, count in self.left_out.items()]
        lines += [f'from file    {option}' for option in self.options]
        if self.training:
            lines.append(f'new          {", ".join(self.training)}: used only in training')
        return '\n'.join([*lines, f'weights      {self.weights}'])

    def todo(self, config: str, protocol: str, options: Sequence[str], plugins: Sequence[Path]) -> str:
        """Returns the commands that score it.

        Args:
            config: its config.
            protocol: the protocol of the config; that of AGW has an official one beside it.
            options: options that the config was converted with.
            plugins: Python files with components.
        """
        command = f'vireid test {quote(config)} {quote(str(self.out))} --data-root DIR'
        given = ' '.join(map(quote, [*options, *self.options]))
        command += f' --cfg-options {given}' if given else ''
        command += ''.join(f' --plugin {quote(str(file))}' for file in plugins)
        lines = [f'Score it:\n  {command} --work-dir scored']
        dataset, _, family = protocol.partition('/')
        if family == 'agw':
            lines.append("With the dataset's official protocol:")
            lines.append(f'  {command} --work-dir official --protocol {dataset}/official')
        return '\n'.join(lines)


def convert(
    system: str, source: str | Path, out: str | Path, config: str | Path | Experiment | None = None, split: str = ''
) -> Converted:
    """Writes a checkpoint of vireid with the weights of a released checkpoint.

    Args:
        system: `agw` or `ddag`.
        source: a file that the authors' training code wrote with `torch.save`: a state dict under any key, with any
            prefix; see `find_weights`.
        out: the file to write; it must not already exist.
        config: a config with the same network, for other data or image settings; None uses the config of the system.
            Its network settings are trusted, because settings such as strides cannot be verified from a file. Only the
            number of channels inside non-local blocks is taken from the file.
        split: the split of the dataset that the weights were trained on, such as `split 3` of RegDB. A dataset with
            several splits is scored on this one only.

    Returns:
        A summary.

    Raises:
        VireidError: if the system is unknown, `out` exists, or the file is damaged, holds code, or belongs to another
            network.
    """
    source, out = Path(source), Path(out)
    if system not in SYSTEMS:
        raise UnknownName(f'unknown system {system!r}', allowed=', '.join(SYSTEMS))
    if out.exists():
        raise AlreadyExists(f'{out} already exists', todo='choose another file with -o')
    content = read_weights(source, "a file that the authors' training code wrote")
    if is_checkpoint(content):
        raise UnsupportedFile(
            f'{source} is already a checkpoint of vireid', todo='use it directly: vireid test CONFIG FILE'
        )
    experiment = resolve(config or f'vireid::systems/{system}.py', manager=create_manager())
    located = find_weights(
        content, _expected_shapes(system, on_meta(lambda: experiment.build_model(2, pretrained=False)))
    )
    theirs = located.tensors
    if CLASSIFIER not in theirs or theirs[CLASSIFIER].dim() != 2:
        raise UnsupportedFile(
            f'{source} is not a released checkpoint of {system}: it has no two-dimensional {CLASSIFIER} (it has '
            f'{some(list(theirs), 3, ", ...") or "no named tensors"})',
            allowed="a file that the authors' training code wrote",
        )
    identities = len(theirs[CLASSIFIER])
    if not identities:
        raise WrongContent(f'{source}: {CLASSIFIER} has no identities')
    experiment, options = _with_channels(experiment, theirs)
    state = experiment.build_model(identities, pretrained=False).state_dict()
    weights, used = _filled(system, state, theirs, source)
    reasons = [next(w for p, w in SYSTEMS[system].idle.items() if re.fullmatch(p, n)) for n in theirs if n not in used]
    reasons += ['not part of the network'] * len(located.apart)
    training = tuple(name for name in state if re.fullmatch(SYSTEMS[system].training, name))
    chosen = f'converted from {source.name}'
    with source.open('rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    content = {
        'model': weights,
        'progress': {'step': 0},
        'fitted_step': 0,
        'config': experiment.to_config(),
        'num_identities': identities,
        'data': 'images unknown to the released file',
        'split': split,
        'trained_on': torch.zeros(0, dtype=torch.int64),
        'versions': versions(),
        'chosen': chosen,
        'converted': {'system': system, 'file': source.name, 'sha256': digest},
    }
    checkpoints.save(out, content)
    left_out = {why: reasons.count(why) for why in dict.fromkeys(reasons)}
    return Converted(out, identities, len(used), left_out, training, chosen, located.place, options)


def _expected_shapes(system: str, model: nn.Module) -> Shapes:
    """Returns the expected names in a released file, with the shapes of those that are copied unchanged."""
    state = model.state_dict()
    numbers, shapes = number_non_local(state), dict[str, tuple[int, ...] | None]()
    for name, tensor in state.items():
        names, make = find_rule(SYSTEMS[system].rules, numbers[name])
        shapes.update(dict.fromkeys(names, tuple(tensor.shape) if make is copy else None))
    return shapes


def _with_channels(experiment: Experiment, theirs: Mapping[str, Tensor]) -> tuple[Experiment, tuple[str, ...]]:
    """Sets the channels inside non-local blocks to those of a file; returns the options that this changed."""
    insert = experiment.model.get('backbone', {}).get('inserts', {}).get('non_local')
    blocks = [t.shape for n, t in theirs.items() if re.fullmatch(r'NL_\d\.\d+\.theta\.weight', n) and t.dim() == 4]
    halves = all(shape[0] == shape[1] // 2 for shape in blocks)
    if insert is None or not blocks or (not halves and len({shape[0] for shape in blocks}) > 1):
        return experiment, ()
    channels = None if halves else blocks[0][0]
    if insert.get('channels') == channels:
        return experiment, ()
    return experiment.with_overrides({CHANNELS: channels}), (f'{CHANNELS}={channels}',)


def _filled(
    system: str, own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], source: Path
) -> tuple[dict[str, Tensor], set[str]]:
    """Returns our weights, and the names in the file that they come from.

    Raises:
        VireidError: listing missing, mismatched and unknown tensors, and the number that match.
    """
    known, weights = SYSTEMS[system], dict[str, Tensor]()
    used, missing, misfits, fits, expected = set[str](), list[str](), list[str](), 0, 0
    numbers = number_non_local(own)
    for name, tensor in own.items():
        if name in known.constants:
            weights[name] = torch.full_like(tensor, known.constants[name])
            continue
        if re.fullmatch(known.training, name):
            weights[name] = tensor.clone()
            continue
        names, make = find_rule(known.rules, numbers[name])
        absent = [each for each in names if each not in theirs]
        if absent and name.endswith('num_batches_tracked'):  # missing in early PyTorch, and unused in evaluation
            weights[name] = tensor.clone()
            continue
        expected += 1
        if absent or not names:
            missing += absent or [f'a tensor for {name}']
        else:
            used.update(names)
            weight = _compute(make, [theirs[each] for each in names], tensor)
            if weight is None:
                shapes = ' and '.join(f'{each} is {tuple(theirs[each].shape)}' for each in names)
                misfits.append(f'{shapes}, expected {tuple(tensor.shape)}')
            elif tensor.is_floating_point() and not weight.isfinite().all():
                raise NotFinite(f'{source}: {names[0]} has NaN or infinite values', todo='download it again')
            else:
                weights[name], fits = weight, fits + 1
    idle = [name for name in theirs if any(re.fullmatch(pattern, name) for pattern in known.idle)]
    strange = [name for name in theirs if name not in used and name not in idle]
    if missing or misfits or strange:
        problems = (('missing', missing), ('of another shape', misfits), ('unknown', strange))
        raise Mismatch(
            f'{source} does not match the network {system}: {fits} of {expected} tensors match; '
            + '; '.join(f'{len(names)} {what} ({some(names, 3, ", ...")})' for what, names in problems if names),
            allowed=f'a released checkpoint of {system}, with a ResNet-50 unless --config differs',
            todo=f'choose the right system ({", ".join(SYSTEMS)}), or give a config with its network with --config',
        )
    return weights, used


def _compute(make: Callable[..., Tensor], parts: Sequence[Tensor], expected: Tensor) -> Tensor | None:
    """Returns a new tensor with the shape and dtype of `expected`; None if the parts do not match it."""
    if sum(part.numel() for part in parts) > len(parts) * expected.numel():  # checked before anything is copied
        return None
    if any(part.is_floating_point() != expected.is_floating_point() for part in parts):
        return None
    try:
        weight = make(*(part.to(expected.dtype) for part in parts))  # converted first: half precision would lose digits
    except (RuntimeError, IndexError):  # wrong number of dimensions
        return None
    if weight.shape != expected.shape:
        return None
    return weight.to(expected.dtype, copy=True, memory_format=torch.contiguous_format)
