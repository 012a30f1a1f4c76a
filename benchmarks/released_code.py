"""The authors' released code of six systems beside ours: the same tensors, the same weights, the largest differences.

    python benchmarks/released_code.py FOLDER
    python benchmarks/released_code.py FOLDER --systems caj deen

FOLDER holds clones of the public repositories, each in a folder of its own name: wangguanan/AlignGAN, bismex/HiCMD,
mangye16/Cross-Modal-Re-ID-baseline (CAJ), hijune6/Hetero-center-triplet-loss-for-VT-Re-ID (HcTri), ZYK100/LLCM (DEEN)
and hulu88/PMT. Their modules are imported from there and changed in memory only: they run without a GPU, ImageNet
weights and packages for plots, and in today's torch. None of that code is part of vireid.

Everything runs in float64 with random weights, without dropout and erasing. The scale is the largest absolute value in
the released code's result; the goal is a difference of at most 1e-5 of it. Where ours differs on purpose, the line says
why, and the page of the system in docs/systems explains it. Exits with 1 if another difference is above the goal.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.machinery
import io
import re
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Context, HeadOutput, Progress
from vireid.exchange import released_rules as converter
from vireid.exchange.released_rules import Rule
from vireid.launch.resolve import resolve
from vireid.plugin_manager.manager import create_manager

GOAL = 1e-5
CONFIGS = Path(__file__).parents[1] / 'configs' / 'systems'
SIZE = (96, 48)
Gradients = Mapping[str, Tensor]


class Comparisons:
    """Prints one line per comparison, and counts those within the goal."""

    def __init__(self) -> None:
        self.system, self.within, self.all = '', 0, 0
        self.out = sys.stdout  # which is silenced while the released code runs

    def add(self, what: str, theirs: Tensor | list[Tensor], ours: Tensor | list[Tensor], on_purpose: str = '') -> None:
        """Compares a tensor, or several, of the released code with ours; `on_purpose` says why they differ."""
        pairs = list(zip(*([x] if isinstance(x, Tensor) else x for x in (theirs, ours)), strict=True))
        assert all(x.shape == y.shape for x, y in pairs), what
        scale = float(torch.stack([x.detach().abs().max() for x, _ in pairs]).max())
        difference = float(torch.stack([(x - y).detach().abs().max() for x, y in pairs]).max())  # NaN if any is
        within = difference <= GOAL * scale
        note = '' if within else '  ABOVE THE GOAL'
        if on_purpose:
            note = f'  (different on purpose: {on_purpose})'
        else:
            self.all, self.within = self.all + 1, self.within + within
        line = f'{self.system}: {what}: largest difference {difference:.1e} (scale {scale:.3g}), goal {GOAL:.0e}'
        print(line + note, file=self.out, flush=True)

    def loss(self, what: str, theirs: Tensor, ours: Tensor, feature: Tensor, on_purpose: str = '') -> None:
        """Compares a loss, and its gradient for `feature`."""
        self.add(what, theirs, ours, on_purpose)
        slopes = (torch.autograd.grad(x, feature)[0] for x in (theirs, ours))
        self.add(f'gradient of the {what}', *slopes, on_purpose)

    @torch.no_grad()
    def embeddings(self, where: str, theirs: Callable, ours: nn.Module, on_purpose: str = '') -> None:
        """Compares embeddings of length 1 of both modalities, which the released code numbers 1 and 2."""
        x, ours = images(2), ours.eval()
        pairs = [(theirs(x, number), ours.embed(x, m)) for number, m in enumerate((VISIBLE, INFRARED), 1)]
        self.add(
            'embeddings' + where, *([F.normalize(y) for y in side] for side in zip(*pairs, strict=True)), on_purpose
        )


# ---------------------------------------------------------------------------- running the released code


@contextlib.contextmanager
def imported(folder: Path, *names: str, **changes: tuple[str, str]) -> Iterator[list[Any]]:
    """Imports modules of a repository for a while, in a torch without a GPU; `changes` replaces text of a module."""
    before = set(sys.modules)
    addmm_, resnet50 = torch.Tensor.addmm_, torchvision.models.resnet50

    def old_addmm_(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if len(args) == 4:  # torch once took beta and alpha first
            return addmm_(self, *args[2:], beta=args[0], alpha=args[1])
        return addmm_(self, *args, **kwargs)

    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (torch.Tensor, 'addmm_', old_addmm_),
            (torch.Tensor, 'cuda', lambda self, *_, **__: self.clone()),  # a copy, as on a GPU: some are written to
            (nn.Module, 'cuda', lambda self, *_, **__: self),
            (torchvision.models, 'resnet50', lambda pretrained=False: resnet50()),
            (sys, 'path', [str(folder), *sys.path]),
            (sys, 'dont_write_bytecode', True),  # the clones stay as they are
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # they print while they build and train
        stack.enter_context(warnings.catch_warnings(action='ignore'))
        for name, (old, new) in changes.items():
            text = (folder / f'{name}.py').read_text()
            assert old in text, f'{folder / name}.py has no {old!r}'
            sys.modules[name] = types.ModuleType(name)
            exec(compile(text.replace(old, new), f'{name}.py', 'exec'), vars(sys.modules[name]))
        for name in names:
            _import(name)
            if name != 'resnet' and hasattr(sys.modules[name], 'resnet50'):  # without ImageNet weights
                build = sys.modules['resnet'].resnet50
                sys.modules[name].resnet50 = lambda pretrained, build=build, **options: build(**options)
        try:
            yield [sys.modules[name] for name in names]
        finally:
            for name in set(sys.modules) - before:  # the repositories use the same names of modules
                file = getattr(sys.modules[name], '__file__', None)
                if file is None or Path(file).is_relative_to(folder):
                    del sys.modules[name]


def _import(name: str) -> None:
    """Imports a module; packages that are not installed, such as those for plots, are replaced."""
    while name not in sys.modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or name.startswith(error.name):
                raise  # it is missing in the folder
            spec = importlib.machinery.ModuleSpec(error.name, None)
            sys.modules[error.name] = mock.MagicMock(__spec__=spec, __file__=None)


class Kept:
    """Takes the place of an optimizer of the released code: keeps the gradients and updates nothing."""

    def __init__(self, network: nn.Module, *prefixes: str) -> None:
        self.network, self.prefixes, self.gradients = network, prefixes, dict[str, Tensor]()

    def zero_grad(self) -> None:
        for name, parameter in self.network.named_parameters():
            parameter.grad = None if name.startswith(self.prefixes) else parameter.grad

    def step(self) -> None:
        self.gradients = gradients_of(self.network, *self.prefixes)


# ---------------------------------------------------------------------------- our side, and weights


def built(system: str, options: Mapping[str, Any]) -> nn.Module:
    """Our model of a config, for 6 identities."""
    experiment = resolve(CONFIGS / f'{system}.py', manager=create_manager())
    return randomized(experiment.with_overrides({'images.size': SIZE, **options}).build_model(6, pretrained=False))


def built_loss(name: str, **options: Any) -> nn.Module:
    return create_manager().components.build('losses', {'type': name, **options}, where='losses')


def randomized(network: nn.Module) -> nn.Module:
    """Gives norms random weights and statistics, as equal values would hide mistakes; switches dropout off."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, (nn.modules.batchnorm._NormBase, nn.LayerNorm)) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


class Twins:
    """Our model and the released network, with the same weights.

    Args:
        ours: our model, which gets the weights.
        theirs: the released network.
        text: a line per part: `ours = theirs`, where * stands for text that both have, in order, and ? for any other;
            or `ours ~ theirs`, prefixes of tensors that come in the same order. Several tensors of theirs are joined;
            only a bias that ours lacks goes into the mean of the BatchNorm after it.
        rules: further rules.
        constants: values that are constants in their code.
    """

    def __init__(
        self, ours: nn.Module, theirs: nn.Module, text: str, rules: Iterable[Rule] = (), **constants: float
    ) -> None:
        self.ours, self.theirs = ours, theirs
        state, released = ours.state_dict(), theirs.state_dict()
        self.rules = [rule for line in text.split('\n') if line.strip() for rule in self._read(line, state, released)]
        self.rules += rules
        numbers = converter.number_non_local(state)
        for name, own in state.items():
            if name in constants:
                own.fill_(constants[name])
            elif not name.endswith('num_batches_tracked'):
                sources, make = converter.find_rule(self.rules, numbers[name])
                assert sources, f'no rule for {name}'
                own.copy_(make(*(released[source] for source in sources)).reshape(own.shape))

    def gradients(self, *prefixes: str, released: Gradients | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """The released gradients and ours for our parameters with these prefixes (by default all), one by one.

        Each is divided by the largest value of the released one, or by 1e-6 of the largest of all if that is more:
        some, as those of biases before a BatchNorm, are 0 up to rounding.
        """
        ours, released = gradients_of(self.ours, *prefixes), released or gradients_of(self.theirs)
        learned = [name for name, p in self.ours.named_parameters() if p.requires_grad]
        assert {name for name in learned if name.startswith(prefixes or '')} == set(ours), 'some have no gradient'
        numbers, mapped = converter.number_non_local(ours), []
        for name, own in ours.items():
            sources, make = converter.find_rule(self.rules, numbers[name])
            mapped.append(make(*(released[source] for source in sources)).reshape(own.shape))
        largest = [x.abs().max() for x in mapped]
        scales = [x.clamp_min(1e-6 * max(largest)) for x in largest]
        return tuple([x / scale for x, scale in zip(side, scales, strict=True)] for side in (mapped, ours.values()))

    @staticmethod
    def _read(line: str, state: Gradients, released: Gradients) -> list[Rule]:
        if '~' in line:
            sides = zip(line.split('~'), (state, released), strict=True)
            names = [
                [name for name in side if f'{name}.'.startswith(f'{prefix.strip()}.') and 'num_batches' not in name]
                for prefix, side in sides
            ]
            return [
                Rule(re.escape(own), (their,)) for own, their in zip(*names, strict=False)
            ]  # theirs has unused ones
        ours, theirs = line.split(' = ')
        names = []
        for name in theirs.split(' + '):
            first, *others = name.strip().split('*')
            names.append(first + ''.join(f'\\{n}{piece}' for n, piece in enumerate(others, 1)))
        pattern = re.escape(ours.strip()).replace(r'\*', '(.*)').replace(r'\?', '.*')
        join = converter.without_bias if 'running_mean' in ours else lambda *parts: torch.cat(parts)
        return [Rule(pattern, tuple(names), join) if len(names) > 1 else Rule(pattern, tuple(names))]


def gradients_of(model: nn.Module, *prefixes: str) -> dict[str, Tensor]:
    """The gradients of the parameters whose names start so; by default of all."""
    own = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {name: gradient for name, gradient in own.items() if name.startswith(prefixes or '')}


class Step:
    """A forward and backward pass of our model; keeps the outputs of its heads and the weighted value of each loss."""

    def __init__(self, model: nn.Module, batch: Batch, tasks: Sequence[str] | None = None) -> None:
        self.outputs: dict[str, Any] = {}
        self.terms: dict[str, Tensor] = {}
        with contextlib.ExitStack() as hooks:
            for name, task in model.tasks.items():
                hooks.enter_context(task.head.register_forward_hook(self._keep(self.outputs, name)))
                for key, loss in task.losses.items():
                    keep = self._keep(self.terms, f'{name}.{key}', task.weights[key])
                    hooks.enter_context(loss.register_forward_hook(keep))
            model.zero_grad()
            self.total = torch.stack(list(model(batch, tasks).values())).sum()
            self.total.backward()

    @staticmethod
    def _keep(into: dict[str, Any], name: str, weight: float | None = None) -> Callable:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            into[name] = output if weight is None else weight * output

        return hook


def images(count: int, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.randn(count, 3, *size)


def batch_of(identities: int, each: int, modalities: Sequence[str] = MODALITIES, size: tuple[int, int] = SIZE) -> Batch:
    """Random images; the labels are 0, 0, 1, 1, 2, 2, ... in each modality."""
    labels = torch.arange(identities).repeat_interleave(each)
    return Batch({m: images(len(labels), size) for m in modalities}, dict.fromkeys(modalities, labels))


def vectors(labels: Tensor, length: int, distance: float) -> Tensor:
    """Vectors around a center per identity; those of different identities are about `distance` apart."""
    spread = distance / (2 * length) ** 0.5
    centers = 0.8 * spread * torch.randn(int(labels.max()) + 1, length)
    return (centers[labels] + 0.6 * spread * torch.randn(len(labels), length)).requires_grad_()


# ---------------------------------------------------------------------------- the systems


def caj(folder: Path, compare: Comparisons) -> None:
    """The enhanced squared difference, and AGW's network at test time and in training."""
    with imported(folder / 'Cross-Modal-Re-ID-baseline' / 'ICCV21_CAJ', 'model', 'loss') as (network, losses):
        squared, ours = losses.TripletLoss_ADP(square=1), built_loss('EnhancedSquaredDifference')
        labels = torch.arange(8).repeat_interleave(4).repeat(3)
        why = 'the code adds 1e-6 in its softmax and caps the square'
        for distance, reading in ((2.5, ''), (6.5, why), (20.0, why), (6.5, '')):
            x = vectors(labels, 2048, distance)
            where = f'loss at distances of {distance}'
            if distance == 6.5 and not reading:  # comes last
                losses.softmax_weights = lambda d, mask: d.masked_fill(mask == 0, -torch.inf).softmax(1)
                where += ', nothing added to the softmax'
            compare.loss(where, squared(x, labels)[0], ours(HeadOutput(x), labels), x, reading)

        theirs, agw = randomized(network.embed_net(6)), converter.SYSTEMS['agw']
        model = built('caj', {'model.backbone.inserts.non_local.channels': 1})
        twins = Twins(model, theirs, '', agw.rules, **agw.constants)
        compare.embeddings('', lambda x, m: theirs.eval()(x, x, m)[1], model)
        batch = batch_of(3, 2, (*MODALITIES, 'channel'))
        seen, labels = batch.images, batch.identities[VISIBLE]
        x, logits = theirs.train()(torch.cat([seen[VISIBLE], seen['channel']]), seen[INFRARED])
        identity = F.cross_entropy(logits, labels.repeat(3))
        identity.backward()
        model.tasks.stage4.weights['tri'] = 0.0  # compared above: here distances are large
        step = Step(model.train(), batch)
        order = torch.arange(18).view(3, 6)[[0, 2, 1]].flatten()  # our view comes last
        compare.add('vectors of 18 images in training', x[order], step.outputs['stage4'].feature)
        compare.add('cross-entropy', identity, step.terms['stage4.id'])
        compare.add('gradients of the cross-entropy', *twins.gradients())


class MeanOfPowers(nn.Module):
    """GeM with the lower bound of HcTri's code, to show that nothing else differs."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, cells: Tensor) -> Tensor:
        return ((cells**self.p).mean(dim=(2, 3)) + 1e-12) ** (1 / self.p)


def hctri(folder: Path, compare: Comparisons) -> None:
    """The hetero-center triplet loss, and the network with the settings of both datasets."""
    text = """
        backbone.streams.visible ~ visible_module
        backbone.streams.infrared ~ thermal_module
        backbone.shared ~ base_resnet
        tasks.stage4.head.reductions.*.0.weight = local_conv_list.*.0.weight
        tasks.stage4.head.reductions.*.1.running_mean = local_conv_list.*.1.running_mean + local_conv_list.*.0.bias
        tasks.stage4.head.reductions.*.1.* = local_conv_list.*.1.*
        tasks.stage4.head.classifiers ~ fc_list
    """
    folder = folder / 'Hetero-center-triplet-loss-for-VT-Re-ID'
    regdb = {'pool.p': 10.0, 'pool.eps': 0.063, 'losses.id.label_smoothing': 0.1, 'losses.tri.weight': 2.0}
    regdb = {f'model.heads.stage4.{key}': value for key, value in regdb.items()}
    why = 'the lower bound of the pooling'
    for p, (identities, each), options in ((3, (6, 8), {}), (10, (8, 4), regdb)):
        with imported(folder, 'model_mine', 'loss', model_mine=('p = 10.0', f'p = {p}.0')) as (network, losses):
            triplet, ours = losses.CenterTripletLoss(0, 0.3), built_loss('HeteroCenterTriplet')
            labels = torch.arange(identities).repeat_interleave(each).repeat(2)
            x = (0.02 * torch.randn(len(labels), 1536)).requires_grad_()
            context = Context(dict.fromkeys(MODALITIES, len(labels) // 2), labels)
            where = f'loss of {identities} identities x 2 x {each}'
            compare.loss(where, triplet(x, labels)[0], ours(HeadOutput(x), labels, context), x)

            theirs, model = randomized(network.embed_net(6, share_net=2)), built('hctri', options)
            released = lambda x, m, net=theirs: net.eval()(x, x, m)  # noqa: E731
            batch = batch_of(3, 2)
            labels = batch.identities[VISIBLE].repeat(2)
            twins = Twins(model, theirs, text, **{'tasks.stage4.head.pool.p': float(p)})
            head = model.tasks['stage4'].head
            pools = (head.pool, f', p = {p}', why), (MeanOfPowers(p), f', p = {p}, the same bound in both', '')
            for pool, where, _ in pools:
                head.pool = pool
                compare.embeddings(where, released, model, why if p == 10 and pool is pools[0][0] else '')
            parts, logits, whole = theirs.train()(*batch.images.values())
            smooth = losses.CrossEntropyLabelSmooth(6) if p == 10 else F.cross_entropy
            total = sum(smooth(y, labels) for y in logits) + triplet(whole, labels)[0]
            total = total + (2 if p == 10 else 1) * sum(triplet(part, labels)[0] for part in parts)
            total.backward()
            for pool, where, reading in pools:
                head.pool = pool
                step = Step(model.train(), batch)
                compare.add('loss' + where, total, step.total, reading if p == 10 else '')
                compare.add('gradients of all parameters' + where, *twins.gradients(), reading)


def deen(folder: Path, compare: Comparisons) -> None:
    """Losses, embeddings and gradients with the settings of SYSU-MM01 and of RegDB."""
    text = """
        backbone.shared.stage?.dee?.expand.weight = DEE.FC1.weight + DEE.FC2.weight
        backbone.shared.stage?.dee?.expand.bias = DEE.FC1.bias + DEE.FC2.bias
        backbone.shared.stage?.dee?.dilated.0.weight = DEE.FC11.weight + DEE.FC21.weight
        backbone.shared.stage?.dee?.dilated.1.weight = DEE.FC12.weight + DEE.FC22.weight
        backbone.shared.stage?.dee?.dilated.2.weight = DEE.FC13.weight + DEE.FC23.weight
        tasks.expanded.head.branch ~ bottleneck
        tasks.expanded.head.branch.classifier ~ classifier
    """
    attention = """
        backbone.shared.stage*.mfa?.channels.q.* = MFA*.CNL.theta.*
        backbone.shared.stage*.mfa?.channels.k.* = MFA*.CNL.phi.*
        backbone.shared.stage*.mfa?.channels.v.* = MFA*.CNL.g.*
        backbone.shared.stage*.mfa?.channels.W.* = MFA*.CNL.W.0.*
        backbone.shared.stage*.mfa?.channels.norm.running_mean = MFA*.CNL.W.1.running_mean + MFA*.CNL.W.0.bias
        backbone.shared.stage*.mfa?.channels.norm.* = MFA*.CNL.W.1.*
    """
    text += attention + attention.replace('channels', 'positions').replace('CNL', 'PNL')
    regdb = {'inserts.mfa.after': {'_delete_': True, 'stage1': 1, 'stage2': 1}, 'inserts.dee.after': 'stage2'}
    regdb = {f'model.backbone.{key}': value for key, value in {**regdb, 'out_stages': (3,)}.items()}
    with imported(folder / 'LLCM' / 'DEEN', 'model', 'loss') as (network, losses):
        hard, cpm = losses.OriTripletLoss(0, 0.3), losses.CPMLoss(0.2)
        for dataset, options in (('SYSU-MM01', {}), ('RegDB', regdb | {'model.necks.pooled.inputs': 'stage3'})):
            theirs = randomized(network.embed_net(6, dataset='regdb' if options else 'sysu'))
            model = built('deen', {'model.backbone.inserts.mfa.fold': True, **options})
            twins = Twins(model, theirs, text, converter.BACKBONE)

            def released(x: Tensor, modality: int, net: nn.Module = theirs) -> Tensor:
                parts = (part.view(3, len(x), -1) for part in net.eval()(x, x, modality))
                return torch.cat([part.transpose(0, 1).flatten(1) for part in parts], 1)  # ours: an image, its copies

            compare.embeddings(f', {dataset}', released, model)
            batch = batch_of(3, 2)
            labels = batch.identities[VISIBLE].repeat(6)
            x, logits, apart = theirs.train()(*batch.images.values())
            first, *others = x.chunk(3)
            terms = {'id': F.cross_entropy(logits, labels), 'tri': hard(x, labels), 'ort': 0.01 * apart}
            terms['cpm'] = 0.8 * sum(cpm(torch.cat([first, other]), labels[:24]) for other in others)
            sum(terms.values()).backward()
            step = Step(model.train(), batch)
            for name, term in terms.items():
                compare.add(f'loss {name!r}, {dataset}', term, step.terms[f'expanded.{name}'])
            compare.add(f'gradients of all parameters, {dataset}', *twins.gradients())


def pmt(folder: Path, compare: Comparisons) -> None:
    """The losses, and a transformer of 4 blocks in a gray and in a color epoch."""
    from timm.layers import resample_abs_pos_embed  # only this system needs timm

    text = """
        backbone.shared ~ base
        tasks.stage4.head.branch.bnneck ~ bottleneck
        tasks.stage4.head.branch.classifier ~ classifier
    """
    names = ('model.make_model', 'model.vision_transformer', 'loss.DCL', 'loss.MSEL', 'loss.Triplet')
    with imported(folder / 'PMT' / 'Pytorch-PMT-VI-ReID', *names) as (network, vit, dcl, msel, hard):
        dcl, msel, hard = dcl.DCL(4), msel.MSEL(4), hard.TripletLoss(0.1, 'no')
        labels, x = torch.arange(8).repeat_interleave(4).repeat(2), torch.randn(64, 768, requires_grad=True)
        given = HeadOutput(x), labels
        context = Context(dict.fromkeys(MODALITIES, 32), labels)
        compare.loss('MSEL', msel(x, labels), built_loss('MSEL')(*given, context), x)
        compare.loss('DCL', dcl(x, labels), built_loss('DCL')(*given), x)
        compare.loss('triplet loss', hard(x, x, labels), built_loss('BatchHardTriplet', margin=0.1)(*given), x)

        why = "timm's bicubic with antialiasing, the code's bilinear without"
        grid, noise = torch.randn(1, 768, 4, 4), torch.randn(1, 197, 768)
        smooth = F.interpolate(grid, (14, 14), mode='bicubic').flatten(2).transpose(1, 2)
        for kind, position in (('smooth', torch.cat([noise[:, :1], smooth], 1)), ('white noise', noise)):
            released = vit.resize_pos_embed(position, torch.empty(1, 211, 768), 21, 10)
            own = resample_abs_pos_embed(position, (21, 10), (14, 14))
            compare.add(f'resampled position embedding, {kind}', released, own, why)

        settings = {'H': SIZE[0], 'W': SIZE[1], 'STRIDE_SIZE': 12, 'PRETRAIN_PATH': ''}
        settings |= dict.fromkeys(('DROP_PATH', 'DROP_OUT', 'ATT_DROP_RATE'), 0.0)
        network.ViT.load_param = lambda self, path: None
        network.ViT = functools.partial(network.ViT, depth=4)
        theirs = randomized(network.build_vision_transformer(6, types.SimpleNamespace(**settings)))
        model = built('pmt', {'model.backbone.options': {'depth': 4, 'drop_path_rate': 0.0}})
        twins = Twins(model, theirs, text)
        released = lambda x, m: theirs.eval()(x)  # noqa: E731
        compare.embeddings(', each with its epsilon', released, model, 'LayerNorm has 1e-6, the code 1e-5')
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = 1e-5
        compare.embeddings(', epsilon 1e-5 in both', released, model)
        batch = batch_of(4, 4)
        labels, both = batch.identities[VISIBLE], batch.identities[VISIBLE].repeat(2)
        for epoch in (5, 6):  # from 0
            theirs.train().zero_grad()
            logits, x = theirs(torch.cat(list(batch.images.values())))
            total = sum(F.cross_entropy(part, labels) for part in logits.chunk(2))
            if epoch == 5:
                total = total + sum(hard(part, part, labels) for part in x.chunk(2))
            else:
                total = total + hard(x, x, both) + 0.5 * dcl(x, both) + 0.5 * msel(x, both)
            total.backward()
            batch.progress = Progress(epoch, epoch, 1, 24)
            step = Step(model.train(), batch)
            compare.add(f'loss in epoch {epoch}', total, step.total)
            compare.add(f'gradients of all parameters in epoch {epoch}', *twins.gradients())


def aligngan(folder: Path, compare: Comparisons) -> None:
    """Images, features, and one step of the released training code, which updates nothing.

    Translated images have half of their size, and others a fifth, to save time. BatchNorm is in evaluation mode: the
    code passes the modalities one after the other, ours passes them together.
    """
    text = """
        translators.gan.generators.visible ~ G_rgb2ir
        translators.gan.generators.infrared ~ G_ir2rgb
        backbone.shared ~ encoder
        tasks.identity.head.project ~ embeder.embedder0
        tasks.identity.head ~ embeder.classifier0
        tasks.critic_v.head ~ D_rgb
        tasks.critic_i.head ~ D_ir
    """
    size, parts = (80, 72), ('translators.gan', 'heads.critic_v', 'heads.critic_i')
    options = {f'model.{part}.channels': 16 for part in parts}
    options |= {'images.size': size, 'model.translators.gan.size': (64, 64), 'model.translators.gan.blocks': 2}
    with imported(folder / 'AlignGAN', 'core.base', 'core.train') as (base, train):
        smaller = {(384, 192): size, (16, 16): (8, 8)}
        scaled = types.SimpleNamespace(interpolate=lambda x, to, mode: F.interpolate(x, smaller[tuple(to)], mode=mode))
        base.F = sys.modules['core.model'].F = scaled
        base.accuracy = lambda *_: (0.0,)  # needs an old torch
        parts = {
            'G_rgb2ir': base.Generator(16, 2), 'G_ir2rgb': base.Generator(16, 2), 'encoder': base.Encoder(),
            'D_rgb': base.Discriminator(64, 16, 4), 'D_ir': base.ConditionalDiscriminator(16),
            'embeder': base.Embeder(1, 6),
        }  # fmt: skip
        theirs = randomized(nn.ModuleDict(parts))
        model = built('aligngan', options)
        twins = Twins(model, theirs, text)
        batch = batch_of(2, 4, size=size)
        code = base.Base.__new__(base.Base)  # without its data
        vars(code).update(parts, part_num=1, device='cpu', margin=1.0, soft_bh=[0, 0])
        vars(code).update(lambda_pixel_tri=0.1, lambda_pixel_cls=0.1, lambda_feature_cls=1.0)
        vars(code).update(lambda_feature_triplet=1.0, lambda_feature_gan=0.1)
        code.config = types.SimpleNamespace(p_gan=2, k_gan=4)
        code._init_criterions()
        code.ones, code.zeros = torch.ones(8, 1, 2, 2), torch.zeros(8, 1, 2, 2)
        kept = {'G': ('G_',), 'D_rgb': ('D_rgb.',), 'D_ir': ('D_ir.',), 'ide': ('encoder.', 'embeder.')}
        kept = {name: Kept(theirs, *prefixes) for name, prefixes in kept.items()}
        vars(code).update({f'{name}_optimizer': keeper for name, keeper in kept.items()})
        labels, x = batch.identities[INFRARED], torch.randn(8, 256, requires_grad=True)
        within = built_loss('CrossModalCosineTriplet', margin=1.0, among=['infrared'])
        released = code.compute_triplet_loss(*[[x]] * 3, *[labels] * 3)
        compare.loss('triplets within infrared', released, within(HeadOutput(x), labels, Context({INFRARED: 8})), x)

        for mode in (False, True):  # evaluation comes first, as training moves statistics
            model.train(mode), theirs.train(mode)
            with torch.no_grad():
                own = model.translators['gan'](batch, needed={'real', 'fake', 'cycle'})
                real, fake = own.maps['real'], code.G_rgb2ir(own.maps['real'][VISIBLE])
                name = 'training' if mode else 'evaluation'
                compare.add(f'translated images, {name}', fake, own.maps['fake'][VISIBLE])
                compare.add(f'translated there and back, {name}', code.G_ir2rgb(fake), own.maps['cycle'][VISIBLE])
                shown = [code.process_images_4_encoder(x, True, True) for x in (fake, real[INFRARED])]
                compare.add(f'what the backbone sees, {name}', shown, [own.images[m] for m in MODALITIES])
                if not mode:
                    features = [code.embeder(code.encoder(x))[1] for x in shown]
                    compare.add('test features', features, [model.embed(batch.images[m], m) for m in MODALITIES])
        for module in (theirs['encoder'], theirs['embeder'], model.backbone, model.tasks['identity'].head):
            module.eval()
        loaders = types.SimpleNamespace()
        for name, m in (('rgb', VISIBLE), ('ir', INFRARED)):
            given = real[m], batch.identities[m], None, None
            iterator = types.SimpleNamespace(next_one=lambda given=given: given)
            vars(loaders).update({f'{name}_train_iter_{use}': iterator for use in ('gan', 'ide')})
        _, (*_, visible, infrared, triplets, feature) = train.train_feature_module_a_iter(None, code, loaders)
        _, (fool, cycle, same, critics, guide, names) = train.train_pixel_module_a_iter(None, code, loaders)

        terms, slopes = {}, {}
        for tasks, prefixes, keepers in (
            (['identity'], ('backbone.', 'tasks.identity.'), ('ide',)),
            (['fool', 'guide', 'cycle'], ('translators.',), ('G',)),
            (['critic_v', 'critic_i'], ('tasks.critic_',), ('D_rgb', 'D_ir')),
        ):
            terms |= Step(model, batch, tasks).terms
            released = {key: value for keeper in keepers for key, value in kept[keeper].gradients.items()}
            slopes[prefixes] = twins.gradients(*prefixes, released=released)
        for what, value, ours in (
            ('adversarial loss of the generators', fool, ('critic_v.fool', 'critic_i.fool')),
            ('cycle loss', 10 * cycle, ('cycle.l1',)),
            ('identity consistency', 5 * same, ('same.l1',)),
            ('critics', critics, ('critic_v.real', 'critic_v.fake', 'critic_i.real', 'critic_i.fake')),
            ('triplets of the generators', 0.1 * guide, ('identity.fake_tri',)),
            ('cross-entropy of the generators', 0.1 * names, ('identity.fake_id',)),
            ('cross-entropy of the backbone', visible + infrared, ('identity.id',)),
            ('triplets of the backbone', triplets, ('identity.tri',)),
            ('adversarial loss of the backbone', 0.1 * feature, ('critic_i.feature',)),
        ):
            compare.add(what, value, sum(terms[name] for name in ours))
        for prefixes, pair in slopes.items():
            compare.add(f'gradients of {" and ".join(prefixes)}*', *pair)


def hicmd(folder: Path, compare: Comparisons) -> None:
    """Codes, images and embeddings, and one step of the released training code, which updates nothing."""
    text = """
        identity.mix ~ combine_weight
        identity.network.0 ~ backbone_pro.model.layer2
        identity.network.1 ~ backbone_pro.model.layer3
        identity.metric ~ id_classifier.classifier.add_block2
        identity.classifier ~ id_classifier.classifier.classifier
        identity.linear ~ id_classifier.classifier.add_block.0
        identity.norm ~ id_classifier.classifier.add_block.1
    """
    for m, name in ((VISIBLE, 'RGB'), (INFRARED, 'IR')):
        text += f"""
            attributes.streams.{m} ~ gen_{name}.enc_att.model
            prototypes.{m} ~ gen_{name}.enc_pro
            critics.{m} ~ dis_{name}
        """
    for n in range(4):
        text += f"""
            decoder.blocks.{n}.first ~ gen_RGB.dec.model.0.model.{n}.model.0.conv
            decoder.blocks.{n}.second ~ gen_RGB.dec.model.0.model.{n}.model.1.conv
            decoder.blocks.{n}.scales ~ gen_RGB.dec.mlp_w{n + 1}
            decoder.blocks.{n}.biases ~ gen_RGB.dec.mlp_b{n + 1}
        """
    for n in (1, 3, 4, 5, 6):
        text += f"""
            decoder.image.{n}.convolution ~ gen_RGB.dec.model.{n + 1}.conv
            decoder.image.{n}.norm ~ gen_RGB.dec.model.{n + 1}.norm
        """
    with imported(folder / 'HiCMD', 'trainer', 'set_option') as (trainer, settings):
        opt = settings.opt_model(types.SimpleNamespace(flag_exp=1, data_name='SYSU'))
        vars(opt).update(nclasses=6, use_gpu=True, droprate=0)
        theirs = randomized(trainer.HICMD(opt))
        with torch.no_grad():
            for parameter in theirs.parameters():  # the modalities start equal, and biases at 0
                parameter.add_(0.1 * parameter.abs().mean() * torch.randn_like(parameter))
        batch = Batch({m: images(2, (64, 48)) for m in MODALITIES}, dict.fromkeys(MODALITIES, torch.tensor([1, 4])))
        model = built('hicmd', {'images.size': (64, 48), 'model.erasing': None})
        twins = Twins(model, theirs, text)
        seen, generators = batch.images, {VISIBLE: theirs.gen_RGB, INFRARED: theirs.gen_IR}
        model.eval(), theirs.eval()
        with torch.no_grad():
            prototypes, codes = model.encode(seen)
            compare.add('prototypes', [generators[m].enc_pro(seen[m]) for m in seen], [prototypes[m] for m in seen])
            compare.add(
                'attribute codes', [generators[m].enc_att(seen[m]) for m in seen], [codes[m].codes for m in seen]
            )
            decoded = [generators[m].dec(prototypes[m], codes[m].codes, 256) for m in seen]
            compare.add('decoded images', decoded, [model.decoder(prototypes[m], codes[m].codes) for m in seen])
            (embedded,), _ = theirs(opt, torch.cat(list(seen.values())), torch.tensor([1, 1, 0, 0]), None)
            compare.add('embeddings', embedded, torch.cat([model.embed(seen[m], m) for m in seen]))
        model.train(), theirs.train()
        theirs.to_re = lambda x: x  # no erasing
        parts = {'dis': ('dis_',), 'gen': ('gen_',), 'id': ('backbone_pro.', 'combine_weight.', 'id_classifier.')}
        kept = {name: Kept(theirs, *prefixes) for name, prefixes in parts.items()}
        vars(theirs).update({f'{name}_optimizer': keeper for name, keeper in kept.items()})
        labels = batch.identities[VISIBLE]
        vars(theirs).update(case_a='RGB', case_b='IR', labels_a=labels, labels_b=labels, is_neg=False)
        theirs.dis_update(*(x.clone() for x in seen.values()), opt, 'train')
        theirs.gen_update(*(x.clone() for x in seen.values()), [], [], opt, 'train')
        names = {'same': 'gen_recon_x', 'cross': 'gen_cross_x', 'cycle': 'gen_cyc_x', 'codes': 'gen_recon_s'}
        names |= {'prior': 'gen_kl', 'fool': 'gen_adv', 'id': 'CE', 'tri': 'trip'}
        for tasks, groups in (
            ({'critic': 'dis_total'}, {'dis': ('critics.',)}),
            (names, {'gen': ('prototypes.', 'attributes.', 'decoder.'), 'id': ('identity.',)}),
        ):
            model.zero_grad()
            losses = model(batch, list(tasks))
            total, weights = model.weighter(losses, Progress(0, 0, 1, 1))
            total.backward()
            for name, released in tasks.items():
                compare.add(
                    f'weighted loss {name!r}', getattr(theirs, f'loss_{released}'), weights[name] * losses[name]
                )
            for keeper, prefixes in groups.items():
                pair = twins.gradients(*prefixes, released=kept[keeper].gradients)
                compare.add(f'gradients of {" and ".join(prefixes)}*', *pair)


SYSTEMS = {system.__name__: system for system in (aligngan, hicmd, caj, hctri, deen, pmt)}


def main() -> None:
    """Prints the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='has the clones of the repositories')
    parser.add_argument('--systems', nargs='+', choices=SYSTEMS, default=list(SYSTEMS), metavar='SYSTEM')
    args = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    compare, started = Comparisons(), time.perf_counter()
    for compare.system in args.systems:
        torch.manual_seed(0)
        SYSTEMS[compare.system](args.folder.resolve(), compare)
    print(f'{compare.within} of {compare.all} within {GOAL:.0e}, in {time.perf_counter() - started:.0f} s')
    raise SystemExit(compare.within < compare.all)


if __name__ == '__main__':
    main()
