"""cmGAN's config on a tiny network: who learns from what, the game, and two processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults
import pytest
import torch
from torch import Tensor

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Progress
from vireid.errors import Mismatch
from vireid.launch.fabric import make_fabric
from vireid.plugin_manager.manager import create_manager
from vireid.runtime.batch_norm import synchronize_norms

CMGAN = Path(__file__).parents[2] / 'configs' / 'systems' / 'cmgan.py'
TINY = [
    'model.backbone={"type": "Pooled"}', 'model.heads.identity.inputs=deep', 'model.heads.modality.inputs=deep',
    'model.heads.identity.hidden=[6]', 'model.heads.modality.hidden=[7, 5]', 'images.size=[8, 4]',
    'dataset.root=/none', 'training.accelerator=cpu', 'training.precision=32-true',
]  # fmt: skip
LABELS = torch.arange(4).repeat_interleave(2)


def experiment(*overrides: str) -> Experiment:
    read = config.load(CMGAN, [*TINY, *overrides])
    read['model']['backbone'] = {'type': 'Pooled'}
    read['losses'] = {'across_ranks': True}
    manager = create_manager()
    manager.register(faults, 'faults')
    return Experiment.from_config(read, manager)


def batch(seed: int, dtype: torch.dtype = torch.float64) -> Batch:
    """Images of four identities in noise: two channels tell the identity, the third one tells the modality."""
    generator = torch.Generator().manual_seed(seed)
    colors = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])[LABELS]
    images = {}
    for modality, sign in ((VISIBLE, 1.0), (INFRARED, -1.0)):
        clean = torch.cat([colors, torch.full((8, 1), sign)], dim=1)[:, :, None, None].expand(-1, -1, 8, 4)
        images[modality] = (clean + torch.randn(clean.shape, generator=generator)).to(dtype)
    return Batch(images, dict.fromkeys(images, LABELS))


def built(*overrides: str, double: bool = True) -> tuple[Any, Any]:
    torch.manual_seed(0)
    made = experiment(*overrides)
    model = made.build_model(4)
    model = model.double() if double else model
    model.train()
    return model, made.build_step(model, make_fabric(made.training))


def at(step: int) -> Progress:
    return Progress(step // 10, step, 10, 1000)


def test_parameters():
    made = Experiment.from_config(
        config.load(CMGAN, ['model.backbone.weights=None', 'dataset.root=/none']), create_manager()
    )
    with torch.device('meta'):
        model = made.build_model(395)
    identity, discriminator = 2048 * 512 + 512 + 512 * 395 + 395, 2_550_502
    assert sum(p.numel() for p in model.parameters()) == 23_508_032 + identity + discriminator
    assert model.embedding_dim == 2048


def test_five_turns_of_the_network_then_one_of_the_discriminator():
    model, step = built()
    turns = []
    for number in range(7):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        step(batch(number), at(number))
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        sides = {name.startswith('tasks.modality.') for name in moved}
        assert len(sides) == 1  # BatchNorm statistics too
        turns.append('D' if sides.pop() else 'G')
    assert ''.join(turns) == 'GGGGGDG'


def literal(model: Any, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """L_id, L_tri and L_D of a batch, image by image."""
    shown, labels = batch(seed), torch.cat([LABELS, LABELS]).tolist()
    feature = model.backbone(shown.images)['deep'].mean(dim=(2, 3))
    logits = model.tasks['identity'].head.classifier(feature)
    identity = -sum(logits[i].log_softmax(0)[label] for i, label in enumerate(labels)) / 16
    scores = model.tasks['modality'].head.classifier(feature)
    modality = -sum(scores[i].log_softmax(0)[i // 8] for i in range(16)) / 16
    triplet = torch.zeros((), dtype=torch.float64)
    for anchors, others in ((range(8), range(8, 16)), (range(8, 16), range(8))):
        terms = [
            (1.4 + (feature[a] - feature[p]).norm() - (feature[a] - feature[n]).norm()).clamp_min(0)
            for a in anchors
            for p in others
            for n in others
            if labels[p] == labels[a] != labels[n]
        ]
        triplet = triplet + sum(terms) / len(terms)
    return identity, triplet, modality


@pytest.mark.parametrize(('number', 'side'), [(0, 'network'), (5, 'discriminator')])
def test_gradients_of_a_turn_are_those_of_its_side_alone(number, side):
    """The network descends L_id + L_tri - 0.05 L_D through a fixed discriminator, which descends L_D on its turn."""
    model, step = built()
    identity, triplet, modality = literal(model, number)
    named = dict(model.named_parameters())
    own = {name: p for name, p in named.items() if name.startswith('tasks.modality.') == (side == 'discriminator')}
    loss = modality if side == 'discriminator' else identity + triplet - 0.05 * modality
    wanted = torch.autograd.grad(loss, list(own.values()))
    record = step(batch(number), at(number))
    assert record['loss'] == pytest.approx(loss.item(), abs=1e-6)  # a record is in float32
    for (name, parameter), gradient in zip(own.items(), wanted, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=0, atol=1e-10), name
    assert all(p.grad is None for name, p in named.items() if name not in own)


def test_a_discriminator_that_no_optimizer_has_is_told():
    made = experiment("step.order=['network']")
    with pytest.raises(Mismatch, match=r'step\.order .*discriminator'):
        made.build_step(made.build_model(4), make_fabric(made.training))
    read = made.to_config()
    read['step'] = {**read['step'], 'order': None, 'optimizers': {'network': read['step']['optimizers']['network']}}
    made = Experiment.from_config(read, made.manager)
    with pytest.raises(Mismatch, match=r'step\.optimizers: .*tasks\.modality\.head\.classifier\.0\.weight'):
        made.build_step(made.build_model(4), make_fabric(made.training))


def played(weight: float, inverted: bool = False, steps: int = 120) -> tuple[float, float]:
    """Trains; returns how often the discriminator, and the identity classifier, are right about new images."""
    fast = '{"type": "Adam", "lr": 0.01}'
    fool = 'model.heads.modality.losses.fool'
    options = [f'{fool}.weight={weight}', f'{fool}.inverted={inverted}']
    optimizers = [f'step.optimizers.{name}.optimizer={fast}' for name in ('network', 'discriminator')]
    model, step = built(*options, *optimizers, double=False)
    for number in range(steps):
        step(batch(number, torch.float32), at(number))
    right = []
    with torch.no_grad():
        for seed in range(1000, 1010):
            feature = model.backbone(batch(seed, torch.float32).images)['deep'].mean(dim=(2, 3))
            told = model.tasks['modality'].head.classifier(feature).argmax(dim=1)
            named = model.tasks['identity'].head.classifier(feature).argmax(dim=1)
            right.append(((told == torch.arange(2).repeat_interleave(8)), named == torch.cat([LABELS, LABELS])))
    return tuple(torch.stack(found).float().mean().item() for found in zip(*right, strict=True))


def test_the_game_blinds_the_discriminator_and_costs_no_identity():
    """By chance half of its answers are right; untrained 52%, and 26% of the identities."""
    alone, in_game = played(0.0), played(-1.0)
    assert alone[0] >= 0.75
    assert in_game[0] <= 0.6
    assert min(alone[1], in_game[1]) >= 0.95


def test_inverted_modalities_blind_it_too():
    told, named = played(1.0, inverted=True)
    assert told <= 0.6
    assert named >= 0.95


def trained(processes: int, rank: int) -> dict[str, Any]:
    """Trains for seven turns, with a part of each batch; returns the losses and the weights."""
    torch.manual_seed(0)
    made = experiment(f'training.devices={processes}')
    fabric = make_fabric(made.training)
    model: Any = made.build_model(4).double().train()
    if processes > 1:
        synchronize_norms(model.backbone)
    step = made.build_step(model, fabric)
    losses = []
    for number in range(7):
        whole = batch(number)
        rows = slice(8 // processes * rank, 8 // processes * (rank + 1))
        part = Batch({m: whole.images[m][rows] for m in MODALITIES}, dict.fromkeys(MODALITIES, LABELS[rows]))
        losses.append(step(part, at(number))['loss'])
    return {'losses': losses, 'model': {name: value.clone() for name, value in model.state_dict().items()}}


def test_two_processes_are_one(tmp_path):
    def work(rank: int) -> Callable[[], None]:
        def run() -> None:
            torch.set_num_threads(1)
            torch.save(trained(2, rank), tmp_path / f'{rank}.pt')
            torch.distributed.destroy_process_group()

        return run

    threads = torch.get_num_threads()
    try:
        assert faults.in_children([work(0), work(1)]) == [0, 0]
    finally:
        torch.set_num_threads(threads)
    alone = trained(1, 0)
    first, second = (torch.load(tmp_path / f'{rank}.pt', weights_only=True) for rank in (0, 1))
    assert first['losses'] == second['losses'] == pytest.approx(alone['losses'], abs=1e-6)
    for name, value in alone['model'].items():
        assert torch.equal(first['model'][name], second['model'][name]), name
        torch.testing.assert_close(first['model'][name], value, atol=1e-9, rtol=1e-7, msg=name)
