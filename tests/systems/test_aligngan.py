"""AlignGAN's config: what each optimizer updates, its stages, the game of generator and critic, and parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.types import INFRARED, VISIBLE, Batch, FeatureSpec, Progress
from vireid.errors import Mismatch
from vireid.launch.fabric import make_fabric
from vireid.launch.weights import started_afresh
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.heads.patch_critic import PatchCritic
from vireid.plugins.losses.least_squares import LeastSquares
from vireid.plugins.translators.cycle_translator import CycleTranslator

SYSTEMS = Path(__file__).parents[2] / 'configs' / 'systems'
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[32,16]', 'dataset.root=/none',
    'training.precision=32-true', 'training.accelerator=cpu', 'model.translators.gan.size=[64,64]',
    'model.translators.gan.channels=2', 'model.translators.gan.blocks=1', 'model.heads.critic_v.channels=2',
    'model.heads.critic_i.channels=2', 'model.backbone.out_stages=[2]', 'model.heads.identity.inputs=stage2',
]  # fmt: skip
FEATURES, PIXELS = 'stages/aligngan_features', 'stages/aligngan_pixels'
LABELS = torch.arange(4).repeat_interleave(2)


def experiment(name: str = 'aligngan', *overrides: str) -> Experiment:
    read = config.load(SYSTEMS / f'{name}.py', [*SMALL, *overrides])
    critic = read['model']['heads']['critic_i']
    critic['inputs'] = ['stage2' if own == 'stage4' else own for own in critic['inputs']]
    return Experiment.from_config(read, create_manager())


def images(seed: int = 0, size: tuple[int, int] = (32, 16)) -> Batch:
    """Visible images are red on the left, infrared ones gray; both with noise."""
    generator = torch.Generator().manual_seed(seed)
    shown = {m: 0.3 * torch.randn(8, 3, *size, generator=generator) for m in (VISIBLE, INFRARED)}
    shown[VISIBLE][:, 0, :, : size[1] // 2] += 1.5
    shown[INFRARED] = shown[INFRARED].mean(1, keepdim=True).expand(-1, 3, -1, -1) - 0.5
    return Batch(shown, dict.fromkeys(shown, LABELS))


def train(made: Experiment, model: Any, steps: int, first: int = 0) -> list[dict[str, Any]]:
    step = made.build_step(model, make_fabric(made.training))
    model.train()
    return [step(images(n), Progress(0, n, steps, steps)) for n in range(first, first + steps)]


def moved(before: dict[str, torch.Tensor], model: Any) -> set[str]:
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    return {'.'.join(name.split('.')[: 2 if name.startswith('tasks') else 1]) for name in changed}


@pytest.mark.parametrize(
    ('name', 'parts'),
    [
        ('aligngan', {'backbone', 'tasks.identity', 'translators', 'tasks.critic_v', 'tasks.critic_i'}),
        (FEATURES, {'backbone', 'tasks.identity'}),
        (PIXELS, {'translators', 'tasks.critic_v', 'tasks.critic_i'}),
    ],
)
def test_what_each_stage_updates(name: str, parts: set[str]) -> None:
    made = experiment(name)
    model: Any = made.build_model(4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    (record,) = train(made, model, 1)
    assert moved(before, model) == parts
    if name == 'aligngan':  # a scalar of each adversary
        assert {'fool', 'critic_v', 'critic_i'} <= record['tasks'].keys()


def test_the_stages_hand_over_all_but_the_critics() -> None:
    with torch.device('meta'):
        made = {name: experiment(name) for name in (FEATURES, PIXELS, 'aligngan')}
        states = {name: own.build_model(4).state_dict() for name, own in made.items()}
    for earlier, later in ((FEATURES, PIXELS), (PIXELS, 'aligngan')):
        kept = started_afresh(states[earlier], states[later], made[later].training.init_except)
        assert kept.keys() == states[later].keys()
        fresh = {name for name in kept if kept[name] is states[later][name]}
        assert {name.split('.')[1] for name in fresh} == {'critic_v', 'critic_i'}


def test_the_first_stage_does_not_see_visible_images() -> None:
    made = experiment(FEATURES)
    model: Any = made.build_model(4).train()
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(set(args[0])))
    losses = model(images())
    model.eval()
    assert set(losses) == {'identity'}
    assert seen == [{INFRARED}]
    with torch.no_grad():
        assert model.embed(images().images[VISIBLE], VISIBLE).shape == (8, 128)


def test_the_game() -> None:
    """A critic alone tells real images from translated ones it has not seen; a generator that then learns fools it."""
    torch.manual_seed(0)
    translator = CycleTranslator({VISIBLE: 3, INFRARED: 3}, (16, 8), size=None, channels=4, blocks=0, running=False)
    image = FeatureSpec(3, 'map', 'paired', (16, 8))
    critic = PatchCritic((image, image), VISIBLE, channels=8, doublings=1)
    real, fake = LeastSquares(1.0), LeastSquares(0.0)

    def outputs(seed: int) -> dict[str, Any]:
        maps = translator(images(seed, (16, 8)), needed=('real', 'fake')).maps
        return critic(maps['real'], maps['fake'])

    def told() -> float:
        """The share of translated images that the critic tells; the real ones are all told."""
        with torch.no_grad():
            out = outputs(99)
        assert (out['real'].feature.mean(1) > 0.5).all()
        return (out['fake'].feature.mean(1) < 0.5).float().mean().item()

    optimizer = torch.optim.Adam(critic.parameters(), lr=0.01)
    for seed in range(15):
        out = outputs(seed)
        optimizer.zero_grad()
        (real(out['real'], LABELS) + fake(out['fake'], LABELS)).backward()
        optimizer.step()
    assert told() == 1
    optimizer = torch.optim.Adam(translator.parameters(), lr=0.01)
    for seed in range(40):
        optimizer.zero_grad()
        real(outputs(seed)['fake'], LABELS).backward()
        optimizer.step()
    assert told() == 0


def test_a_critic_that_no_optimizer_has_is_refused() -> None:
    made = experiment('aligngan', 'step.optimizers.critics.parameters=["tasks.critic_v.*"]')
    with pytest.raises(Mismatch, match=r'step\.optimizers: .*tasks\.critic_i\.head\.image\.0\.weight .*\d'):
        made.build_step(made.build_model(4), make_fabric(made.training))


def test_modalities_that_are_missing() -> None:
    """One modality alone is embedded as beside the other; in training, the message names what is missing."""
    made = experiment()
    model: Any = made.build_model(4).eval()
    given = images()
    with torch.no_grad():
        both = model.embed_joint(given.images)
        alone = torch.cat([model.embed(given.images[m], m) for m in (VISIBLE, INFRARED)])
    assert torch.allclose(both, alone, atol=1e-5)
    half = Batch({INFRARED: given.images[INFRARED]}, {INFRARED: LABELS})
    with pytest.raises(Mismatch, match=r'visible .*infrared'):
        model(half, tasks={'critic_v'})


def test_parameters_by_hand() -> None:
    read = config.load(SYSTEMS / 'aligngan.py', ['model.backbone.weights=None', 'dataset.root=/none'])
    with torch.device('meta'):
        model: Any = Experiment.from_config(read, create_manager()).build_model(395)
    head = 2 * (2048 * 256 + 256) + 2 * 256 + 256 * 395 + 395
    networks = 2 * 6_053_504 + 11_155_392 + 11_810_816  # generators and critics; see their tests
    assert sum(p.numel() for p in model.parameters()) == 23_508_032 + head + networks
