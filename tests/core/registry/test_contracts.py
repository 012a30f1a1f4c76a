"""What a component of someone's own lacks or returns is named with its path in the config, and never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vireid.core.registry.contracts import require_record
from vireid.core.types import FeatureSpec, HeadOutput
from vireid.diagnostics.dry_run import dry_run
from vireid.errors import Mismatch, UnknownName, VireidError
from vireid.launch.launch import train
from vireid.plugin_manager.manager import create_manager, hookimpl

SIZE = 'images.size=[64,32]'


def manager(kind: str, target: Any, name: str = 'Mine') -> Any:
    made = create_manager()

    class Plugin:
        @hookimpl
        def register_components(self, add: Any) -> None:
            add(kind, name, target)
            add('models', 'Least', Least)
            add('backbones', 'Pixels', Pixels)

    made.register(Plugin(), 'mine')
    return made


class Hog(nn.Module):
    """An embedder without parameters."""

    def embed(self, images: Any, modality: str) -> Any:
        return images.flatten(1)


class Least(nn.Module):
    """A model of someone's own with the least that one may have."""

    def __init__(self, num_identities: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3, num_identities)

    def embed(self, images: Any, modality: str) -> Any:
        return self.layer(images.mean((2, 3)))

    def forward(self, batch: Any) -> Any:
        logits = torch.cat([self.embed(images, m) for m, images in batch.images.items()])
        return {'id': nn.functional.cross_entropy(logits, torch.cat(list(batch.identities.values())))}


class LeastStep:
    """A step of someone's own that tells its loss alone."""

    def __init__(self, model: Any) -> None:
        self.model, self.optimizer = model, torch.optim.SGD(model.parameters(), lr=0.01)

    def __call__(self, batch: Any, progress: Any) -> Any:
        self.optimizer.zero_grad()
        loss = sum(self.model(batch).values())
        loss.backward()
        self.optimizer.step()
        return {'loss': loss.item()}

    def state_dict(self) -> Any:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.optimizer.load_state_dict(state)


MINE = ['model={"type": "Mine"}', SIZE]
STEP = ['step={"type": "Mine"}', 'model={"type": "Least"}', SIZE, 'training.accelerator=cpu']


class TestModels:
    def test_the_least_is_trained_scored_and_shown(self, small_sysu, tmp_path, make_small, capsys):
        options = [*MINE, 'training.epochs=1', 'loggers=[{"type": "Console"}, {"type": "Report"}]']
        experiment = make_small(small_sysu, *options, manager=manager('models', Least))
        found = train(experiment, tmp_path)
        assert found.embeddings.features.shape[1] == 7 - 2  # identities that are trained on
        assert 'loss ' in capsys.readouterr().out
        assert 'loss' in dry_run(make_small(small_sysu, *options, manager=manager('models', Least)))

    def test_what_has_nothing_to_train_is_told_so(self, small_sysu, make_small, tmp_path):
        made = make_small(small_sysu, *MINE, manager=manager('models', Hog))
        with pytest.raises(Mismatch, match=r'Hog[\s\S]*test CONFIG'):
            train(made, tmp_path)
        assert 'one step on random images: none, there is nothing to train' in dry_run(made)

    def test_one_that_cannot_be_trained_or_weighed(self, small_sysu, make_small):
        class NoForward(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(3, 3)

            def embed(self, images: Any, modality: str) -> Any:
                return self.layer(images.mean((2, 3)))

        class Weighs(Least):
            weighter = 'mean'

        for target, fact in ((NoForward, 'forward of NoForward'), (Weighs, 'weighter of Weighs is a str')):
            with pytest.raises(Mismatch, match=fact) as caught:
                dry_run(make_small(small_sysu, *MINE, manager=manager('models', target)))
            assert caught.value.path == 'model'

    def test_one_whose_names_mean_something_else(self, small_sysu, make_small):
        class Others(Least):
            tasks, specs, weighter = ('id',), 3, None

            def __init__(self, num_identities: int) -> None:
                super().__init__(num_identities)
                self.embedding = nn.Linear(3, 3)

        text = dry_run(make_small(small_sysu, *MINE, manager=manager('models', Others)), graph=True)
        assert 'model      Others' in text
        assert 'embedding: Others -> 100' in text

    def test_losses_without_a_gradient(self, small_sysu, make_small):
        class Detached(Least):
            def forward(self, batch: Any) -> Any:
                return {name: loss.detach() for name, loss in super().forward(batch).items()}

        with pytest.raises(Mismatch, match='forward of Detached'):
            dry_run(make_small(small_sysu, *MINE, manager=manager('models', Detached)))

    def test_one_that_cannot_embed(self, small_sysu, make_small):
        with pytest.raises(Mismatch, match='embed of Mine') as caught:
            make_small(small_sysu, *MINE, manager=manager('models', nn.Identity)).build_model(3)
        assert caught.value.path == 'model'
        assert 'embed(images: Tensor, modality: Modality) -> Tensor' in caught.value.allowed

    def test_one_that_returns_no_losses(self, small_sysu, make_small):
        class Nothing(Least):
            def forward(self, batch: Any) -> Any:
                return sum(super().forward(batch).values())

        with pytest.raises(Mismatch, match=r'forward of Nothing .*Tensor \(\)'):
            dry_run(make_small(small_sysu, *MINE, manager=manager('models', Nothing)))

    def test_one_that_embeds_another_number_of_rows(self, small_sysu, tmp_path, make_small):
        class Half(Least):
            def embed(self, images: Any, modality: str) -> Any:
                made = super().embed(images, modality)
                return made if self.training else made[:1]

        experiment = make_small(small_sysu, *MINE, 'training.epochs=1', manager=manager('models', Half))
        with pytest.raises(Mismatch, match=r'embed of Half .*Tensor \(1, 5\)'):
            train(experiment, tmp_path)


class TestSteps:
    def test_the_least_is_trained_and_shown_with_its_table(self, small_sysu, tmp_path, make_small, capsys):
        loggers = [{'type': name} for name in ('Console', 'MetricsFile', 'Report')]
        options = [*STEP, 'training.epochs=1', f'loggers={loggers}']
        train(make_small(small_sysu, *options, manager=manager('steps', LeastStep)), tmp_path)
        printed = capsys.readouterr()
        assert 'valid queries' in printed.out
        assert printed.err == ''
        assert '<svg' in (tmp_path / 'report.html').read_text()
        assert 'loss ' in dry_run(make_small(small_sysu, *options, manager=manager('steps', LeastStep)))

    @pytest.mark.parametrize(
        ('record', 'facts'),
        [
            (None, 'Mine .*None'),
            ({}, 'Mine .*dict'),
            (0.5, r'Mine .*0\.5'),
            ({'loss': 'small'}, "'loss' .*Mine .*'small'"),
            ({'loss': torch.ones(())}, r"'loss' .*Mine .*Tensor \(\)"),
        ],
    )
    def test_a_record_without_a_loss(self, small_sysu, tmp_path, make_small, record, facts):
        class Odd(LeastStep):
            def __call__(self, batch: Any, progress: Any) -> Any:
                return record

        experiment = make_small(small_sysu, *STEP, manager=manager('steps', Odd))
        for run in (lambda: train(experiment, tmp_path), lambda: dry_run(experiment)):
            with pytest.raises(Mismatch, match=facts) as caught:
                run()
            assert caught.value.path == 'step'

    @pytest.mark.parametrize(
        'more',
        [{'tasks': [1]}, {'tasks': {'id': None}}, {'weights': {'id': 'x'}}, {'curves': {'sigma': 1}}, {'curves': 3}],
    )
    def test_a_record_whose_parts_are_no_dicts_of_floats(self, more):
        with pytest.raises(Mismatch, match=f"'{next(iter(more))}' .*Mine") as caught:
            require_record({'loss': 1, **more}, 'Mine')
        assert caught.value.path == 'step'

    @pytest.mark.parametrize('key', ['lr', 'gradient'])
    def test_a_record_whose_numbers_are_none(self, key):
        with pytest.raises(Mismatch, match=f"'{key}' .*Mine .*'x'"):
            require_record({'loss': 1.0, key: 'x'}, 'Mine')

    def test_a_record_that_tells_all(self):
        require_record({'loss': 1, 'tasks': {'a': 1.0}, 'weights': {'a': 2}, 'curves': {'s': {'a': 3.0}}}, 'Mine')

    def test_one_that_keeps_no_state(self, small_sysu, tmp_path, make_small):
        class Forgets:
            def __init__(self, model: Any) -> None: ...

            def __call__(self, batch: Any, progress: Any) -> Any: ...

        with pytest.raises(Mismatch, match='state_dict of Mine') as caught:
            train(make_small(small_sysu, *STEP, manager=manager('steps', Forgets)), tmp_path)
        assert caught.value.path == 'step'


class Pixels(nn.Module):
    """A backbone of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = {f'stage{s}': FeatureSpec(4, 'map') for s in (2, 3, 4)}
        self.layer = nn.Conv2d(3, 4, 8, 8)

    def forward(self, images: Any) -> Any:
        joint = self.layer(torch.cat(list(images.values())))
        return dict.fromkeys(self.outputs, joint)


class TestPartsOfTheModel:
    """Each is found by the first batch, whoever runs it, with the path of the part."""

    def said(self, make_small: Any, root: Path, kind: str, target: Any, option: str) -> VireidError:
        stages = ['model.backbone={"type": "Pixels"}', 'model.necks.s4.inputs=stage4', 'model.necks.mlfm.reduction=1']
        options = [*stages, option, SIZE]
        with pytest.raises(VireidError) as caught:
            dry_run(make_small(root, *options, manager=manager(kind, target)))
        return caught.value

    BACKBONE = 'model.backbone={"type": "Mine"}'

    def test_a_backbone_without_outputs(self, small_sysu, make_small):
        error = self.said(make_small, small_sysu, 'backbones', nn.Identity, self.BACKBONE)
        assert (type(error), error.path) == (Mismatch, 'model.backbone')
        assert 'outputs of Mine' in error.given
        assert 'FeatureSpec' in error.allowed

    def test_a_backbone_that_makes_other_features_than_it_declares(self, small_sysu, make_small):
        class Lacks(Pixels):
            def forward(self, images: Any) -> Any:
                return {'stage4': super().forward(images)['stage4']}

        error = self.said(make_small, small_sysu, 'backbones', Lacks, self.BACKBONE)
        assert error.path == 'model.backbone'
        assert error.given.endswith("dict of 'stage4'")
        assert "'stage2', 'stage3', 'stage4'" in error.allowed

    def test_a_backbone_that_makes_other_channels(self, small_sysu, make_small):
        class Wide(Pixels):
            def forward(self, images: Any) -> Any:
                return {name: found.repeat(1, 2, 1, 1) for name, found in super().forward(images).items()}

        error = self.said(make_small, small_sysu, 'backbones', Wide, self.BACKBONE)
        assert error.path == 'model.backbone'
        assert "'stage2' is a Tensor (8, 8, 8, 4)" in error.given
        assert '(B, C, H, W) with 4 channels' in error.allowed

    def test_a_backbone_that_keeps_modalities_apart_and_says_joint(self, small_sysu, make_small):
        class Apart(Pixels):
            def forward(self, images: Any) -> Any:
                return {key: {m: self.layer(x) for m, x in images.items()} for key in self.outputs}

        error = self.said(make_small, small_sysu, 'backbones', Apart, self.BACKBONE)
        assert error.path == 'model.backbone'
        assert "'stage2' is visible a Tensor (4, 4, 8, 4), infrared a Tensor" in error.given

    def test_a_modality_that_no_stream_takes(self, small_sysu, make_small):
        class OneStream(Pixels):
            def forward(self, images: Any) -> Any:
                if 'infrared' in images:
                    raise UnknownName("no stream for modality ['infrared']", allowed='visible')
                return super().forward(images)

        error = self.said(make_small, small_sysu, 'backbones', OneStream, self.BACKBONE)
        assert (type(error), error.path, error.allowed) == (UnknownName, 'model.backbone', 'visible')
        assert "['infrared']" in error.given

    def test_whatever_a_part_raises_is_told_with_its_path(self, small_sysu, make_small):
        class Raises(nn.Module):
            def __init__(self, inputs: Any) -> None:
                super().__init__()
                self.output = inputs[0]

            def forward(self, *features: Any, context: Any) -> Any:
                raise KeyError('x')

        error = self.said(
            make_small, small_sysu, 'necks', Raises, 'model.necks.mlfm={"type": "Mine", "inputs": ["s2"]}'
        )
        assert 'model.necks.mlfm' in error.given

    def test_a_head_that_returns_a_tensor(self, small_sysu, make_small):
        class Bare(nn.Module):
            embedding_dim = 4

            def __init__(self, inputs: Any) -> None:
                super().__init__()

            def embed(self, feature: Any) -> Any:
                return feature

            def forward(self, feature: Any) -> Any:
                return feature

        losses = '{"id": {"type": "BatchHardTriplet"}}'
        option = f'model.heads.mlfm={{"type": "Mine", "losses": {losses}}}'
        error = self.said(make_small, small_sysu, 'heads', Bare, option)
        assert error.path == 'model.heads.mlfm'
        assert 'Tensor (8, ' in error.given
        assert 'HeadOutput' in error.allowed

    def test_a_loss_of_several_numbers(self, small_sysu, make_small):
        class Each(nn.Module):
            def forward(self, output: HeadOutput, identities: Any) -> Any:
                return output.feature.sum(dim=1)

        error = self.said(make_small, small_sysu, 'losses', Each, 'model.heads.s2.losses.id={"type": "Mine"}')
        assert error.path == 'model.heads.s2.losses.id'
        assert 'Tensor (8,)' in error.given

    def test_a_weighter_of_plain_numbers(self, small_sysu, make_small):
        class Plain(nn.Module):
            def __init__(self, task_names: Any) -> None:
                super().__init__()

            def forward(self, tasks: Any, progress: Any) -> Any:
                return sum(tasks.values()), dict.fromkeys(tasks, 1.0)

        error = self.said(make_small, small_sysu, 'weighters', Plain, 'model.weighter={"type": "Mine"}')
        assert error.path == 'model.weighter'
        assert "'s2' is 1.0" in error.given

    def test_a_backbone_that_names_its_features_by_numbers(self, small_sysu, make_small):
        class Numbers(Pixels):
            def forward(self, images: Any) -> Any:
                return dict(enumerate(super().forward(images).values()))

        error = self.said(make_small, small_sysu, 'backbones', Numbers, self.BACKBONE)
        assert error.path == 'model.backbone'
        assert error.given.endswith('dict of 0, 1, 2')

    def test_a_weighter_that_forgets_a_task(self, small_sysu, make_small):
        class Forgets(nn.Module):
            def __init__(self, task_names: Any) -> None:
                super().__init__()

            def forward(self, tasks: Any, progress: Any) -> Any:
                return sum(tasks.values())

        error = self.said(make_small, small_sysu, 'weighters', Forgets, 'model.weighter={"type": "Mine"}')
        assert error.path == 'model.weighter'
        assert error.given.endswith('Forgets returned a Tensor ()')
        assert 's2, s3, s4, mlfm, glfm' in error.allowed
