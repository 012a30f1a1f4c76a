"""The graph of named features: wiring, inferred channels, and wiring errors with their paths and fixes."""

from __future__ import annotations

import copy

import pytest
import torch

from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Context, FeatureSpec, HeadOutput, Progress
from vireid.errors import (
    Conflict,
    Mismatch,
    MissingKey,
    UnknownComponent,
    UnknownKey,
    UnknownName,
    VireidError,
    WrongValue,
)
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.models.cross_modal import CrossModalModel


class TinyBackbone(torch.nn.Module):
    """Outputs two joint maps and a paired one, with 4, 6 and 3 channels."""

    def __init__(self, spare: bool = False) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.outputs = {'low': FeatureSpec(4, 'map'), 'high': FeatureSpec(6, 'map')}
        if spare:
            self.outputs['early'] = FeatureSpec(3, 'map', 'paired')

    def forward(self, images):
        joint = torch.cat(list(images.values())) * self.scale
        made = {'low': joint.repeat(1, 2, 1, 1)[:, :4], 'high': joint.repeat(1, 2, 1, 1)}
        if 'early' in self.outputs:
            made['early'] = dict(images)
        return made


@pytest.fixture
def components():
    manager = create_manager()
    manager.components.add('backbones', 'Tiny', TinyBackbone)
    return manager.components


def model_config() -> dict:
    losses = {'id': {'type': 'CrossEntropy'}}
    return {
        'backbone': {'type': 'Tiny'},
        'necks': {
            'a': {'type': 'StageEmbedding', 'inputs': 'low', 'channels': 8},
            'b': {'type': 'StageEmbedding', 'inputs': 'high', 'channels': 8},
            'fused': {'type': 'MLFM', 'inputs': ('a', 'b'), 'reduction': 2},
            'graph': {'type': 'GLFM', 'inputs': 'fused', 'num_heads': 2},
        },
        'heads': {name: {'type': 'GlobalHead', 'losses': losses} for name in ('a', 'b', 'fused', 'graph')},
        'weighter': {'type': 'Fixed'},
        'embedding': ('fused',),
    }


def build(components, config: dict) -> CrossModalModel:
    return components.build('models', {'type': 'CrossModalModel', **config}, where='model',
                            components=components, num_identities=5)  # fmt: skip


def batch(visible: int = 4, infrared: int = 4) -> Batch:
    counts = {VISIBLE: visible, INFRARED: infrared}
    return Batch(
        images={m: torch.randn(n, 3, 8, 4) for m, n in counts.items() if n},
        identities={m: torch.arange(n) % 2 for m, n in counts.items() if n},
    )


def refused(components, config: dict, kind: type[VireidError], path: str, *facts: str) -> None:
    with pytest.raises(VireidError) as caught:
        build(components, config)
    errors = [error for error in caught.value.errors or (caught.value,) if error.path == path]
    assert any(isinstance(error, kind) and all(fact in str(error) for fact in facts) for error in errors)


def test_channels_are_inferred_along_the_graph(components):
    model = build(components, model_config())
    assert model.necks['a'].fc.in_features == 4
    assert model.necks['b'].fc.in_features == 6
    assert model.specs['fused'] == FeatureSpec(8)
    assert model.embedding_dim == 8


def test_forward_gives_one_scalar_for_each_task(components):
    losses = build(components, model_config())(batch())
    assert list(losses) == ['a', 'b', 'fused', 'graph']
    assert all(loss.shape == () for loss in losses.values())


def test_a_task_is_the_weighted_sum_of_its_losses(components):
    config = model_config()
    terms = {'id': {'type': 'CrossEntropy'}, 'tri': {'type': 'BatchHardTriplet', 'margin': 1.0}}
    config['heads']['a']['losses'] = {'id': terms['id'], 'tri': {**terms['tri'], 'weight': 0.25}}
    torch.manual_seed(0)
    model = build(components, config).eval()
    images = batch()
    task = model.tasks['a']
    with torch.no_grad():
        feature = model.necks['a'](model.backbone(images.images)['low'], context=Context({}))
        output = task.head(feature)
        identities = torch.cat(list(images.identities.values()))
        expected = task.losses['id'](output, identities) + 0.25 * task.losses['tri'](output, identities)
        assert torch.allclose(model(images)['a'], expected)


def test_embed_runs_without_the_train_only_neck_and_needs_no_identities(components):
    model = build(components, model_config()).eval()
    assert model.embed(torch.randn(3, 3, 8, 4), INFRARED).shape == (3, 8)
    assert model.embedding_necks == ('a', 'b', 'fused')


@pytest.mark.parametrize(('visible', 'infrared'), [(4, 0), (0, 4), (2, 5)])
def test_batches_of_one_modality_or_of_unequal_counts_work(components, visible, infrared):
    losses = build(components, model_config())(batch(visible, infrared))
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_necks_run_in_the_order_their_inputs_allow(components):
    config = model_config()
    config['necks'] = dict(reversed(config['necks'].items()))
    assert list(build(components, config).necks) == ['b', 'a', 'fused', 'graph']


def test_a_neck_or_head_set_to_none_is_left_out(components):
    config = model_config()
    config['necks']['graph'] = config['heads']['graph'] = None
    model = build(components, config)
    assert list(model.necks) == ['a', 'b', 'fused']
    assert list(model.tasks) == ['a', 'b', 'fused']


def test_an_embedding_may_join_heads_and_features(components):
    config = model_config()
    del config['heads']['a']
    config['embedding'] = ('a', 'fused')  # a: the feature; fused: the head
    assert build(components, config).eval().embed(torch.randn(2, 3, 8, 4), VISIBLE).shape == (2, 16)


class LeftHalf(TinyBackbone):
    """Sees the left half of an image only, so that a mirrored image looks different."""

    def forward(self, images):
        return super().forward({m: x[..., :2] for m, x in images.items()})


def test_a_mirrored_embedding_is_the_mean_of_the_unit_vectors_of_an_image_and_its_mirror_image(components):
    components.add('backbones', 'LeftHalf', LeftHalf)
    config = model_config()
    config['backbone']['type'] = 'LeftHalf'
    torch.manual_seed(0)
    plain = build(components, config).eval()
    mirrored = build(components, {**config, 'mirror': True}).eval()
    mirrored.load_state_dict(plain.state_dict())
    images = torch.randn(3, 3, 8, 4)
    with torch.no_grad():
        own, other = (torch.nn.functional.normalize(plain.embed(x, VISIBLE)) for x in (images, images.flip(3)))
        found = mirrored.embed(images, VISIBLE)
        assert torch.allclose(found, (own + other) / 2, atol=1e-6)
        assert torch.allclose(found, mirrored.embed(images.flip(3), VISIBLE), atol=1e-6)
    assert (own - other).norm(dim=1).min() > 0.01


def test_an_unknown_component_is_named_with_the_nearest(components):
    config = model_config()
    config['necks']['fused']['type'] = 'MLFN'
    refused(components, config, UnknownComponent, 'model.necks.fused', "'MLFN'", "'MLFM'")


def test_an_unknown_argument_is_named_with_the_nearest(components):
    config = model_config()
    config['necks']['fused']['reductoin'] = 2
    refused(components, config, UnknownKey, 'model.necks.fused.reductoin', "'reduction'")


def test_an_argument_of_the_wrong_type_is_named(components):
    config = model_config()
    config['necks']['a']['channels'] = 'many'
    refused(components, config, WrongValue, 'model.necks.a.channels', "'many' (str)")


def test_an_input_nobody_makes(components):
    config = model_config()
    config['necks']['fused']['inputs'] = ('a', 'bb')
    refused(
        components, config, UnknownName, 'model.necks.fused.inputs', "'bb'", 'a, b, fused, graph, high, images, low'
    )


def test_a_head_without_a_feature_of_its_name(components):
    config = model_config()
    config['heads']['fusedd'] = config['heads'].pop('fused')
    refused(components, config, UnknownName, 'model.heads.fusedd', "'fusedd'", "'fused'")


def test_a_cycle(components):
    config = model_config()
    config['necks']['a'] = {'type': 'MLFM', 'inputs': 'fused'}
    refused(components, config, Mismatch, 'model.necks', 'a, fused')


def test_a_paired_feature_where_a_joint_one_is_wanted(components):
    config = model_config()
    config['backbone']['spare'] = True
    config['necks']['c'] = {'type': 'StageEmbedding', 'inputs': 'early', 'channels': 8}
    refused(
        components,
        config,
        Mismatch,
        'model.necks.c',
        'StageEmbedding',
        ' joint ',
        "'early' is paired",
        'CorrespondenceConcat',
    )


def test_a_joint_feature_where_a_paired_one_is_wanted(components):
    config = model_config()
    config['necks']['c'] = {'type': 'CorrespondenceConcat', 'inputs': 'low'}
    refused(components, config, Mismatch, 'model.necks.c', 'CorrespondenceConcat', ' paired ', "'low' is joint")


def test_a_feature_nobody_reads(components):
    config = model_config()
    del config['heads']['graph']
    refused(components, config, Mismatch, 'model.necks.graph', "'graph'")
    config = model_config()
    config['backbone']['spare'] = True
    refused(components, config, Mismatch, 'model.backbone', "'early'")


def test_an_embedding_that_needs_a_train_only_neck(components):
    config = model_config()
    config['embedding'] = ('graph',)
    refused(components, config, Mismatch, 'model.embedding', "'graph'")


def test_an_embedding_of_a_map(components):
    config = model_config()
    config['embedding'] = ('high',)
    refused(components, config, Mismatch, 'model.embedding', "'high' is a joint map")


def test_a_neck_that_takes_a_name_of_the_backbone(components):
    config = model_config()
    config['necks']['low'] = copy.deepcopy(config['necks']['b'])
    refused(components, config, Conflict, 'model.necks.low', "'low'")


def test_a_head_without_losses_and_a_neck_without_inputs(components):
    config = model_config()
    del config['heads']['a']['losses']
    refused(components, config, MissingKey, 'model.heads.a.losses')
    config = model_config()
    del config['necks']['a']['inputs']
    refused(components, config, MissingKey, 'model.necks.a', 'model.necks.a.inputs')


def test_wrong_levels_for_mlfm_name_the_path(components):
    config = model_config()
    config['necks']['b']['channels'] = 9
    refused(components, config, Mismatch, 'model.necks.fused', 'MLFM', 'vector of 8, vector of 9')


def test_the_stream_is_picked_by_modality_alone(components):
    backbone = {'type': 'TwoStreamResNet', 'depth': 18, 'shared_from': 5, 'weights': None}
    losses = {'id': {'type': 'CrossEntropy'}}
    model = build(components, {
        'backbone': backbone,
        'necks': {'joint': {'type': 'CorrespondenceConcat', 'inputs': 'stage4'}},
        'heads': {'joint': {'type': 'GlobalHead', 'losses': losses}},
        'weighter': {'type': 'Fixed'},
        'embedding': 'joint',
    }).eval()  # fmt: skip
    image = torch.randn(2, 3, 32, 16)
    before = {m: model.embed(image, m) for m in MODALITIES}
    with torch.no_grad():
        for parameter in model.backbone.streams[INFRARED].parameters():
            parameter.mul_(0.5)
    assert torch.equal(model.embed(image, VISIBLE), before[VISIBLE])
    assert not torch.allclose(model.embed(image, INFRARED), before[INFRARED])


def parts_config(**head) -> dict:
    losses = {'id': {'type': 'CrossEntropy'}, 'parts': {'type': 'CrossEntropy', 'reads': 'parts'}}
    return {
        'backbone': {'type': 'TwoStreamResNet', 'depth': 18, 'weights': None, 'shared_from': 0, 'out_stages': (3,)},
        'heads': {'stage3': {'type': 'PartHead', 'parts': 2, 'losses': losses, **head}},
        'weighter': {'type': 'Fixed'},
        'embedding': ('stage3',),
    }


def test_a_loss_reads_the_output_it_names_and_parts_are_added_up(components):
    model = build(components, parts_config(channels=None))
    task = model.tasks['stage3']
    feature = torch.randn(4, 256, 6, 2)
    identities = torch.tensor([0, 1, 2, 3])
    made = task.head(feature)
    wanted = torch.nn.functional.cross_entropy(made['global'].logits, identities)
    for part in range(2):
        wanted = wanted + torch.nn.functional.cross_entropy(made['parts'].logits[:, part], identities)
    context = Context({VISIBLE: 2, INFRARED: 2}, identities)
    (terms,) = task(feature, context=context, progress=None, active=task.active(None, None)).values()
    assert torch.allclose(sum(terms), wanted)


class ModalityGap(torch.nn.Module):
    """The distance between the means of the modalities: a loss that needs to know the modality of each row."""

    def forward(self, output, identities, context):
        visible, infrared = (output.feature[context.rows(m)].mean(dim=0) for m in MODALITIES)
        return (visible - infrared).square().sum()


class CameraOf(torch.nn.Module):
    def forward(self, output, identities, context):
        return output.feature.sum() * 0 + context.cameras.float().mean()


def test_a_loss_that_names_the_context_is_told_whose_rows_are_whose(components):
    components.add('losses', 'ModalityGap', ModalityGap)
    components.add('losses', 'CameraOf', CameraOf)
    config = model_config()
    config['heads']['a']['losses'] = {'gap': {'type': 'ModalityGap'}}
    config['heads']['b']['losses'] = {'camera': {'type': 'CameraOf'}}
    model = build(components, config)
    given = batch(visible=2, infrared=3)
    given.cameras = {INFRARED: torch.tensor([3, 3, 6]), VISIBLE: torch.tensor([1, 2])}
    found = model(given)
    made = model.backbone({m: given.images[m] for m in MODALITIES})
    feature = model.necks['a'](made['low'], context=Context({}))
    wanted = (feature[:2].mean(dim=0) - feature[2:].mean(dim=0)).square().sum()
    assert torch.allclose(found['a'], wanted)
    assert found['b'].item() == pytest.approx((1 + 2 + 3 + 3 + 6) / 5)


def test_rows_of_a_context_are_in_joint_order():
    context = Context({VISIBLE: 2, INFRARED: 3, 'x': 4})
    assert [context.rows(m) for m in (VISIBLE, INFRARED, 'x')] == [slice(0, 2), slice(2, 5), slice(5, 9)]
    assert Context({VISIBLE: 2}).rows(INFRARED) == slice(2, 2)  # one modality alone
    with pytest.raises(UnknownName, match=r"'infrard'.*'infrared'"):
        context.rows('infrard')


def test_a_loss_adds_to_the_task_it_names(components):
    config = model_config()
    config['heads']['a']['losses'] = {
        'id': {'type': 'CrossEntropy', 'weight': 2.0},
        'other': {'type': 'CrossEntropy', 'task': 'extra'},
        'more': {'type': 'CrossEntropy', 'task': 'b'},
    }
    model = build(components, config)
    assert model.task_names == ('a', 'extra', 'b', 'fused', 'graph')
    torch.manual_seed(0)
    found = model(batch(visible=4, infrared=4))
    assert list(found) == list(model.task_names)
    assert torch.allclose(found['a'], 2 * found['extra'])
    total, weights = model.weighter(found, Progress(0, 0, 1, 1))
    assert list(weights) == list(model.task_names)
    assert torch.allclose(total, sum(found.values()))


class Doubled(torch.nn.Module):
    """Adds images of a modality `x`: the visible ones, doubled."""

    train_only = True

    def __init__(self, modalities):
        super().__init__()
        self.modalities = {**modalities, 'x': modalities[VISIBLE]}

    def forward(self, batch):
        return Batch(
            {**batch.images, 'x': 2 * batch.images[VISIBLE]}, {**batch.identities, 'x': batch.identities[VISIBLE]}
        )


class Forgets(Doubled):
    def forward(self, batch):
        return Batch({**batch.images, 'x': batch.images[VISIBLE][:, :1]}, batch.identities)


def test_translators_change_what_the_backbone_sees_one_after_the_other(components):
    components.add('translators', 'Doubled', Doubled)
    seen = []

    class Watching(TinyBackbone):
        def __init__(self, modalities):
            super().__init__()
            seen.append(dict(modalities))

        def forward(self, images):
            seen.append({m: tuple(found.shape) for m, found in images.items()})
            return super().forward({m: found.repeat(1, 3, 1, 1)[:, :3] for m, found in images.items()})

    components.add('backbones', 'Watching', Watching)
    config = {**model_config(), 'backbone': {'type': 'Watching'}}
    config['translators'] = {'more': {'type': 'Doubled'}, 'off': None, 'pad': {'type': 'ZeroPadding'}}
    model = build(components, config)
    assert seen == [{VISIBLE: 3, INFRARED: 3, 'x': 3}]
    model(batch(visible=4, infrared=2))
    assert seen[1] == {VISIBLE: (4, 3, 8, 4), INFRARED: (2, 3, 8, 4), 'x': (4, 3, 8, 4)}
    model.eval().embed(batch(visible=4, infrared=2).images[INFRARED], INFRARED)
    assert seen[2] == {INFRARED: (2, 3, 8, 4)}  # padded, without `x`, which is train-only


class Critic(torch.nn.Module):
    train_only = True

    def __init__(self, inputs):
        super().__init__()
        self.layer = torch.nn.Linear(inputs[0].channels, 1)

    def forward(self, feature, context):
        assert context.counts[VISIBLE] == 4
        return HeadOutput(self.layer(feature))


def test_a_head_for_training_only_needs_no_embedding_and_cannot_be_one(components):
    components.add('heads', 'Critic', Critic)
    components.add('losses', 'ModalityGap', ModalityGap)
    config = model_config()
    config['heads']['critic'] = {'type': 'Critic', 'inputs': 'a', 'losses': {'gap': {'type': 'ModalityGap'}}}
    assert 'critic' in build(components, config)(batch(visible=4, infrared=2))
    refused(components, {**config, 'embedding': ('fused', 'critic')}, Mismatch, 'model.embedding', "'critic'")


def test_what_follows_the_translators_is_told_what_they_make(components):
    components.add('translators', 'Doubled', Doubled)
    seen = {}

    class Curious(torch.nn.Module):
        def __init__(self, inputs, modalities):
            super().__init__()
            seen.update(modalities)
            self.output = inputs[0]

        def forward(self, feature, context):
            return feature

    components.add('necks', 'Curious', Curious)
    config = {**model_config(), 'translators': {'more': {'type': 'Doubled'}}}
    config['necks']['same'] = {'type': 'Curious', 'inputs': 'a'}
    build(components, {**config, 'embedding': ('fused', 'same')})
    assert seen == {VISIBLE: 3, INFRARED: 3, 'x': 3}


def test_a_translator_has_to_return_what_it_declares(components):
    components.add('translators', 'Forgets', Forgets)
    model = build(components, {**model_config(), 'translators': {'bad': {'type': 'Forgets'}}})
    with pytest.raises(Mismatch, match="'x': 1") as caught:
        model(batch(visible=2, infrared=2))
    assert caught.value.path == 'model.translators.bad'


def test_a_loss_that_is_none_is_left_out(components):
    config = parts_config(parts=0)
    config['heads']['stage3']['losses']['parts'] = None
    assert list(build(components, config).tasks['stage3'].losses) == ['id']


@pytest.mark.parametrize(
    ('loss', 'kind', 'path', 'facts'),
    [
        (None, Mismatch, 'losses', ["'parts'", 'PartHead']),
        (
            {'type': 'CrossEntropy', 'reads': 'part'},
            UnknownName,
            'losses.parts.reads',
            ['PartHead', "'part'", "'parts'"],
        ),
        (
            {'type': 'BatchHardTriplet', 'reads': 'parts'},
            Mismatch,
            'losses.parts',
            ['BatchHardTriplet', "'parts' has 2 parts"],
        ),
    ],
)
def test_losses_have_to_fit_the_outputs_of_their_head(components, loss, kind, path, facts):
    config = parts_config()
    config['heads']['stage3']['losses']['parts'] = loss
    refused(components, config, kind, f'model.heads.stage3.{path}', *facts)


def test_more_parts_than_rows_are_found_when_the_model_is_built(components):
    config = {'type': 'CrossModalModel', **parts_config(parts=5)}
    with pytest.raises(Mismatch, match=r'parts .* 5, .* 4 rows') as caught:
        components.build('models', config, where='model', components=components, num_identities=5, image_size=(64, 32))
    assert caught.value.path == 'model.heads.stage3'


def test_what_the_framework_knows_reaches_the_parts_of_parts(components):
    """A head builds its pooling, which may take the number of identities as the head does."""

    class Counting(torch.nn.Module):
        def __init__(self, num_identities: int) -> None:
            super().__init__()
            self.seen = num_identities

    components.add('poolings', 'Counting', Counting)
    config = parts_config(pool='Counting')
    assert build(components, config).tasks['stage3'].head.pool.seen == 5


class Swapped(torch.nn.Module):
    def forward(self, context, output, targets):
        return output.feature.sum()


def test_a_loss_that_takes_other_arguments_is_told_before_any_step(components):
    components.add('losses', 'Swapped', Swapped)
    config = model_config()
    config['heads']['a']['losses'] = {'wrong': {'type': 'Swapped'}}
    refused(components, config, Mismatch, 'model.heads.a.losses.wrong', 'Swapped', '(context, output, targets)')


class Idle(Doubled):
    def forward(self, batch):
        return batch


def test_a_translator_that_does_not_make_what_it_declares(components):
    components.add('translators', 'Idle', Idle)
    model = build(components, {**model_config(), 'translators': {'idle': {'type': 'Idle'}}})
    with pytest.raises(Mismatch) as caught:
        model(batch(visible=2, infrared=2))
    assert caught.value.path == 'model.translators.idle'
