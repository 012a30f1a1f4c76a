"""HiCMD on tiny networks: its losses pair by pair, its turns, its swaps, and what it refuses."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, HeadOutput, Modality, Progress
from vireid.errors import Conflict, Mismatch, TooFew, UnknownName, WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.backbones.streams import TwoStreams
from vireid.plugins.losses.cosine_triplet import CosineTriplet

GENERATOR = ['same', 'cross', 'cycle', 'codes', 'prior', 'fool']


class Tiny(TwoStreams):
    """Five stages of one convolution with BatchNorm; stages 0 and 2 halve the map."""

    def __init__(
        self, shared_from: int = 5, out_stages: Sequence[int] = (4,), modalities: Mapping[Modality, int] | None = None
    ) -> None:
        super().__init__(shared_from, out_stages, modalities)
        self.add_stages(lambda channels: {f'stage{s}': stage(16 if s else channels, 2 - s % 2) for s in range(5)})
        self.outputs = {f'stage{s}': self.spec(s, 16, None) for s in self.out_stages}


def stage(inputs: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, 16, 3, stride, 1), nn.BatchNorm2d(16), nn.ReLU())


CONFIG: dict[str, Any] = {
    'type': 'HiCMD',
    'backbone': {'type': 'Tiny', 'shared_from': 5, 'out_stages': [4]},
    'losses': {'id': {'type': 'CrossEntropy'}, 'tri': {'type': 'CosineTriplet'}},
    'weighter': {'type': 'Fixed', 'tasks': {'same': 5, 'cross': 5, 'cycle': 5, 'tri': 2}},
    'dilations': (1, 2), 'hidden': 8, 'critic_width': 2, 'critic_scales': 2, 'channels': 12, 'metric_channels': 6,
    'dropout': 0.0,
}  # fmt: skip
SIZE = (16, 12)
ADAM = {'type': 'Adam', 'lr': 1e-3}
STEP: dict[str, Any] = {
    'type': 'MultipleOptimizers',
    'optimizers': {
        'critics': {'parameters': ['critics.*'], 'tasks': ['critic'], 'optimizer': ADAM},
        'generator': {
            'parameters': ['prototypes.*', 'attributes.*', 'decoder.*'],
            'tasks': [*GENERATOR, 'id', 'tri'],
            'optimizer': ADAM,
        },
        'identity': {'parameters': ['identity.*'], 'tasks': ['id', 'tri'], 'optimizer': ADAM},
    },
    'order': ['critics', ['generator', 'identity']],
    'all_turns': True,
}


def build(seed: int = 0, **settings: Any) -> Any:
    components = create_manager().components
    components.add('backbones', 'Tiny', Tiny)
    torch.manual_seed(seed)
    config = {**copy.deepcopy(CONFIG), **settings}
    return components.build('models', config, where='model', num_identities=5, modalities=dict.fromkeys(MODALITIES, 3))


def step_of(model: Any, **settings: Any) -> Any:
    components = create_manager().components
    fabric = Fabric(accelerator='cpu', devices=1)
    config = {**copy.deepcopy(STEP), **settings}
    return components.build('steps', config, where='step', model=model, fabric=fabric, components=components)


def batch(labels: Sequence[int] = (0, 3, 1), seed: int = 1, dtype: torch.dtype = torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = {m: torch.randn(len(labels), 3, *SIZE, generator=generator, dtype=dtype) for m in MODALITIES}
    return Batch(images, dict.fromkeys(MODALITIES, torch.tensor(labels)))


def varied(model: Any) -> Any:
    """The model in float64 with random statistics and weights that differ between the modalities."""
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    return model


STYLE = [j + 4 * k for k in range(4) for j in (0, 1)]
POSE = [2 + 4 * k for k in range(4)]
LIGHT = [3 + 4 * k for k in range(4)]


def literal(model: Any, given: Batch, own_style: bool = False) -> dict[str, Tensor]:
    """The losses of the definition, pair by pair; the networks are in eval mode, where images do not meet."""
    labels = given.identities[VISIBLE].tolist()
    loss = {name: torch.zeros((), dtype=torch.float64) for name in (*GENERATOR, 'critic')}
    rows: list[list[Tensor]] = [[] for _ in range(8)]

    def encode(image: Tensor, modality: Modality) -> tuple[Tensor, Tensor]:
        (found,) = model.attributes({modality: image})['stage4'].values()
        return model.prototypes[modality](image), found.mean(dim=(2, 3))[0]

    def code(parts: Sequence[tuple[list[int], Tensor]]) -> Tensor:
        made = torch.zeros(16, dtype=torch.float64)
        for places, source in parts:
            for place in places:
                made = made + source[place] * torch.nn.functional.one_hot(torch.tensor(place), 16)
        return made[None]

    def joined(prototype: Tensor, source: Tensor) -> Tensor:
        shape, style = model.identity.network(prototype).mean(dim=(2, 3))[0], source[STYLE]
        mix = model.identity.mix
        return torch.cat([mix * shape / shape.norm(), (1 - mix) * style / style.norm()])

    def l1(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().sum() / a.numel() / len(labels)

    for row in range(len(labels)):
        image = {m: given.images[m][row : row + 1] for m in MODALITIES}
        proto, attr = ({m: encode(image[m], m)[part] for m in MODALITIES} for part in (0, 1))
        swapped, again, mixed = {}, {}, {}
        for m, o in ((VISIBLE, INFRARED), (INFRARED, VISIBLE)):
            mixed[m] = code([(STYLE, attr[o]), (POSE + LIGHT, attr[m])])
            swapped[m] = model.decoder(proto[o], mixed[m])
            again[m] = encode(swapped[m], m)
        for m, o in ((VISIBLE, INFRARED), (INFRARED, VISIBLE)):
            loss['same'] = loss['same'] + l1(
                model.decoder(proto[m], attr[m][None] if own_style else mixed[m]), image[m]
            )
            loss['cross'] = loss['cross'] + l1(swapped[m], image[m])
            loss['cycle'] = loss['cycle'] + l1(model.decoder(again[o][0], mixed[m]), image[m])
            loss['codes'] = loss['codes'] + l1(again[m][1][POSE + LIGHT], attr[m][POSE + LIGHT])
            loss['codes'] = loss['codes'] + l1(again[m][1][STYLE], attr[o][STYLE])
            loss['prior'] = loss['prior'] + attr[m][POSE + LIGHT].square().mean() / len(labels)
            relit = model.decoder(proto[o], code([(STYLE + POSE, attr[o]), (LIGHT, attr[m])]))
            for made in (swapped[m], relit):
                for scale in model.critics[m](made):
                    loss['fool'] = loss['fool'] + (scale - 1).square().mean() / len(labels)
                for scale in model.critics[m](made.detach()):
                    loss['critic'] = loss['critic'] + scale.square().mean() / len(labels)
                real = image[m].clone().requires_grad_()
                for scale in model.critics[m](real):
                    (gradient,) = torch.autograd.grad(scale.sum(), real, create_graph=True)
                    penalty = 0.01 * gradient.square().sum()
                    loss['critic'] = loss['critic'] + ((scale - 1).square().mean() + penalty) / len(labels)
        made = {m: encode(swapped[m].detach(), m) for m in MODALITIES}
        vectors = [joined(proto[m], attr[m]) for m in MODALITIES] + [joined(*made[m]) for m in MODALITIES]
        vectors += [joined(proto[m], made[m][1]) for m in MODALITIES] + [
            joined(made[m][0], attr[m]) for m in MODALITIES
        ]
        for own, vector in zip(rows, vectors, strict=True):
            own.append(model.identity.norm(model.identity.linear(vector)[None])[0])
    embedded = torch.stack([vector for own in rows for vector in own])
    logits, repeated = model.identity.classifier(embedded), labels * 8
    loss['id'] = -sum(logits[i].log_softmax(0)[label] for i, label in enumerate(repeated)) / len(repeated)
    loss['tri'] = CosineTriplet()(HeadOutput(model.identity.metric(embedded)), torch.tensor(repeated))
    return loss


@pytest.mark.parametrize('style', ['partner', 'own'])
def test_losses_are_those_of_the_definition_with_gradients(style):
    model = varied(build(same_style=style)).eval()
    given = batch((3, 1), dtype=torch.float64)
    found, wanted = model(given), literal(model, given, style == 'own')
    assert list(found) == [*GENERATOR, 'critic', 'id', 'tri']
    for name, loss in found.items():
        assert loss.item() == pytest.approx(wanted[name].item(), abs=1e-10), name
    parameters = list(model.parameters())
    own, other = (
        torch.autograd.grad(sum((k + 1) * losses[name] for k, name in enumerate(found)), parameters, allow_unused=True)
        for losses in (found, wanted)
    )
    for (name, _), a, b in zip(model.named_parameters(), own, other, strict=True):
        assert (a is None) == (b is None), name
        assert a is None or torch.allclose(a, b, rtol=0, atol=1e-10), name


def test_each_task_alone_is_what_it_is_among_all():
    model = build().eval()
    whole = model(batch())
    for name in whole:
        alone = model(batch(), tasks=[name])
        assert list(alone) == [name]
        assert torch.allclose(alone[name], whole[name])


def test_who_learns_from_what():
    model = build()
    reached = {}
    for name, loss in model(batch()).items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        reached[name] = {n.split('.')[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    encoders = {'prototypes', 'attributes'}
    assert {n for n in GENERATOR if reached[n] == {*encoders, 'decoder'}} == {'same', 'cross', 'cycle', 'codes'}
    assert reached['prior'] == {'attributes'}
    assert reached['fool'] == {*encoders, 'decoder', 'critics'}
    assert reached['critic'] == {'critics'}  # generated images are detached
    assert reached['id'] == reached['tri'] == {*encoders, 'identity'}  # not the decoder


def test_a_step_moves_the_critics_then_generator_and_identity():
    model = build()
    step = step_of(model)
    alone = build()
    sequence = step_of(alone, all_turns=False)
    record = step(batch(), Progress(0, 0, 5, 5))
    for number, moved in ((0, {'critics'}), (1, {'prototypes', 'attributes', 'decoder', 'identity'})):
        before = {name: value.clone() for name, value in alone.state_dict().items()}
        sequence(batch(), Progress(0, number, 5, 5))
        changed = {name for name, value in alone.state_dict().items() if not torch.equal(value, before[name])}
        assert {name.split('.')[0] for name in changed} == moved  # BatchNorm statistics too
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in model.state_dict().items())
    assert set(record['curves']['loss of']) == {'critics', 'generator', 'identity'}


def test_a_step_continues_from_a_saved_state_bit_for_bit():
    """With dropout and erasing. `benchmarks/faults_in_stages.py hicmd` kills whole runs."""
    random = {'dropout': 0.5, 'erasing': {'type': 'RandomErasing'}}
    model = build(**random)
    step = step_of(model)
    torch.manual_seed(7)
    step(batch(), Progress(0, 0, 5, 5))
    saved, randomness = copy.deepcopy((model.state_dict(), step.state_dict())), torch.get_rng_state()
    record = step(batch(seed=2), Progress(0, 1, 5, 5))
    again = build(1, **random)
    resumed = step_of(again)
    again.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    torch.set_rng_state(randomness)
    assert resumed(batch(seed=2), Progress(0, 1, 5, 5)) == record
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_two_images_per_forward_are_enough_for_batch_norm_and_the_embedding_does_not_depend_on_the_batch():
    """Each BatchNorm sees one set of images: here, as in the released code, two."""
    model = build()
    sizes = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    step_of(model)(batch((0, 1)), Progress(0, 0, 5, 5))
    assert set(sizes) == {2}
    model.eval()
    images = torch.randn(3, 3, *SIZE)
    with torch.no_grad():
        whole = model.embed(images, INFRARED)
        assert whole.shape == (3, 12)
        assert torch.allclose(whole[1:2], model.embed(images[1:2], INFRARED), atol=1e-5)


def test_erased_images_are_read_for_identity_alone():
    model, whole = build(erasing={'type': 'RandomErasing', 'p': 1.0, 'scale': [0.3, 0.4]}).eval(), build().eval()
    given, before = batch(), batch()
    erased, plain = model(given), whole(batch())
    differing = {name for name in erased if not torch.equal(erased[name], plain[name])}
    assert differing == {'id', 'tri'}
    assert all(torch.equal(given.images[m], before.images[m]) for m in MODALITIES)


def test_a_swap_grid_is_decoded_pair_by_pair():
    model = build().train()
    shown = batch((0, 1, 2))
    shown.images[INFRARED] = shown.images[INFRARED][:2]
    shown.identities[INFRARED] = shown.identities[INFRARED][:2]
    grid = model.swap_grid(shown)
    assert grid.shape == (3, 2, 3, *SIZE)
    assert model.training
    model.eval()
    prototypes, codes = model.encode(shown.images)
    for row in range(3):
        for column in range(2):
            code = codes[INFRARED].codes[column].clone()
            code[STYLE] = codes[VISIBLE].codes[row][STYLE]
            wanted = model.decoder(prototypes[VISIBLE][row : row + 1], code[None])[0]
            assert torch.allclose(grid[row, column], wanted, atol=1e-5)
    within = model.swap_grid(shown, columns=VISIBLE)
    own = model.decoder(prototypes[VISIBLE], codes[VISIBLE].codes)
    assert torch.allclose(within.diagonal().permute(3, 0, 1, 2), own, atol=1e-5)  # each image with its own attributes


def test_a_swap_with_one_identity_is_refused():
    model = build()
    for call in (model, model.swap_grid):
        with pytest.raises(TooFew, match=r'sampler\.identities to 2'):
            call(batch((2, 2, 2)))
    shown = batch()
    shown.images.pop(INFRARED)
    with pytest.raises(Mismatch, match='infrared'):
        model.swap_grid(shown)


def test_rows_that_are_not_pairs_are_refused():
    model, shown = build(), batch()
    shown.identities = {VISIBLE: torch.tensor([0, 3, 1]), INFRARED: torch.tensor([0, 1, 3])}
    with pytest.raises(Mismatch, match=r'3 visible .* 3 infrared'):
        model(shown)
    shown = batch()
    shown.images[INFRARED], shown.identities[INFRARED] = shown.images[INFRARED][:2], torch.tensor([0, 3])
    with pytest.raises(Mismatch, match=r'3 visible .* 2 infrared(.*\n)*.*sampler\.visible'):
        model(shown)


def test_a_batch_without_a_positive_trains():
    """Each identity has one pair, whose images are positives of each other; a missing one never becomes a negative."""
    model = build()
    record = step_of(model)(batch((0, 1, 2, 3)), Progress(0, 0, 5, 5))
    assert all(torch.tensor(loss).isfinite() for loss in record['tasks'].values())


@pytest.mark.parametrize(
    ('settings', 'kind', 'fact'),
    [
        ({'backbone': {'type': 'Tiny', 'shared_from': 2}}, Mismatch, r'stage4 \(joint map\)'),
        ({'backbone': {'type': 'Tiny', 'out_stages': [3, 4]}}, Mismatch, r'stage3 \(paired map\), stage4'),
        ({'losses': {'cycle': {'type': 'CrossEntropy'}}}, Conflict, r'losses\.cycle'),
        ({'losses': {'x': {'type': 'CrossModalityGap'}}}, Mismatch, r'losses\.x: CrossModalityGap .*context'),
        ({'penalty': -1.0}, WrongValue, 'penalty is -1'),
        ({'dropout': 1.0}, WrongValue, 'dropout is 1'),
        ({'critic_scales': 0}, WrongValue, 'critic_scales is 0'),
        ({'same_style': 'mine'}, WrongValue, 'same_style'),
        ({'weighter': {'type': 'Fixed', 'tasks': {'cycles': 1}}}, UnknownName, "'cycles'.*'cycle'"),
    ],
)
def test_invalid_settings_are_refused(settings, kind, fact):
    with pytest.raises(kind, match=fact) as caught:
        build(**settings)
    if 'losses' in settings:
        assert caught.value.path == f'model.losses.{next(iter(settings["losses"]))}'


def test_other_modalities_are_refused():
    components = create_manager().components
    components.add('backbones', 'Tiny', Tiny)
    with pytest.raises(Mismatch, match="'gray'"):
        components.build(
            'models', copy.deepcopy(CONFIG), where='model', num_identities=5,
            modalities={VISIBLE: 3, INFRARED: 3, 'gray': 3},
        )  # fmt: skip


def test_critics_that_no_optimizer_has_are_told():
    optimizers = {name: own for name, own in copy.deepcopy(STEP['optimizers']).items() if name != 'critics'}
    with pytest.raises(Mismatch, match=r'critics\.visible'):
        step_of(build(), optimizers=optimizers, order=None, all_turns=False)


def colored(seed: int) -> Batch:
    """Pairs of four identities in noise: visible images have a color, infrared ones the next one's brightness."""
    generator = torch.Generator().manual_seed(seed)
    colors = torch.tensor([[2.0, 0, 0], [0, 2, 2], [-2, 0, -2], [-2, -2, -2]]).repeat_interleave(2, dim=0)
    visible = colors[:, :, None, None].expand(-1, -1, *SIZE)
    infrared = visible.mean(dim=1, keepdim=True).expand_as(visible).roll(2, dims=0)
    images = {VISIBLE: visible, INFRARED: infrared}
    noisy = {m: x + 0.3 * torch.randn(x.shape, generator=generator) for m, x in images.items()}
    return Batch(noisy, dict.fromkeys(MODALITIES, torch.arange(4).repeat_interleave(2)))


def rank_1(model: Any, seed: int) -> float:
    """How often the visible image nearest to an infrared one has its identity; by chance 0.25."""
    shown = colored(seed)
    with torch.no_grad():
        visible, infrared = (nn.functional.normalize(model.eval().embed(shown.images[m], m)) for m in MODALITIES)
    nearest = (infrared @ visible.T).argmax(dim=1) // 2
    model.train()
    return (nearest == torch.arange(8) // 2).float().mean().item()


@pytest.mark.long
def test_it_learns_to_find_and_to_swap():
    """Identities across the modalities, in images it has not seen, and images that look like the other modality.

    With five seeds rank-1 is at least 0.96, and the distance at most 0.51 of what it was.
    """
    steps = 40
    model = build(2, channels=32, metric_channels=16, dilations=(1,), critic_scales=1)
    optimizers = copy.deepcopy(STEP['optimizers'])
    for own in optimizers.values():
        own['optimizer'] = {'type': 'Adam', 'lr': 5e-3, 'betas': [0.5, 0.999]}
        own['schedule'] = [{'type': 'CosineAnnealingLR', 'T_max': steps, 'by': 'step'}]
    step = step_of(model, optimizers=optimizers)

    def state() -> tuple[float, float]:
        with torch.no_grad():
            cross = model.eval()(colored(999), tasks=['cross'])['cross'].item()
        return sum(rank_1(model, seed) for seed in (1000, 1001, 1002)) / 3, cross

    found, distance = state()
    assert found <= 0.5  # by chance 0.25
    for number in range(steps):
        model.train()
        torch.manual_seed(number)
        step(colored(number), Progress(0, number, steps, steps))
    learned, left = state()
    assert learned >= 0.7
    assert left <= 0.6 * distance
