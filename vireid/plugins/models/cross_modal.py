"""CrossModalModel: translators, a backbone, necks, heads and a weighter wired by named features.

The key of a neck is the name of the feature it makes; `inputs` names what it reads. A head reads the feature of its
own name unless `inputs` says otherwise. Channels are inferred; wiring errors are found before any data is read.
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
        head: maps features to a `HeadOutput`, or to several by name; given the `context` if it names it.
        losses: each maps (HeadOutput, identities) to a scalar; given the `context` if it names it.
        weights: factor of each loss in the sum.
        reads: which of the head's outputs each loss reads.
        tasks: which task each loss adds to.
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
        """Returns the weighted losses, () each, by the task that they add to."""
        made: HeadOutput | dict[str, HeadOutput] = self.head(*features, **self._known('', context))
        require_head_outputs(made, self.reads.values(), self.where)
        terms: dict[str, list[Tensor]] = {}
        for name, loss in self.losses.items():
            output = made if isinstance(made, HeadOutput) else made[self.reads[name]]
            term = loss(output, context.identities, **self._known(name, context))
            require_scalar(term, 'the loss', f'{self.where}.losses.{name}')
            terms.setdefault(self.tasks[name], []).append(self.weights[name] * term)
        return terms

    def _known(self, part: str, context: Context) -> dict[str, Context]:
        return {'context': context} if part in self._contextual else {}


class CrossModalModel(nn.Module):
    """The default model: features by name, from the backbone's stages to the heads.

    Args:
        num_identities: classes K of the training set.
        backbone: config of the backbone; its `outputs` say which features it makes.
        heads: config of each head, with optional `inputs` and its `losses`. A loss may set `weight` (default 1) and,
            if the head makes several outputs, which one it `reads` (default the first). It adds to the task of the
            head's name unless it names another `task`; tasks are what is weighed.
        embedding: what is concatenated at test time: each name is a head (its embedding) or, if no head has that
            name, a feature (a vector).
        necks: config of each neck, with `inputs`: one feature name or several. They run in the order their inputs
            allow, otherwise in the order written. A neck, head or loss that is None is left out, so that a config
            can take away what its base has.
        weighter: config of the weighter.
        build_part: builds all of these, handing on what the framework knows.
        across_ranks: `losses.across_ranks` of the config: what the backbone makes is gathered from all processes.
        translators: config of each translator, which changes the images or adds some of an auxiliary modality before
            the backbone sees them; one after the other.
        modalities: channels of the images by modality, auxiliary ones of `images.views` included; 3 of each if None.

    Raises:
        VireidError: for names, shapes or wiring that cannot work, all of them, with their paths in the config.
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
        for name, found in (translators or {}).items():
            if found is not None:
                made = build_part('translators', found, f'translators.{name}', modalities=channels)
                self.translators[name], channels = made, dict(made.modalities)
        self.modalities = tuple(joint_order(channels))
        context = {**build_part.context, 'modalities': channels}  # as translated, for all that follows
        build_part = BuildPart(build_part.components, build_part.where, context)
        self.backbone = build_part('backbones', backbone, 'backbone')
        self.specs: dict[str, FeatureSpec] = dict(self.backbone.outputs)
        self._made = tuple(self.specs)
        config = {'necks': necks, 'heads': heads, 'embedding': embedding}
        graph = read_graph(config, build_part.where, made=tuple(self.specs))
        builder = ModelBuilder(build_part, graph, self.specs)
        builder.check_names()
        raise_all(graph.problems)
        self.inputs, self.head_inputs, self.embedding = graph.reads, graph.head_reads, graph.embedding
        self.necks = nn.ModuleDict(builder.necks())
        tasks = builder.tasks()
        self.tasks: Any = nn.ModuleDict({name: Task(**parts) for name, parts in tasks.items()})
        builder.check_embedding(tasks)
        train_only = [name for name, neck in self.necks.items() if getattr(neck, 'train_only', False)]
        self.embedding_necks = graph.embedding_path(train_only)
        self._training_necks = training_necks(self, graph)
        self.task_names = builder.task_names()
        self.weighter = builder.build('weighters', weighter, 'weighter', task_names=self.task_names)
        graph.check_all_read()
        raise_all(graph.problems)

    @property
    def fit(self) -> Callable[[Iterable[Batch]], None]:
        """Fits the necks of the embedding that have a `fit`; a model without such necks has none."""
        if not self.fitted_necks:
            raise AttributeError('no neck of the embedding is fitted')
        return functools.partial(self.fit_necks, self.fitted_necks)

    @property
    def fitted_necks(self) -> list[str]:
        """The necks of the embedding that have a `fit`, in the order of execution."""
        return [name for name in self.embedding_necks if name in self.necks and hasattr(self.necks[name], 'fit')]

    def fit_necks(self, names: Sequence[str], batches: Iterable[Batch]) -> None:
        """Fits necks of the embedding to the features of all images; see `fitting.fit_necks`."""
        fit_necks(self, names, batches)

    @property
    def embedding_dim(self) -> int:
        """Length D of the embedding."""
        return sum(
            self.tasks[n].head.embedding_dim if n in self.tasks else self.specs[n].channels for n in self.embedding
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns each task's loss, a scalar by name, for a batch with labels 0..K-1."""
        for name, translator in self.translators.items():
            given, batch = batch, translator(batch)
            require_translated(batch, given, translator, f'{self.where}.translators.{name}')
        order = joint_order(batch.images)
        counts = {m: len(batch.images[m]) for m in order}
        made = self._from_backbone({m: batch.images[m] for m in order})
        labels = {m: batch.identities[m] for m in order}
        cameras = {m: batch.cameras[m] for m in order} if set(order) <= set(batch.cameras) else {}
        if self.across_ranks and world()[1] > 1:
            made = {name: gather_feature(feature, counts) for name, feature in made.items()}
            labels = {m: gather(found) for m, found in labels.items()}
            cameras = {m: gather(found) for m, found in cameras.items()}
            counts = {m: len(found) for m, found in labels.items()}
        identities = torch.cat(list(labels.values()))  # (B,)
        context = Context(counts, identities, torch.cat(list(cameras.values())) if cameras else None)
        features = self._fill(made, self._training_necks, context)
        terms: dict[str, list[Tensor]] = {name: [] for name in self.task_names}
        for name, task in self.tasks.items():
            for adds_to, found in task(*(features[n] for n in self.head_inputs[name]), context=context).items():
                terms[adds_to] += found
        return {name: torch.stack(found).sum() for name, found in terms.items()}  # () each

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Embeds (B, 3, H, W) images of one modality as (B, D); not normalised."""
        return self.embed_joint({modality: images})

    def embed_joint(self, images: Mapping[Modality, Tensor]) -> Tensor:
        """Embeds images of several modalities at once as (sum of B, D), visible first.

        In training mode shared BatchNorm layers see all of them, as in training; otherwise it is what `embed` gives.
        """
        features = self.features(images, self.embedding_necks)
        heads = {name: self.tasks[name].head for name in self.embedding if name in self.tasks}
        parts = {name: head.embed(*(features[n] for n in self.head_inputs[name])) for name, head in heads.items()}
        return torch.cat([parts[name] if name in parts else features[name] for name in self.embedding], dim=1)  # (B, D)

    def features(self, images: Mapping[Modality, Tensor], necks: Iterable[str]) -> dict[str, Any]:
        """Returns the features of images outside training: the backbone's, and those of some necks."""
        given = Batch(dict(images), {})
        for translator in self.translators.values():
            if not getattr(translator, 'train_only', False):
                given = translator(given)
        seen = {m: given.images[m] for m in joint_order(images)}
        context = Context({m: seen[m].shape[0] for m in seen})  # len() would fix the batch when the model is exported
        return self._fill(self._from_backbone(seen), necks, context)

    @staticmethod
    def config_path(name: str) -> str:
        """Returns the path, below the model's, of the config that made the module called `name`."""
        first, *rest = name.split('.')
        if first == 'tasks':
            return '.'.join(['heads', rest[0], *(rest[1:3] if rest[1:2] == ['losses'] else [])])
        return '.'.join([first, *(rest[:1] if first in ('necks', 'translators') else [])])

    def _from_backbone(self, images: dict[Modality, Tensor]) -> dict[str, Any]:
        made = self.backbone(images)
        if not isinstance(made, Mapping) or set(made) != set(self._made):
            raise VireidError(
                f'{self.where}.backbone made {described(made)}',
                allowed=f'as declared by its outputs: a dict of {", ".join(map(repr, self._made))}',
                todo=GUIDE,
            )
        for name, feature in made.items():
            require_feature(feature, self.specs[name], name, f'{self.where}.backbone')
        return dict(made)

    def _fill(self, features: dict[str, Any], necks: Iterable[str], context: Context) -> dict[str, Any]:
        """Adds what the necks make."""
        for name in necks:
            features[name] = self.necks[name](*(features[n] for n in self.inputs[name]), context=context)
            require_feature(features[name], self.specs[name], name, f'{self.where}.necks.{name}')
        return features
