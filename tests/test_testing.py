"""`check_plugin` passes what keeps its promises - every built-in component - and names what does not."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import detection

import vireid.plugins
from vireid.core.types import FeatureSpec, HeadOutput
from vireid.errors import Mismatch, NotReady, UnknownName, VireidError
from vireid.launcher_types import JobState
from vireid.plugin_manager.manager import hookimpl
from vireid.testing import CHECKS, check_plugin

NEEDED = {
    'TwoStreamResNet': {'depth': 18, 'weights': None},
    'TwoStreamNetwork': {'network': 'shufflenet_v2_x0_5', 'weights': None},
    'WarmUp': {'tasks': {'second': 'linear'}},
    'Composed': {
        'parts': {
            'all': {'type': 'Fixed', 'tasks': {'first': 1.0, 'second': 0.5}},
        }
    },
    'ResizeScaled': {'scale': 1.1},
    'GaussianBlur': {'kernel_size': 3},
    'Normalize': {'mean': [0.5] * 3, 'std': [0.5] * 3},
    'Pad': {'padding': 2},
    'RandomAffine': {'degrees': 10},
    'RandomCrop': {'pad_if_needed': True},
    'SingleOptimizer': {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'ema': 0.9},
    'MultipleOptimizers': {
        'optimizers': {'all': {'parameters': ['*'], 'tasks': ['*'], 'optimizer': {'type': 'SGD', 'lr': 0.1}}}
    },
    'CycleTranslator': {'size': (16, 16), 'channels': 2, 'blocks': 1},
    'UnifiedTranslator': {'size': (16, 16), 'channels': 2, 'blocks': 1},
    'PatchCritic': {'modality': 'visible', 'channels': 2, 'doublings': 2},
    'JointCritic': {'channels': 2},
    'LeastSquares': {'target': 1.0},
    'slurm': {'cluster': 'local', 'gpus': 0, 'hours': 0.1},
    'RandomChoice': {'transforms': [{'type': 'RandomHorizontalFlip'}]},
    'OneModality': {'modality': 'infrared'},
    'ContrastiveCorrelation': {'channels': 2, 'kernels': 2},
    'GSM': {'channels': 3},
    'CrossModalModel': {
        'backbone': {'type': 'TwoStreamResNet', 'depth': 18, 'weights': None},
        'heads': {'stage4': {'type': 'GlobalHead', 'losses': {'id': {'type': 'CrossEntropy'}}}},
        'weighter': {'type': 'Fixed'},
        'embedding': 'stage4',
    },
    'HiCMD': {
        'backbone': {'type': 'TwoStreamResNet', 'depth': 18, 'shared_from': 5, 'out_stages': [3], 'weights': None},
        'losses': {'id': {'type': 'CrossEntropy'}},
        'weighter': {'type': 'Fixed'},
        **{'dilations': [1, 2], 'hidden': 8, 'critic_width': 2, 'channels': 8, 'metric_channels': 4},
    },
}

_IMAGE = FeatureSpec(3, 'map', 'paired', (64, 64))
READ = {
    'ModalityCrossEntropy': HeadOutput(torch.randn(16, 2, requires_grad=True)),
    'BottleneckHead': [FeatureSpec(8, 'map')],
    'MapHead': [_IMAGE, _IMAGE],
    'PatchCritic': [_IMAGE, _IMAGE],
    'JointCritic': [_IMAGE, _IMAGE, FeatureSpec(8, 'map')],
}


def test_every_builtin_component_keeps_its_promises(tmp_path):
    network = 'ssdlite320_mobilenet_v3_large'  # the fastest to build
    weights = tmp_path / 'random.pth'
    torch.save(detection.__dict__[network](weights=None, weights_backbone=None).state_dict(), weights)
    needed = {**NEEDED, 'TorchvisionDetector': {'network': network, 'weights': str(weights)}}
    done = check_plugin(vireid.plugins, needed, name='builtin', inputs=READ)
    assert {key.split()[0] for key, found in done.items() if found == 'checked'} == set(CHECKS)
    assert done['necks MLFM'] == 'checked'
    assert done['datasets SYSU-MM01'] == 'looked up'


class Good(nn.Module):
    """A neck that keeps every promise; the bad ones below break one each."""

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        self.output = inputs[0]
        self.share = nn.Parameter(torch.full((len(inputs),), 1 / len(inputs)))

    def forward(self, *features: Any, context: Any) -> Any:
        return sum(share * feature for share, feature in zip(self.share, features, strict=True))


class WrongChannels(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.output = FeatureSpec(99, inputs[0].kind, size=inputs[0].size)


class WrongKind(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.output = FeatureSpec(inputs[0].channels, 'map' if inputs[0].kind == 'vector' else 'vector')


class WrongSize(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.output = FeatureSpec(inputs[0].channels, inputs[0].kind, size=(2, 2) if inputs[0].size else None)


class NoSpec(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.output = inputs[0].channels


class Half(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return super().forward(*features, context=context).half()


class Infinite(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return super().forward(*features, context=context) / 0


class Detached(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return super().forward(*features, context=context).detach()


class Unused(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return features[0] * 1


class AlwaysDropout(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return nn.functional.dropout(super().forward(*features, context=context), 0.5, training=True)


class Draws(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        random.random()
        return super().forward(*features, context=context)


class DrawsNumpy(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        np.random.rand()
        return super().forward(*features, context=context)


class HoldsAFunction(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.scale = lambda x: x


class ForgetsState(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.hidden = [torch.zeros(1)]

    def forward(self, *features: Any, context: Any) -> Any:
        if self.training:
            self.hidden[0] = self.hidden[0] + 1
        return super().forward(*features, context=context) + self.hidden[0]


class NeedsLabels(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return super().forward(*features, context=context) + context.identities.sum()


class TakesNothing(Good):
    def __init__(self, inputs: Any) -> None:
        raise VireidError('nothing-taken')


class HalvesOneModality(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        found = super().forward(*features, context=context)
        return found if len(context.counts) == 2 else found[: len(found) // 2]


class NoModule:
    def __init__(self, inputs: Any) -> None:
        self.output = inputs[0]

    def __call__(self, *features: Any, context: Any) -> Any:
        return features[0]


def plugin(*entries: tuple[str, str, Any]) -> Any:
    @hookimpl
    def register_components(add: Any) -> None:
        for entry in entries:
            add(*entry)

    return SimpleNamespace(register_components=register_components)


def test_a_good_neck_passes():
    assert check_plugin(plugin(('necks', 'Good', Good))) == {'necks Good': 'checked'}


@pytest.mark.parametrize(
    ('neck', 'fact'),
    [
        (WrongChannels, '99 channels'),
        (WrongKind, 'map .*[(]16, 16[)]'),
        (WrongSize, '[(]2, 2[)] .*[(]16, 16, 6, 3[)]'),
        (NoSpec, 'FeatureSpec'),
        (Half, 'torch.float16, .*float32'),
        (Infinite, 'finite'),
        (Detached, 'gradient flows'),
        (Unused, 'parameters .*gradient'),
        (AlwaysDropout, 'random state'),
        (Draws, 'random state'),
        (DrawsNumpy, 'random state'),
        (HoldsAFunction, 'pickle'),
        (ForgetsState, 'state dict'),
        (NeedsLabels, "'NoneType' .*'sum'"),
        (TakesNothing, 'nothing-taken'),
        (HalvesOneModality, '8 images .*4'),
        (NoModule, 'torch.nn.Module'),
    ],
)
def test_a_violated_declaration_is_named(neck: type, fact: str):
    with pytest.raises(Mismatch, match=fact) as caught:
        check_plugin(plugin(('necks', 'Bad', neck)))
    assert "necks 'Bad'" in caught.value.given


def test_all_broken_promises_are_named_at_once():
    with pytest.raises(Mismatch) as caught:
        check_plugin(plugin(('necks', 'A', Half), ('necks', 'B', Good), ('necks', 'C', Infinite)))
    assert "necks 'A'" in str(caught.value)
    assert "necks 'C'" in str(caught.value)
    assert "necks 'B'" not in str(caught.value)


class FlatLogits(nn.Module):
    """A head whose logits are of another number of identities."""

    def __init__(self, inputs: Any, num_identities: int) -> None:
        super().__init__()
        self.embedding_dim = inputs[0].channels
        self.classifier = nn.Linear(self.embedding_dim, num_identities + 1)

    def forward(self, feature: Any) -> HeadOutput:
        return HeadOutput(feature, self.classifier(feature))

    def embed(self, feature: Any) -> Any:
        return feature[:, :-1]


class TimeCrop:
    """A transform whose chance is of its own."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: Any) -> Any:
        self.calls += 1
        return image[:, self.calls :]


class OneFlip:
    """A transform that takes batches, but draws one random number for all images."""

    whole_batch = True

    def __call__(self, image: Any) -> Any:
        return image.flip(-1) if torch.rand(()) < 0.5 else image


class SameBatches:
    def __init__(self, samples: Any, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return 1

    def batches(self, epoch: int) -> list[list[int]]:
        return [list(range(len(self.samples)))]


class Vector:
    name = 'vector'

    def similarity(self, query: Any, gallery: Any) -> Any:
        return lambda rows: query[rows].sum(axis=1)


class Everything:
    """An index that passes over the filters."""

    def __init__(self, folder: Any, length: int) -> None:
        pass

    def update(self, vectors: Any, live: Any, changed: Any, removed: Any) -> None:
        pass

    def search(self, vectors: Any, queries: Any, top: int, rows: Any, where: Any) -> Any:
        similar = queries @ vectors.astype(np.float32).T
        numbers = np.argsort(-similar, axis=1)[:, :top]
        return np.take_along_axis(similar, numbers, axis=1), numbers


class Corners:
    """A detector that returns boxes as corner, width and height."""

    def __call__(self, images: Any) -> Any:
        return [(torch.tensor([[30.0, 20.0, 10.0, 40.0]]), torch.ones(1)) for _ in images]


class Successful:
    """A launcher for which every command succeeds."""

    def submit(self, commands: Any) -> None:
        self.commands = commands

    def states(self) -> Any:
        return [JobState('ended', exit=0) for _ in self.commands]

    def stop(self) -> bool:
        return True


class Distances(Everything):
    def search(self, *args: Any) -> Any:
        similar, numbers = super().search(*args)
        return 2 - 2 * similar, numbers


class Demotes(nn.Module):
    def forward(self, output: HeadOutput, identities: Any) -> Any:
        return output.feature.float().square().mean()


class OneNumber(nn.Module):
    """A model whose forward returns its loss alone."""

    def __init__(self, num_identities: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3, num_identities)

    def embed(self, images: Any, modality: str) -> Any:
        return self.layer(images.mean((2, 3)))

    def forward(self, batch: Any) -> Any:
        return sum(self.embed(images, m).square().mean() for m, images in batch.images.items())


class TwoLengths(OneNumber):
    def embed(self, images: Any, modality: str) -> Any:
        return super().embed(images, modality)[:, : 3 if modality == 'visible' else 4]

    def forward(self, batch: Any) -> Any:
        return {'task': super().forward(batch)}


class Gray(nn.Module):
    """An embedder without parameters: it is scored, and never trained."""

    def embed(self, images: Any, modality: str) -> Any:
        return images.mean(1).flatten(1)


class Forgetful:
    """A step that saves nothing although it has momentum."""

    def __init__(self, model: Any) -> None:
        self.model, self.optimizer = model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def __call__(self, batch: Any, progress: Any) -> Any:
        self.optimizer.zero_grad()
        loss = sum(self.model(batch).values())
        loss.backward()
        self.optimizer.step()
        return {'loss': loss.item()}

    def state_dict(self) -> Any:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


class OneVector(nn.Module):
    def forward(self, output: HeadOutput, identities: torch.Tensor) -> torch.Tensor:
        return (output.feature @ output.feature.t()).mean()


class Silent(Forgetful):
    def __call__(self, batch: Any, progress: Any) -> Any:
        super().__call__(batch, progress)


class Lazy(Forgetful):
    def __call__(self, batch: Any, progress: Any) -> Any:
        return {'loss': 0.0}


class Stateless(Forgetful):
    state_dict = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ('kind', 'target', 'fact'),
    [
        ('losses', Demotes, 'float64 .*torch.float32'),
        ('losses', OneVector, 'reads_parts = False'),
        ('models', OneNumber, 'forward .*OneNumber .*Tensor [(][)]'),
        ('models', TwoLengths, "{'visible': 3, 'infrared': 4}"),
        ('steps', Forgetful, 'load_state_dict'),
        ('steps', Silent, 'step: Bad .*None'),
        ('steps', Lazy, 'steps .*weights'),
        ('steps', Stateless, 'state_dict of Bad'),
        ('indexes', Everything, 'search .*cameras'),
        ('indexes', Distances, 'cosine similarities'),
        ('detectors', Corners, 'left, top, right, bottom'),
        ('launchers', Successful, r'\[0, 0\] .*0 and 3'),
        ('heads', FlatLogits, "'global' .*[(]16, 5[)], .*[(]16, 4[)]"),
        ('transforms', TimeCrop, 'seed .*image'),
        ('transforms', OneFlip, 'whole_batch'),
        ('samplers', SameBatches, 'epoch .*batches'),
        ('rerankers', Vector, '[(]7,[)]'),
    ],
)
def test_a_component_of_each_other_kind_that_breaks_its_interface(kind: str, target: type, fact: str):
    with pytest.raises(Mismatch, match=fact):
        check_plugin(plugin((kind, 'Bad', target)))


def test_an_embedder_without_parameters_passes():
    assert check_plugin(plugin(('models', 'Gray', Gray))) == {'models Gray': 'checked'}


class VectorAndMap(nn.Module):
    def __init__(self, inputs: Any, num_identities: int) -> None:
        super().__init__()
        vector, images = inputs
        if (vector.kind, images.kind) != ('vector', 'map'):
            raise VireidError('a vector and a map')
        self.embedding_dim = vector.channels + images.channels
        self.classifier = nn.Linear(self.embedding_dim, num_identities)

    def embed(self, vector: Any, images: Any) -> Any:
        return torch.cat([vector, images.mean((2, 3))], dim=1)

    def forward(self, vector: Any, images: Any) -> HeadOutput:
        both = self.embed(vector, images)
        return HeadOutput(both, self.classifier(both))


class OfThreeParts(nn.Module):
    def forward(self, output: HeadOutput, identities: Any) -> Any:
        first, second, third = output.feature.unbind(dim=1)
        return (first - second).square().mean() + (second - third).square().mean()


def test_what_they_read_may_be_given():
    both = plugin(('heads', 'Both', VectorAndMap), ('losses', 'Three', OfThreeParts))
    with pytest.raises(Mismatch, match=r"heads 'Both'.*vector, a map"):
        check_plugin(both)
    inputs = {
        'Both': [FeatureSpec(8), FeatureSpec(4, 'map', size=(6, 3))],
        'Three': HeadOutput(torch.randn(16, 3, 5, requires_grad=True)),
    }
    assert check_plugin(both, inputs=inputs) == {'heads Both': 'checked', 'losses Three': 'checked'}


@pytest.mark.parametrize('what', ['configs', 'inputs'])
def test_what_is_given_for_nobody_is_refused(what: str):
    with pytest.raises(UnknownName, match=f"{what} .*'Goood'"):
        check_plugin(plugin(('necks', 'Good', Good)), **{what: {'Goood': {}}})


def test_settings_may_be_given():
    with pytest.raises(Mismatch, match="'tasks'"):
        check_plugin(plugin(('weighters', 'Mine', 'vireid.plugins.weighters.warm_up:WarmUp')))
    found = check_plugin(
        plugin(('weighters', 'Mine', 'vireid.plugins.weighters.warm_up:WarmUp')),
        {'Mine': {'tasks': {'first': 'linear'}}},
    )
    assert found == {'weighters Mine': 'checked'}


def test_a_plugin_without_components_is_refused():
    with pytest.raises(NotReady, match='register_components'):
        check_plugin(plugin())


class Centered(nn.Module):
    """A fitted similarity: cosine once the mean of the training images is taken away."""

    name = 'centered'

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(8))

    def fit(self, embeddings: Any) -> None:
        self.mean.copy_(torch.from_numpy(embeddings.features.mean(axis=0)))

    def similarity(self, query: Any, gallery: Any) -> Any:
        mean = self.mean.numpy()
        return lambda rows: (query[rows] - mean) @ (gallery - mean).T


class Forgetful(Centered):
    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {'mean': torch.zeros(8)}


class Guesses(Centered):
    def similarity(self, query: Any, gallery: Any) -> Any:
        return lambda rows: np.random.rand(len(query[rows]), len(gallery))


class NoTranslation(nn.Module):
    """Declares one channel and makes three."""

    def __init__(self, modalities: Any) -> None:
        super().__init__()
        self.modalities = dict.fromkeys(modalities, 1)

    def forward(self, batch: Any) -> Any:
        return batch


@pytest.mark.parametrize(
    ('kind', 'target', 'fact'),
    [
        ('similarities', Centered, None),
        ('similarities', Forgetful, 'state dict'),
        ('similarities', Guesses, 'similarities'),
        ('translators', NoTranslation, 'declares .*outputs'),
    ],
)
def test_similarities_and_translators(kind, target, fact):
    class Plugin:
        @hookimpl
        def register_components(self, add: Any) -> None:
            add(kind, 'Mine', target)

    if fact is None:
        assert check_plugin(Plugin()) == {f'{kind} Mine': 'checked'}
    else:
        with pytest.raises(Mismatch, match=f"{kind} 'Mine'.*{fact}"):
            check_plugin(Plugin())
