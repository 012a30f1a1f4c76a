"""CrossModalModel: translators, a backbone, necks, heads and a weighter wired by named features.

The key of a neck is the name of its output feature; `inputs` names the features it reads. A head reads the feature
with its own name unless you set `inputs`. Channels are inferred, and wiring errors are reported before any data is
read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from vireid.core.distributed.gather import gather, gather_feature
from vireid.core.distributed.processes import world
from vireid.core.errors import VireidError, raise_all
from vireid.core.registry.components import BuildPart
from vireid.core.registry.contracts import GUIDE, described
from vireid.core.registry.schema import Component
from vireid.core.registry.signature import names_argument
from vireid.core.types import MODALITIES, Batch, Context, FeatureSpec, HeadOutput, Modality, joint_order
from vireid.interfaces import Neck, Translator
from vireid.plugins.models.builder import ModelBuilder
from vireid.plugins.models.fitting import fit_necks, training_necks
from vireid.plugins.models.graph import read_graph
from vireid.plugins.models.returns import require_feature, require_head_outputs, require_scalar, require_translated

LossConfig = Annotated[dict | None, Component('losses', weight=float, reads=str, task=str)]
HeadConfig = Annotated[dict | None, Component('heads', inputs=str | Sequence[str], losses=dict[str, LossConfig])]
TranslatorConfig = Annotated[dict | None, Component('translators')]
NeckConfig = Annotated[dict | None, Component('necks', inputs=str | Sequence[str])]


class Task(nn.Module):
    """One head with its losses.

    Args:
        head: maps features to a `HeadOutput`, or to a dict of them; receives `context` if it has that argument.
        losses: each maps (HeadOutput, identities) to a scalar; receives `context` if it has that argument.
        weights: factor of each loss in the sum.
        reads: the head output that each loss reads.
        tasks: the task that each loss adds to.
        where: path of the head in the config.
    """

    def __init__(
        self,
        head: nn.Module,
        losses: Mapping[str, nn.Module],
        weights: Mapping[str, float],
        reads: Mapping[str, str],
        tasks: Mapping[str, str],
        where: str,
    ) -> None:
        super().__init__()
        self.head: Any = head
        self.losses = nn.ModuleDict(losses)
        self.weights, self.reads, self.tasks, self.where = dict(weights), dict(reads), dict(tasks), where
        self._contextual = {name for name, part in {'': head, **losses}.items() if names_argument(part, 'context')}

    def forward(self, *features: Tensor, context: Context) -> dict[str, list[Tensor]]:
        """Returns the weighted losses, () each, grouped by task."""
        outputs: HeadOutput | dict[str, HeadOutput] = self.head(*features, **self._known('', context))
        require_head_outputs(outputs, self.reads.values(), self.where)
        terms: dict[str, list[Tensor]] = {}
        for name, loss in self.losses.items():
            output = outputs if isinstance(outputs, HeadOutput) else outputs[self.reads[name]]
            term = loss(output, context.identities, **self._known(name, context))
            require_scalar(term, 'the loss', f'{self.where}.losses.{name}')
            terms.setdefault(self.tasks[name], []).append(self.weights[name] * term)
        return terms

    def _known(self, part: str, context: Context) -> dict[str, Context]:
        return {'context': context} if part in self._contextual else {}


class CrossModalModel(nn.Module):
    """The default model: a graph of named features, from the backbone's stages to the heads.

    Args:
        num_identities: number of training identities K.
        backbone: config of the backbone; its `outputs` declare the features it provides.
        heads: config of each head, with optional `inputs` and its `losses`. A loss may set its `weight` (default 1)
            and, if the head has several outputs, the one it `reads` (default: the first). It adds to the task with the
            head's name unless it sets `task`. The weighter weighs tasks.
        embedding: names of the heads and features whose vectors are concatenated at test time. A name is a head if one
            has that name, otherwise a feature.
        necks: config of each neck, with `inputs`: one feature name or several. Necks run in dependency order, and
            otherwise in config order. A neck, head or loss set to None is removed, so a config can drop components of
            its base.
        weighter: config of the weighter.
        build_part: builds all of these and passes them the arguments that the framework provides.
        across_ranks: `losses.across_ranks` of the config: whether backbone features are gathered from all processes.
        translators: config of each translator. Translators run one after the other before the backbone; each changes
            the images or adds images of an auxiliary modality.
        modalities: image channels by modality, including the auxiliary modalities of `images.views`; None means 3
            channels for visible and infrared.

    Raises:
        VireidError: if names, shapes or wiring are invalid; reports all errors with their config paths.
    """

    def __init__(
        self,
        num_identities: int,
        backbone: Annotated[dict, Component('backbones')],
        heads: dict[str, HeadConfig],
        weighter: Annotated[dict, Component('weighters')],
        embedding: str | Sequence[str],
        build_part: BuildPart,
        necks: dict[str, NeckConfig] | None = None,
        across_ranks: bool = False,
        translators: dict[str, TranslatorConfig] | None = None,
        modalities: Mapping[Modality, int] | None = None,
    ) -> None:
        super().__init__()
        self.num_identities, self.across_ranks, self.where = num_identities, across_ranks, build_part.where
        channels = dict(modalities or dict.fromkeys(MODALITIES, 3))
        self.translators = nn.ModuleDict()
        for name, translator_config in (translators or {}).items():
            if translator_config is not None:
                translator = build_part('translators', translator_config, f'translators.{name}', modalities=channels)
                self.translators[name], channels = translator, dict(translator.modalities)
        self.modalities = tuple(joint_order(channels))
        context = {**build_part.context, 'modalities': channels}  # the later components see translated images
        build_part = BuildPart(build_part.components, build_part.where, context)
        self.backbone = build_part('backbones', backbone, 'backbone')
        self.specs: dict[str, FeatureSpec] = dict(self.backbone.outputs)
        self._backbone_features = tuple(self.specs)
        config = {'necks': necks, 'heads': heads, 'embedding': embedding}
        graph = read_graph(config, build_part.where, backbone_features=self._backbone_features)
        builder = ModelBuilder(build_part, graph, self.specs)
        builder.check_names()
        raise_all(graph.problems)
        self.inputs, self.head_inputs, self.embedding = graph.reads, graph.head_reads, graph.embedding
        self.necks = nn.ModuleDict(builder.necks())
        tasks = builder.tasks()
        self.tasks: Any = nn.ModuleDict({name: Task(**parts) for name, parts in tasks.items()})
        builder.check_embedding(tasks)
        train_only = [name for name, neck in self.necks.items() if Neck.train_only(neck)]
        self.embedding_necks = graph.embedding_path(train_only)
        self._training_necks = training_necks(self, graph)
        self.task_names = builder.task_names()
        self.weighter = builder.build('weighters', weighter, 'weighter', task_names=self.task_names)
        graph.check_all_read()
        raise_all(graph.problems)

    @property
    def fit(self) -> Callable[[Iterable[Batch]], None] | None:
        """Fits the necks of the embedding that have a `fit`; None if none of them has one."""
        return functools.partial(self.fit_necks, self.fitted_necks) if self.fitted_necks else None

    @property
    def fitted_necks(self) -> list[str]:
        """Names of the embedding's necks that have a `fit`, in execution order."""
        return [name for name in self.embedding_necks if name in self.necks and Neck.fit(self.necks[name])]

    def fit_necks(self, names: Sequence[str], batches: Iterable[Batch]) -> None:
        """Fits necks of the embedding to the features of all images. See `fitting.fit_necks`."""
        fit_necks(self, names, batches)

    @property
    def embedding_dim(self) -> int:
        """Length D of the embedding."""
        return sum(
            self.tasks[n].head.embedding_dim if n in self.tasks else self.specs[n].channels for n in self.embedding
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the scalar loss of each task by name, for a batch with labels 0..K-1."""
        for name, translator in self.translators.items():
            given, batch = batch, translator(batch)
            require_translated(batch, given, translator, f'{self.where}.translators.{name}')
        order = joint_order(batch.images)
        counts = {m: len(batch.images[m]) for m in order}
        backbone_features = self._from_backbone({m: batch.images[m] for m in order})
        labels = {m: batch.identities[m] for m in order}
        cameras = {m: batch.cameras[m] for m in order} if set(order) <= set(batch.cameras) else {}
        if self.across_ranks and world()[1] > 1:
            backbone_features = {n: gather_feature(feature, counts) for n, feature in backbone_features.items()}
            labels = {m: gather(of_rank) for m, of_rank in labels.items()}
            cameras = {m: gather(of_rank) for m, of_rank in cameras.items()}
            counts = {m: len(gathered) for m, gathered in labels.items()}
        identities = torch.cat(list(labels.values()))  # (B,)
        context = Context(counts, identities, torch.cat(list(cameras.values())) if cameras else None)
        features = self._fill(backbone_features, self._training_necks, context)
        terms: dict[str, list[Tensor]] = {name: [] for name in self.task_names}
        for name, task in self.tasks.items():
            for adds_to, losses in task(*(features[n] for n in self.head_inputs[name]), context=context).items():
                terms[adds_to] += losses
        return {name: torch.stack(losses).sum() for name, losses in terms.items()}  # () each

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Embeds (B, 3, H, W) images of one modality as (B, D) vectors, not normalized."""
        return self.embed_joint({modality: images})

    def embed_joint(self, images: Mapping[Modality, Tensor]) -> Tensor:
        """Embeds images of several modalities together as (sum of B, D), visible first.

        In training mode, shared BatchNorm layers see all modalities together, as in training. In eval mode the vectors
        equal those of `embed`.
        """
        features = self.features(images, self.embedding_necks)
        heads = {name: self.tasks[name].head for name in self.embedding if name in self.tasks}
        parts = {name: head.embed(*(features[n] for n in self.head_inputs[name])) for name, head in heads.items()}
        return torch.cat([parts[name] if name in parts else features[name] for name in self.embedding], dim=1)  # (B, D)

    def features(self, images: Mapping[Modality, Tensor], necks: Iterable[str]) -> dict[str, Any]:
        """Returns, outside training, the features of the backbone and of the given necks."""
        given = Batch(dict(images), {})
        for translator in self.translators.values():
            if not Translator.train_only(translator):
                given = translator(given)
        seen = {m: given.images[m] for m in joint_order(images)}
        context = Context({m: seen[m].shape[0] for m in seen})  # len() would fix the batch when the model is exported
        return self._fill(self._from_backbone(seen), necks, context)

    @staticmethod
    def config_path(name: str) -> str:
        """Returns the config path, relative to the model, of the component that owns the module `name`."""
        first, *rest = name.split('.')
        if first == 'tasks':
            return '.'.join(['heads', rest[0], *(rest[1:3] if rest[1:2] == ['losses'] else [])])
        return '.'.join([first, *(rest[:1] if first in ('necks', 'translators') else [])])

    def _from_backbone(self, images: dict[Modality, Tensor]) -> dict[str, Any]:
        features = self.backbone(images)
        if not isinstance(features, Mapping) or set(features) != set(self._backbone_features):
            raise VireidError(
                f'{self.where}.backbone returned {described(features)}',
                allowed=f'as declared by its outputs: a dict of {", ".join(map(repr, self._backbone_features))}',
                todo=GUIDE,
                path=f'{self.where}.backbone',
            )
        for name, feature in features.items():
            require_feature(feature, self.specs[name], name, f'{self.where}.backbone')
        return dict(features)

    def _fill(self, features: dict[str, Any], necks: Iterable[str], context: Context) -> dict[str, Any]:
        """Adds the outputs of the necks to `features`."""
        for name in necks:
            features[name] = self.necks[name](*(features[n] for n in self.inputs[name]), context=context)
            require_feature(features[name], self.specs[name], name, f'{self.where}.necks.{name}')
        return features
