"""Statistics of new cameras are those that two passes over the layers' inputs give; all else stays, and comes back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vireid
from vireid.boundary import checkpoint
from vireid.core.config.experiment import Experiment
from vireid.core.data.images import read_image
from vireid.core.training.state import require_same_run
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Sample
from vireid.errors import (
    AlreadyExists,
    Conflict,
    DamagedFile,
    MissingFile,
    MissingKey,
    NotFinite,
    OutOfMemory,
    TooFew,
    UnknownName,
    UnsupportedFile,
    VireidError,
    WrongContent,
)
from vireid.exchange import adaptation
from vireid.exchange.adaptation import adapt, revert
from vireid.exchange.evaluation import score_checkpoint
from vireid.exchange.norm_statistics import balanced_batches, estimate_norms, find_norms
from vireid.exchange.unlabeled_images import find_images
from vireid.plugin_manager.manager import create_manager

PLUGIN = """
import torch
import vireid
from torch import nn
from vireid.core.types import joint_order


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.streams = nn.ModuleDict(
            {m: nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4)) for m in ('visible', 'infrared')}
        )
        self.shared = nn.Sequential(nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
        self.unused = nn.BatchNorm2d(4)
        self.outputs = {'deep': vireid.FeatureSpec(6, 'map')}

    def forward(self, images):
        return {'deep': self.shared(torch.cat([self.streams[m](images[m]) for m in joint_order(images)]))}


class Foreign(nn.Module):
    def __init__(self, num_identities):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(3), nn.Linear(3, num_identities)

    def embed(self, images, modality):
        return self.layer(self.norm(images.mean((2, 3))))

    def forward(self, batch):
        return {'size': sum(self.embed(images, m).square().mean() for m, images in batch.images.items())}


class Plain(Foreign):
    def __init__(self, num_identities):
        super().__init__(num_identities)
        self.norm = nn.Identity()


@vireid.hookimpl
def register_components(add):
    add('backbones', 'Small', Small)
    add('models', 'Foreign', Foreign)
    add('models', 'Plain', Plain)
"""
NORMS = [
    'backbone.streams.visible.1',
    'backbone.streams.infrared.1',
    'backbone.shared.3',
    'tasks.id.head.branch.bnneck',
]
MODEL = {
    'backbone': {'type': 'Small'},
    'necks': {
        'vector': {'type': 'StageEmbedding', 'inputs': 'deep', 'channels': 8},
        'centered': {'type': 'ModalityCentering', 'inputs': 'vector'},
        'whitened': {'type': 'WithinIdentityWhitening', 'inputs': 'centered'},
    },
    'heads': {'id': {'type': 'GlobalHead', 'inputs': 'vector', 'losses': {'id': {'type': 'CrossEntropy'}}}},
    'weighter': {'type': 'Fixed'},
    'embedding': ['id', 'whitened'],
}
Make = Callable[..., Path]


def paint(root: Path, counts: dict[str, int], shift: int = 0) -> Path:
    """Writes images of two people in each modality: `root/MODALITY/PERSON/NUMBER.png`."""
    rng = np.random.default_rng(shift)
    for modality, count in counts.items():
        for number in range(count):
            path = root / modality / f'p{number % 2}' / f'{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            level = 60 + shift + 40 * (modality == INFRARED) + 10 * (number % 2)
            Image.fromarray(rng.normal(level, 30, (24, 12, 3)).clip(0, 255).astype(np.uint8)).save(path)
    return root


@pytest.fixture(scope='module')
def plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp('plugin') / 'small_parts.py'
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture(scope='module')
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of other cameras: 7 visible, 5 infrared."""
    return paint(tmp_path_factory.mktemp('cameras'), {VISIBLE: 7, INFRARED: 5}, shift=50)


@pytest.fixture(scope='module')
def make(plugin: str, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Returns what writes a checkpoint: `make(model, freeze=[...], batch_size=64, train=[...], **more of its content)`.

    Its running statistics, and the means of its centring, are random.
    """

    def write(
        model: Any = MODEL, freeze: list[str] | None = None, batch_size: int = 64, train: Any = (), **more: Any
    ) -> Path:
        config = {
            'dataset': {'type': 'Folders', 'root': 'nowhere'},
            'protocol': {'type': 'cross'},
            'images': {
                'size': [24, 12],
                'train': [{'type': 'ToFloat'}, *train],
                'test': [{'type': 'ToFloat'}],
                'workers': 0,
            },
            'sampler': {'type': 'IdentityBalanced', 'identities': 2, 'visible': 2, 'infrared': 2},
            'model': model,
            'step': {'type': 'SingleOptimizer', 'optimizer': {'type': 'Adam', 'lr': 0.01}},
            'training': {'steps': 2, 'freeze': freeze or []},
            'evaluation': {'batch_size': batch_size},
            'plugins': [plugin],
        }
        built = Experiment.from_config(config, create_manager([plugin])).build_model(2)
        torch.manual_seed(0)
        for name, buffer in built.named_buffers():
            if 'running' in name or 'mean' in name:
                buffer.copy_(torch.rand(buffer.shape) + 0.1)
        content = {
            'model': built.state_dict(),
            'config': config,
            'num_identities': 2,
            'progress': {'step': 100, 'steps_per_epoch': 10},
            'split': '',
            'trained_on': torch.zeros(0, dtype=torch.int64),
            **more,
        }
        path = tmp_path_factory.mktemp('run') / 'checkpoints/last.pt'
        checkpoint.save(path, content)
        return path

    return write


@pytest.fixture
def use(plugin: str) -> Callable[..., Any]:
    """Returns `adapt` with the plugin."""
    return lambda *args, **more: adapt(*args, plugins=[plugin], **more)


def read(root: Path, modality: str) -> torch.Tensor:
    """All images of a modality, as `ToFloat` makes them."""
    return torch.stack([read_image(p) for p in sorted((root / modality).rglob('*.png'))]).float() / 255


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return checkpoint.digest(a) == checkpoint.digest(b)


class TestBatchNorm:
    def test_one_batch_gives_the_mean_and_unbiased_variance_of_what_each_layer_is_given(
        self, make: Make, use: Any, plugin: str, tmp_path: Path
    ) -> None:
        root = paint(tmp_path / 'images', {VISIBLE: 6, INFRARED: 6})  # in one batch, where order means nothing
        source = make()
        found = use(source, root, tmp_path / 'new.pt')
        assert found.norms == tuple(NORMS)
        model: Any = vireid.load(source, plugins=[plugin]).model
        new = checkpoint.load(tmp_path / 'new.pt')['model']
        outputs = []
        for modality in MODALITIES:  # by hand, layer after layer
            conv, norm = model.backbone.streams[modality]
            before = conv(read(root, modality))
            name = f'backbone.streams.{modality}.1'
            require_two_passes(new, name, [before])
            outputs.append(torch.nn.functional.batch_norm(before, None, None, norm.weight, norm.bias, training=True))
        before = model.backbone.shared[2](torch.cat(outputs).relu())  # no dropout
        require_two_passes(new, 'backbone.shared.3', [before])

    def test_the_images_pass_through_the_transforms_of_training_and_the_necks_see_those_of_the_test(
        self, make: Make, use: Any, plugin: str, tmp_path: Path
    ) -> None:
        """Running statistics are of augmented images: a border of padding, say, is part of what they know."""
        root = paint(tmp_path / 'images', {VISIBLE: 6, INFRARED: 6})
        halves = {'type': 'Normalize', 'mean': [0.5, 0.5, 0.5], 'std': [0.5, 0.5, 0.5]}
        source = make(train=[halves])
        use(source, root, tmp_path / 'new.pt')
        new = checkpoint.load(tmp_path / 'new.pt')['model']
        model: Any = vireid.load(source, plugins=[plugin]).model
        for modality in MODALITIES:
            before = model.backbone.streams[modality][0]((read(root, modality) - 0.5) / 0.5)
            require_two_passes(new, f'backbone.streams.{modality}.1', [before])
        adapted: Any = vireid.load(tmp_path / 'new.pt', plugins=[plugin]).model
        seen: list[torch.Tensor] = []
        adapted.necks['vector'].register_forward_hook(lambda module, given, vectors: seen.append(vectors))
        with torch.no_grad():
            adapted.embed_joint({m: read(root, m) for m in MODALITIES})
        torch.testing.assert_close(new['necks.centered.mean_visible'], seen[0][:6].mean(0), rtol=1e-4, atol=1e-5)

    def test_images_that_running_averages_have_seen_long_enough_give_the_same(
        self, make: Make, use: Any, plugin: str, tmp_path: Path
    ) -> None:
        root = paint(tmp_path / 'images', {VISIBLE: 6, INFRARED: 6})
        source = make()
        model: Any = vireid.load(source, plugins=[plugin]).model
        model.train().backbone.shared[1].eval()  # dropout
        images = {m: read(root, m) for m in MODALITIES}
        with torch.no_grad():
            for _ in range(200):  # 0.9^200 < 1e-9
                model.embed_joint(images)
        checkpoint.save(tmp_path / 'trained.pt', {**checkpoint.load(source), 'model': model.state_dict()})
        use(tmp_path / 'trained.pt', root, tmp_path / 'new.pt')
        new = checkpoint.load(tmp_path / 'new.pt')['model']
        for name in NORMS:
            for buffer in ('running_mean', 'running_var'):
                torch.testing.assert_close(
                    new[f'{name}.{buffer}'], model.state_dict()[f'{name}.{buffer}'], rtol=1e-4, atol=1e-5
                )

    @pytest.mark.parametrize('together', [True, False], ids=['embed_joint', 'embed'])
    def test_several_batches_are_pooled(
        self, make: Make, plugin: str, cameras: Path, together: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model: Any = vireid.load(make(), plugins=[plugin]).model
        if not together:
            monkeypatch.delattr(type(model), 'embed_joint')
            monkeypatch.setattr(
                type(model), 'embed', lambda self, images, modality: embed_alone(self, images, modality)
            )
        images = {m: torch.rand(12, 3, 24, 12) + 5 * (m == VISIBLE) for m in MODALITIES}
        batches = [Given({m: images[m][rows] for m in MODALITIES}) for rows in (slice(0, 5), slice(5, 7), slice(7, 12))]
        given: dict[str, list[torch.Tensor]] = {name: [] for name in NORMS}
        for name in NORMS:
            model.get_submodule(name).register_forward_pre_hook(
                lambda _, args, name=name: given[name].append(args[0].clone())
            )
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        estimate_norms(model, NORMS, batches)
        new = model.state_dict()
        for name in NORMS:
            alone = 'streams' in name or together
            assert len(given[name]) == (3 if alone else 6)
            require_two_passes(new, name, given[name])
        changed = {f'{name}.{buffer}' for name in NORMS for buffer in ('running_mean', 'running_var')}
        assert {name for name in new if not torch.equal(new[name], state[name])} == changed  # nor num_batches_tracked
        assert not any(module.training for module in model.modules())

    def test_each_batch_is_normalized_by_its_own_statistics(self) -> None:
        first, second = torch.nn.BatchNorm1d(1, affine=False), torch.nn.BatchNorm1d(1, affine=False)
        model = torch.nn.Sequential(first, second)
        model.embed_joint = lambda images: model(torch.cat(list(images.values())))  # type: ignore[assignment]
        # (0, 2) and (10, 14) become (-1, 1) each
        values = [{VISIBLE: [[0.0]], INFRARED: [[2.0]]}, {VISIBLE: [[10.0]], INFRARED: [[14.0]]}]
        estimate_norms(model, ['0', '1'], [Given({m: torch.tensor(v) for m, v in b.items()}) for b in values])
        assert first.running_mean.tolist() == [6.5]  # of 0, 2, 10, 14
        assert first.running_var.tolist() == pytest.approx([131 / 3])  # 6.5^2 + 4.5^2 + 3.5^2 + 7.5^2 over 4 - 1
        assert second.running_mean.tolist() == pytest.approx([0], abs=1e-6)
        assert second.running_var.tolist() == pytest.approx([4 / 3], rel=1e-4)  # up to eps

    def test_a_mean_far_from_zero_costs_no_digits(self) -> None:
        norm = torch.nn.BatchNorm1d(2)
        model = torch.nn.Sequential(norm)
        model.embed_joint = lambda images: model(images[VISIBLE])  # type: ignore[assignment]
        values = [1000 + torch.randn(9, 2, generator=torch.Generator().manual_seed(n)) for n in range(3)]
        estimate_norms(model, ['0'], [Given({VISIBLE: v}) for v in values])
        require_two_passes(dict(model.state_dict()), '0', values)

    def test_values_that_are_not_finite_are_an_error(self) -> None:
        model = torch.nn.Sequential(torch.nn.BatchNorm1d(1))
        model.embed_joint = lambda images: model(images[VISIBLE])  # type: ignore[assignment]
        with pytest.raises(NotFinite, match='BatchNorm 0'):
            estimate_norms(model, ['0'], [Given({VISIBLE: torch.tensor([[1.0], [float('inf')]])})])

    def test_layers_that_the_embedding_does_not_use_and_frozen_ones_are_told_apart(
        self, make: Make, plugin: str
    ) -> None:
        model = vireid.load(make(freeze=['backbone.streams.*']), plugins=[plugin]).model
        images = {m: torch.rand(1, 3, 24, 12) for m in MODALITIES}
        assert find_norms(model, images) == (NORMS[2:], NORMS[:2])
        assert not any(module.training for module in model.modules())


class Given:
    def __init__(self, images: dict[str, torch.Tensor]) -> None:
        self.images = images


def embed_alone(model: Any, images: torch.Tensor, modality: str) -> torch.Tensor:
    features = model.features({modality: images}, model.embedding_necks)
    return model.tasks['id'].head.embed(features['vector'])


def require_two_passes(state: dict[str, torch.Tensor], name: str, given: list[torch.Tensor]) -> None:
    """Compares a layer's statistics with those of what it was given, in a first pass its mean, in a second the rest."""
    for channel in range(given[0].shape[1]):
        values = np.concatenate([x[:, channel].detach().double().flatten().numpy() for x in given])
        mean = values.sum() / len(values)
        variance = ((values - mean) ** 2).sum() / (len(values) - 1)
        assert state[f'{name}.running_mean'][channel].item() == pytest.approx(mean, rel=1e-6, abs=1e-7)
        assert state[f'{name}.running_var'][channel].item() == pytest.approx(variance, rel=1e-6)


class TestBatches:
    @pytest.mark.parametrize(
        ('visible', 'infrared', 'size', 'number'), [(7, 5, 64, 1), (7, 5, 4, 3), (9, 2, 1, 4), (2, 2, 64, 1)]
    )
    def test_each_has_as_many_of_both_and_at_least_two(
        self, visible: int, infrared: int, size: int, number: int
    ) -> None:
        samples = [Sample(str(i), 0, 1, VISIBLE) for i in range(visible)]
        samples += [Sample(str(i), 0, 1, INFRARED) for i in range(visible, visible + infrared)]
        batches = balanced_batches(samples, size, seed=3)
        assert len(batches) == number
        drawn: dict[str, list[int]] = {m: [] for m in MODALITIES}
        for batch in batches:
            parts = {m: [i for i in batch if samples[i].modality == m] for m in MODALITIES}
            assert len(parts[VISIBLE]) == len(parts[INFRARED]) >= 2
            for modality, part in parts.items():
                drawn[modality] += part
        assert sorted(drawn[VISIBLE]) == list(range(visible))  # each once
        # the smaller one again from its beginning
        order = drawn[INFRARED][:infrared]
        assert sorted(order) == list(range(visible, visible + infrared))
        assert drawn[INFRARED] == [order[i % infrared] for i in range(visible)]
        assert batches == balanced_batches(samples, size, seed=3)

    def test_the_seed_is_of_the_order(self) -> None:
        samples = [Sample(str(i), 0, 1, MODALITIES[i % 2]) for i in range(40)]
        assert balanced_batches(samples, 8, 0) != balanced_batches(samples, 8, 1)


class TestNecks:
    def test_centring_takes_the_means_of_each_image_once_with_the_new_statistics(
        self, make: Make, use: Any, plugin: str, cameras: Path, tmp_path: Path
    ) -> None:
        source = make(batch_size=4)
        found = use(source, cameras, tmp_path / 'new.pt')
        assert found.necks == ('centered',)
        model: Any = vireid.load(tmp_path / 'new.pt', plugins=[plugin]).model
        for modality in MODALITIES:
            with torch.no_grad():
                vectors = [model.features({modality: x[None]}, ['vector'])['vector'] for x in read(cameras, modality)]
            torch.testing.assert_close(getattr(model.necks.centered, f'mean_{modality}'), torch.cat(vectors).mean(0))

    def test_a_neck_that_needs_identities_stays(self, make: Make, use: Any, cameras: Path, tmp_path: Path) -> None:
        source = make()
        found = use(source, cameras, tmp_path / 'new.pt')
        assert 'neck whitened: fitted to labeled images' in found.kept
        key = 'necks.whitened.matrix'
        old, new = (checkpoint.load(path)['model'][key] for path in (source, tmp_path / 'new.pt'))
        assert torch.equal(old, new)


class TestWhatChanges:
    def test_nothing_but_statistics(self, make: Make, use: Any, cameras: Path, tmp_path: Path) -> None:
        source = make()
        use(source, cameras, tmp_path / 'new.pt')
        old, new = checkpoint.load(source), checkpoint.load(tmp_path / 'new.pt')
        changed = {name for name in old['model'] if not torch.equal(old['model'][name], new['model'][name])}
        assert changed == {
            *(f'{name}.{buffer}' for name in NORMS for buffer in ('running_mean', 'running_var')),
            *(f'necks.centered.mean_{m}' for m in MODALITIES),
        }
        assert set(new) - set(old) == {'adapted', 'before_adapting', 'chosen'}
        assert torch.equal(new['trained_on'], old['trained_on'])  # no label was used
        assert new['config'] == old['config']
        assert new['adapted'] == {
            'images': {VISIBLE: 7, INFRARED: 5},
            'folder': str(cameras),
            'layers': [*NORMS, 'necks.centered'],
            'chosen': '',
        }

    def test_frozen_layers_are_untouched(self, make: Make, use: Any, cameras: Path, tmp_path: Path) -> None:
        source = make(freeze=['backbone.*:*Norm*'])
        found = use(source, cameras, tmp_path / 'new.pt')
        assert found.norms == ('tasks.id.head.branch.bnneck',)
        assert '3 BatchNorm layers: frozen in training' in found.kept
        old, new = (checkpoint.load(path)['model'] for path in (source, tmp_path / 'new.pt'))
        assert all(torch.equal(old[name], new[name]) for name in old if name.startswith('backbone'))

    def test_the_same_images_again_change_nothing(self, make: Make, use: Any, cameras: Path, tmp_path: Path) -> None:
        use(make(batch_size=4), cameras, tmp_path / 'one.pt')
        use(tmp_path / 'one.pt', cameras, tmp_path / 'two.pt')
        one, two = (checkpoint.load(tmp_path / name) for name in ('one.pt', 'two.pt'))
        assert same(one['model'], two['model'])
        assert same(one['before_adapting'], two['before_adapting'])
        assert two['chosen'] == 'after step 100, adapted to 7 visible and 5 infrared images'

    def test_names_and_depths_of_folders_mean_nothing(
        self, make: Make, use: Any, cameras: Path, tmp_path: Path
    ) -> None:
        source = make()
        use(source, cameras, tmp_path / 'one.pt')
        for modality in MODALITIES:  # in the same order
            for number, path in enumerate(sorted((cameras / modality).rglob('*.png'))):
                place = tmp_path / 'other' / modality / ('deep/er' if number > 2 else '') / f'x{number}.png'
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
        use(source, tmp_path / 'other', tmp_path / 'two.pt')
        one, two = (checkpoint.load(tmp_path / name)['model'] for name in ('one.pt', 'two.pt'))
        for name in one:
            torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)

    def test_a_model_of_a_third_party_is_embedded_one_modality_after_the_other(
        self, make: Make, use: Any, tmp_path: Path
    ) -> None:
        root = paint(tmp_path / 'images', {VISIBLE: 4, INFRARED: 4})
        found = use(make({'type': 'Foreign'}), root, tmp_path / 'new.pt')
        assert found.norms == ('norm',)
        new = checkpoint.load(tmp_path / 'new.pt')['model']
        require_two_passes(new, 'norm', [read(root, m).mean((2, 3)) for m in MODALITIES])

    def test_everything_frozen_is_an_error(self, make: Make, use: Any, cameras: Path, tmp_path: Path) -> None:
        model = {**MODEL, 'necks': {'vector': MODEL['necks']['vector']}, 'embedding': 'id'}  # type: ignore[index]
        with pytest.raises(UnsupportedFile, match='4 BatchNorm') as caught:
            use(make(model, freeze=['*:*Norm*']), cameras, tmp_path / 'new.pt')
        assert 'training.freeze' in (caught.value.allowed or '')
        assert not (tmp_path / 'new.pt').exists()

    def test_a_frozen_network_may_have_its_centring_adapted(
        self, make: Make, use: Any, cameras: Path, tmp_path: Path
    ) -> None:
        found = use(make(freeze=['*']), cameras, tmp_path / 'new.pt')
        assert (found.norms, found.necks, found.drawn) == ((), ('centered',), 0)

    def test_no_statistics_at_all_is_an_error(self, make: Make, use: Any, cameras: Path, tmp_path: Path) -> None:
        checkpoint = make({'type': 'Plain'})
        with pytest.raises(UnsupportedFile, match=re.escape(str(checkpoint))) as caught:
            use(checkpoint, cameras, tmp_path / 'new.pt')
        assert 'training.freeze' in (caught.value.allowed or '')

    def test_a_lack_of_memory_says_for_how_many_images(
        self, make: Make, use: Any, cameras: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise torch.OutOfMemoryError

        monkeypatch.setattr(adaptation, 'find_norms', full)
        with pytest.raises(OutOfMemory, match=r'\d+ images'):
            use(make({'type': 'Foreign'}), cameras, tmp_path / 'new.pt')
        assert not (tmp_path / 'new.pt').exists()


class TestRevert:
    @pytest.mark.parametrize('chosen', [{}, {'chosen': 'after step 60, best of validation'}], ids=['last', 'best'])
    def test_it_gives_the_first_checkpoint_bit_for_bit(
        self, make: Make, use: Any, cameras: Path, tmp_path: Path, chosen: dict[str, str]
    ) -> None:
        source = make(**chosen)
        use(source, cameras, tmp_path / 'one.pt')
        use(tmp_path / 'one.pt', paint(tmp_path / 'others', {VISIBLE: 3, INFRARED: 2}), tmp_path / 'two.pt')
        base = chosen.get('chosen', 'after step 100')
        two = checkpoint.load(tmp_path / 'two.pt')
        assert two['chosen'] == f'{base}, adapted to 3 visible and 2 infrared images'
        assert revert(tmp_path / 'two.pt', tmp_path / 'back.pt') == base
        old, back = checkpoint.load(source), checkpoint.load(tmp_path / 'back.pt')
        assert same(old['model'], back['model'])
        assert not same(old['model'], two['model'])
        assert list(old) == list(back)
        assert back.get('chosen') == old.get('chosen')

    def test_a_checkpoint_that_was_not_adapted_is_refused(self, make: Make, tmp_path: Path) -> None:
        checkpoint = make()
        with pytest.raises(UnsupportedFile, match=re.escape(str(checkpoint))):
            revert(checkpoint, tmp_path / 'back.pt')


class TestWhatIsSaid:
    def test_the_numbers(self, make: Make, use: Any, cameras: Path, tmp_path: Path) -> None:
        told: list[tuple[str, int, int]] = []
        similarity = {'similarity': {'config': {}, 'state': {}}}
        found = use(
            make(batch_size=4, **similarity),
            cameras,
            tmp_path / 'new.pt',
            on_progress=lambda *now: told.append(now),
        )
        assert found.text().splitlines() == [
            'images       7 visible and 5 infrared images',
            '             infrared images were repeated 1.4 times, so that both modalities have equal weight',
            'estimated    mean and variance of 4 BatchNorm layers, neck centered',
            'unchanged    neck whitened: fitted to labeled images',
            'unchanged    the similarity: fitted to training images',
            'weights      after step 100, adapted to 7 visible and 5 infrared images',
        ]
        assert ('estimating statistics', 3, 3) in told
        assert ('fitting necks', 3, 3) in told  # 12 images, 4 at a time

    def test_tables_say_that_the_weights_are_adapted(
        self, make: Make, use: Any, plugin: str, cameras: Path, tmp_path: Path
    ) -> None:
        use(make(), cameras, tmp_path / 'new.pt')
        config = {**checkpoint.load(tmp_path / 'new.pt')['config']}
        config['dataset'] = {'type': 'Folders', 'root': str(cameras), 'test_share': 1.0}
        experiment = Experiment.from_config(config, create_manager([plugin]))
        results = score_checkpoint(experiment, tmp_path / 'new.pt', tmp_path / 'test')
        assert results.weights == 'after step 100, adapted to 7 visible and 5 infrared images'


class TestImages:
    def test_those_of_a_folder_in_order_without_hidden_and_other_files(self, tmp_path: Path) -> None:
        for name in ('visible/b.jpg', 'visible/a/2.PNG', 'visible/a/deep/1.bmp', 'infrared/x.jpg', 'infrared/y.webp'):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        for name in ('visible/Thumbs.db', 'visible/.c.jpg', 'infrared/.cache/z.jpg', 'other.jpg'):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / 'visible/a/again').symlink_to(tmp_path / 'visible')  # no end to it
        (tmp_path / 'infrared/link').symlink_to(tmp_path / 'elsewhere')
        (tmp_path / 'elsewhere').mkdir()
        (tmp_path / 'elsewhere/l.jpg').touch()
        found = [(s.modality, str(Path(s.path).relative_to(tmp_path))) for s in find_images(tmp_path)]
        visible = ['visible/b.jpg', 'visible/a/2.PNG', 'visible/a/deep/1.bmp']
        infrared = ['infrared/x.jpg', 'infrared/y.webp', 'infrared/link/l.jpg']
        assert found == [*((VISIBLE, name) for name in visible), *((INFRARED, name) for name in infrared)]

    def table(self, folder: Path, text: str) -> Path:
        path = folder / 'table.csv'
        path.write_text(text)
        return path

    def test_those_of_a_table(self, tmp_path: Path) -> None:
        path = self.table(
            tmp_path,
            'path,modality,split,identity\n'
            'a.jpg,infrared,new,\nsub/b.jpg,visible,new,3\n/c.jpg,infrared,new,\nd.jpg,visible,new,\ne.jpg,visible,,\n',
        )
        assert [s.path for s in find_images(path, 'new')] == [
            str(tmp_path / 'sub/b.jpg'), str(tmp_path / 'd.jpg'), str(tmp_path / 'a.jpg'), '/c.jpg'
        ]  # fmt: skip
        assert len(find_images(path)) == 5

    @pytest.mark.parametrize(
        ('text', 'split', 'kind', 'fact'),
        [
            ('path,kind\na.jpg,visible\n', None, MissingKey, "'modality'.*path, kind"),
            ('path,modality\na.jpg,visible\n', 'test', MissingKey, "'split'"),
            ('path,modality,split\na.jpg,visible,train\n', 'tran', UnknownName, "'tran'.*'train'"),
            ('path,modality\na.jpg,thermal\n', None, WrongContent, "line 2: modality .*'thermal'"),
            ('path,modality\n,visible\n', None, WrongContent, 'line 2: path'),
            ('path,modality\na.jpg,visible\na.jpg,visible\n', None, WrongContent, r'line 3: a\.jpg .*line 2'),
            ('path,modality\na.jpg,visible\nb.jpg,visible\n', None, TooFew, r'infrared .*\b2 visible'),
            (
                'path,modality\na.jpg,visible\nb.jpg,visible\nc.jpg,infrared\n',
                None,
                TooFew,
                r'\b1 infrared .*\b2 visible',
            ),
            ('path,modality\n', None, TooFew, r'\.csv'),
            ('', None, MissingKey, "'path'"),
        ],
        ids=lambda value: None if value is None else repr(value)[:30],
    )
    def test_what_is_wrong_with_a_table(
        self, tmp_path: Path, text: str, split: str | None, kind: type[VireidError], fact: str
    ) -> None:
        with pytest.raises(kind, match=fact):
            find_images(self.table(tmp_path, text), split)

    def test_a_file_that_is_no_table(self, tmp_path: Path) -> None:
        (tmp_path / 'x.jpg').write_bytes(b'\xff\xd8\xff\x00')
        with pytest.raises(DamagedFile, match=r'x\.jpg') as caught:
            find_images(tmp_path / 'x.jpg')
        assert all(column in (caught.value.allowed or '') for column in ('path', 'modality'))

    def test_folders_that_lack_something(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFile, match='none'):
            find_images(tmp_path / 'none')
        with pytest.raises(TooFew, match=re.escape(str(tmp_path))) as caught:
            find_images(tmp_path)
        assert 'infrared/' in (caught.value.allowed or '')
        with pytest.raises(Conflict, match="'train'"):
            find_images(tmp_path, 'train')
        paint(tmp_path, {VISIBLE: 3})
        with pytest.raises(TooFew, match=r'infrared .*\b3 visible'):
            find_images(tmp_path)

    def test_the_place_of_images_nearby_is_told(self, tmp_path: Path) -> None:
        paint(tmp_path / 'train', {VISIBLE: 2, INFRARED: 2})
        with pytest.raises(TooFew) as caught:
            find_images(tmp_path)
        assert str(tmp_path / 'train') in caught.value.todo
        (tmp_path / 'manifest.csv').touch()
        with pytest.raises(TooFew) as caught:
            find_images(tmp_path)
        assert str(tmp_path / 'manifest.csv') in caught.value.todo


class TestErrors:
    def test_a_file_that_is_there_is_not_written_over(
        self, make: Make, use: Any, cameras: Path, tmp_path: Path
    ) -> None:
        (tmp_path / 'new.pt').write_text('precious')
        for write in (lambda: use(make(), cameras, tmp_path / 'new.pt'), lambda: revert(make(), tmp_path / 'new.pt')):
            with pytest.raises(AlreadyExists, match=r'new\.pt'):
                write()
        assert (tmp_path / 'new.pt').read_text() == 'precious'

    def test_a_foreign_checkpoint(self, use: Any, cameras: Path, tmp_path: Path) -> None:
        torch.save({'state_dict': {}}, tmp_path / 'foreign.pt')
        with pytest.raises(UnsupportedFile, match=r'foreign\.pt'):
            use(tmp_path / 'foreign.pt', cameras, tmp_path / 'new.pt')
        with pytest.raises(UnsupportedFile, match=r'foreign\.pt'):
            revert(tmp_path / 'foreign.pt', tmp_path / 'new.pt')

    @pytest.mark.parametrize(('bad', 'fact'), [(b'', '1 of 12 '), (b'no image', r'p1/3\.png')], ids=str)
    def test_an_image_that_cannot_be_read(
        self, make: Make, use: Any, cameras: Path, tmp_path: Path, bad: bytes, fact: str
    ) -> None:
        shutil.copytree(cameras, tmp_path / 'images')
        (tmp_path / 'images/infrared/p1/3.png').write_bytes(bad)
        with pytest.raises((DamagedFile, UnsupportedFile), match=fact) as caught:
            use(make(), tmp_path / 'images', tmp_path / 'new.pt')
        assert 'infrared/p1/3.png' in caught.value.given
        assert 'skip' not in (caught.value.todo or '')
        assert not (tmp_path / 'new.pt').exists()


def test_training_does_not_go_on_from_other_statistics():
    with pytest.raises(UnsupportedFile, match=r'a\.pt') as caught:
        require_same_run(None, {'adapted': {'folder': 'site'}}, 'a.pt')
    assert '--init a.pt' in caught.value.todo
    assert 'adapt --revert' in caught.value.todo
