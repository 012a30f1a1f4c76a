"""Every compared system, small: it learns to find identities across the modalities, in images it has not seen.

`docs/systems/README.md` has the table over seeds, on synthetic people.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.retrieval import compare, score, score_similarity
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Progress, Sample, Trial
from vireid.launch.fabric import make_fabric
from vireid.plugin_manager.manager import create_manager

SYSTEMS = Path(__file__).parents[1] / 'configs' / 'systems'
UNTRAINED = ('hog', 'lomo', 'mlapg')  # tests/test_hand_crafted.py
SLOW = ('hicmd',)  # 25 steps would take a minute; tests/plugins/models/test_hicmd.py has its own, on tiny networks
NAMES = sorted(path.stem for path in SYSTEMS.glob('*.py') if path.stem not in (*UNTRAINED, *SLOW))
NOT_NARROW = ('aligngan', 'd2rl', 'deen', 'xmodal')  # these take many more steps then
IDENTITIES, SHOTS = 4, 2
# training steps; for the others 45. With four seeds, each finds at least 0.9; the rounding of another processor is like
# another seed
STEPS = {'aligngan': 40, 'd2rl': 12, 'deen': 15, 'xmodal': 24, 'caj': 90}
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[48,16]', 'training.accelerator=cpu',
    'step.optimizer={"type": "Adam", "lr": 0.001}', 'step.groups={}', 'step.schedule=[]', 'training.precision=32-true',
    'dataset.root=/none',
]  # fmt: skip
VIT = ['model.backbone.network=test_vit', *SMALL[1:]]  # a vision transformer has no depth 18
OWN = {  # narrow generators and critics, which would take minutes
    'aligngan': [
        'model.translators.gan.size=[64,64]', 'model.translators.gan.channels=4', 'model.translators.gan.blocks=1',
        'model.heads.critic_v.channels=4', 'model.heads.critic_i.channels=4',
        'step.optimizers.generator.identities=2', 'step.optimizers.critics.identities=2',
        'model.translators.gan.running=False',  # the running statistics of so few steps are not those of the images
        'step.schedule=[{"type": "CosineAnnealingLR", "T_max": 40, "by": "step"}]',  # else weights swing to the end
    ],
    'd2rl': [
        'model.translators.unify.size=None', 'model.translators.unify.channels=4', 'model.translators.unify.blocks=1',
        'model.heads.critic_v.channels=4', 'model.heads.critic_v.scales=1',
        'model.heads.critic_i.channels=4', 'model.heads.critic_i.scales=1',
    ],
}  # fmt: skip
WIDE = ('tone', 'hcml')  # their embedding has 2048 channels


def images(seed: int) -> dict[str, Tensor]:
    """Images of four identities, in noise: visible ones have a color for each half, infrared ones the brightness of
    the next identity's, so that nobody finds anything who has not learned it."""
    generator = torch.Generator().manual_seed(seed)
    colors = torch.tensor(
        [[[2, 0, 0], [-2, -1, 0]], [[-2, 0, 0], [2, 1, 0]], [[2, 1, 0], [2, 2, 2]], [[-1, -2, 0], [-2, -2, 0]]]
    )
    whole = colors.float().repeat_interleave(SHOTS, dim=0)  # (8, 2, 3)
    visible = whole.transpose(1, 2).repeat_interleave(24, dim=2)[..., None].expand(-1, -1, -1, 16)  # (8, 3, 48, 16)
    infrared = visible.mean(dim=1, keepdim=True).expand_as(visible).roll(SHOTS, dims=0)
    return {
        m: found + torch.randn(found.shape, generator=generator)
        for m, found in ((VISIBLE, visible), (INFRARED, infrared))
    }


def on_stage_3(value: Any) -> Any:
    """Returns a part of a config that reads stage 3 where it read stage 4, which has three quarters of the weights."""
    if isinstance(value, dict):
        return {on_stage_3(key): on_stage_3(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [on_stage_3(item) for item in value]
    return 'stage3' if value == 'stage4' else value


def experiment(name: str) -> Experiment:
    read = config.load(SYSTEMS / f'{name}.py', [*(VIT if name == 'pmt' else SMALL), *OWN.get(name, [])])
    if 'optimizers' in read['step']:  # of MultipleOptimizers, each takes what the one of SingleOptimizer does
        own = {key: read['step'].pop(key) for key in ('optimizer', 'groups', 'schedule')}
        read['step']['optimizers'] = {key: {**value, **own} for key, value in read['step']['optimizers'].items()}
    model = on_stage_3(read['model'])
    backbone = model['backbone']
    shared_from = backbone['shared_from']
    # what is shared from the last stage on stays so
    model['backbone'] = {**backbone, 'out_stages': [3], 'shared_from': 3 if shared_from == 4 else shared_from}
    if name in WIDE:
        model['heads']['both']['channels'] = 512
    return Experiment.from_config({**read, 'model': model}, create_manager())


def rank_1(made: Experiment, model: Any, found: dict[str, Tensor]) -> float:
    """Rank-1 of infrared queries in a gallery of visible images; by chance it is 0.25."""
    samples = {
        m: tuple(Sample(f'{m}{i}', i // SHOTS, 1 + (m == INFRARED), m) for i in range(IDENTITIES * SHOTS))
        for m in MODALITIES
    }

    def embed(found: dict[str, Tensor]) -> Embeddings:
        with torch.no_grad():
            features = torch.cat([torch.nn.functional.normalize(model.embed(found[m], m)) for m in MODALITIES])
        return Embeddings((*samples[VISIBLE], *samples[INFRARED]), features.numpy())

    embeddings = embed(found)
    trial = Trial('infrared to visible', 0, samples[INFRARED], samples[VISIBLE])
    query, gallery = embeddings.of(trial.query), embeddings.of(trial.gallery)
    similarity: Any = made.build_similarity(model)
    if similarity is None:
        return score(query, gallery, trial).rank(1)
    if hasattr(similarity, 'fit'):
        similarity.fit(embed(images(0)))
    return score_similarity(compare(similarity, query, gallery, trial), trial).rank(1)


def train_step(made: Experiment, step: Any, number: int, steps: int) -> None:
    """Trains on the images of a seed."""
    torch.manual_seed(number)
    labels = torch.arange(IDENTITIES).repeat_interleave(SHOTS)
    shown, cameras = images(number), {VISIBLE: labels % 2 + 1, INFRARED: labels % 2 * 3 + 3}
    for view, settings in made.images.views.items():  # one channel of what it is a view of
        shown[view] = shown[settings.of][:, number % 3, None].expand(-1, 3, -1, -1)
        cameras[view] = cameras[settings.of]
    batch = Batch(shown, dict.fromkeys(shown, labels), cameras)
    record = step(batch, Progress(number // 10, number, 10, steps))
    assert torch.tensor(record['loss']).isfinite()


@pytest.mark.parametrize('name', [pytest.param(n, marks=pytest.mark.long) if n == 'aligngan' else n for n in NAMES])
def test_a_system_learns_to_find_across_the_modalities(name: str, narrowed: Any) -> None:
    """By chance rank-1 is 0.25, without learning 0 to 0.5; but for HCML's, whose fit learns on an untrained network."""
    steps = STEPS.get(name, 45)
    torch.manual_seed(0)
    made = experiment(name)
    with nullcontext() if name in NOT_NARROW else narrowed():
        model: Any = made.build_model(IDENTITIES)
    step = made.build_step(model, make_fabric(made.training))
    model.train()
    for number in range(steps):
        train_step(made, step, number, steps)
    model.eval()
    assert sum(rank_1(made, model, images(seed)) for seed in (1000, 1001, 1002, 1003)) / 4 >= 0.7


@pytest.mark.long
@pytest.mark.parametrize('name', NAMES)
def test_a_system_trains_in_bf16(name: str, narrowed: Any) -> None:
    """`precision='auto'` selects it on hardware that has it; then a model is given bf16 images."""
    torch.manual_seed(0)
    made = experiment(name).with_overrides({'training.precision': 'bf16-mixed'})
    with narrowed():
        model: Any = made.build_model(IDENTITIES)
    train_step(made, made.build_step(model, make_fabric(made.training)), 0, 1)
