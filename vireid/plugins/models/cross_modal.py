"""CrossModalModel: a backbone, necks, heads and a weighter wired by named features.

The key of a neck is the name of the feature it makes; `inputs` names what it reads. A head reads the feature of its
own name unless `inputs` says otherwise. Channels are inferred; wiring errors are found before any data is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from vireid.core.distributed.gather import gather
from vireid.core.distributed.processes import world
from vireid.core.errors import VireidError, raise_all
from vireid.core.registry.components import BuildPart
from vireid.core.registry.contracts import GUIDE, described
from vireid.core.registry.schema import Component
from vireid.core.types import Batch, Context, FeatureSpec, HeadOutput, Modality, joint_order
from vireid.plugins.models.builder import ModelBuilder
from vireid.plugins.models.graph import read_graph
from vireid.plugins.models.returns import require_feature, require_head_outputs, require_scalar

LossConfig = Annotated[dict | None, Component('losses', weight=float, reads=str)]
HeadConfig = Annotated[dict | None, Component('heads', inputs=str | Sequence[str], losses=dict[str, LossConfig])]
NeckConfig = Annotated[dict | None, Component('necks', inputs=str | Sequence[str])]
Feature = Tensor | dict[Modality, Tensor]


class Task(nn.Module):
    """One head with its losses, which add up to one number for the weighter.

    Args:
        head: maps features to a `HeadOutput`, or to several by name.
        losses: each maps (HeadOutput, identities) to a scalar.
        weights: factor of each loss in the sum.
        reads: which of the head's outputs each loss reads.
        where: path of the head in the config.
    """

    def __init__(
        self,
        head: nn.Module,
        losses: Mapping[str, nn.Module],
        weights: Mapping[str, float],
        reads: Mapping[str, str],
        where: str,
    ) -> None:
        super().__init__()
        self.head: Any = head
        self.losses = nn.ModuleDict(losses)
        self.weights, self.reads, self.where = dict(weights), dict(reads), where

    def forward(self, *features: Tensor, identities: Tensor) -> Tensor:
        made: HeadOutput | dict[str, HeadOutput] = self.head(*features)
        require_head_outputs(made, self.reads.values(), self.where)
        terms = []
        for name, loss in self.losses.items():
            output = made if isinstance(made, HeadOutput) else made[self.reads[name]]
            term = loss(output, identities)
            require_scalar(term, 'the loss', f'{self.where}.losses.{name}')
            terms.append(self.weights[name] * term)
        return torch.stack(terms).sum()  # ()


class CrossModalModel(nn.Module):
    """The default model: features by name, from the backbone's stages to the heads.

    Args:
        num_identities: classes K of the training set.
        backbone: config of the backbone; its `outputs` say which features it makes.
        heads: config of each head, with optional `inputs` and its `losses`. A loss may set `weight` (default 1) and,
            if the head makes several outputs, which one it `reads` (default the first).
        embedding: what is concatenated at test time: each name is a head (its embedding) or, if no head has that
            name, a feature (a vector).
        necks: config of each neck, with `inputs`: one feature name or several. They run in the order their inputs
            allow, otherwise in the order written. A neck, head or loss that is None is left out, so that a config
            can take away what its base has.
        weighter: config of the weighter.
        build_part: builds all of these, handing on what the framework knows.
        across_ranks: `losses.across_ranks` of the config: what the backbone makes is gathered from all processes.

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
    ) -> None:
        super().__init__()
        self.num_identities, self.across_ranks, self.where = num_identities, across_ranks, build_part.where
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
        self.tasks: Any = nn.ModuleDict({name: Task(**parts) for name, parts in builder.tasks().items()})
        builder.check_embedding()
        train_only = [name for name, neck in self.necks.items() if getattr(neck, 'train_only', False)]
        self._embedding_necks = graph.embedding_path(train_only)
        self.weighter = builder.build('weighters', weighter, 'weighter', task_names=tuple(graph.heads))
        graph.check_all_read()
        raise_all(graph.problems)

    @property
    def embedding_dim(self) -> int:
        """Length D of the embedding."""
        return sum(
            self.tasks[n].head.embedding_dim if n in self.tasks else self.specs[n].channels for n in self.embedding
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns each task's loss, a scalar by name, for a batch with labels 0..K-1."""
        order = joint_order(batch.images)
        counts = {m: len(batch.images[m]) for m in order}
        made = self._from_backbone({m: batch.images[m] for m in order})
        labels = {m: batch.identities[m] for m in order}
        if self.across_ranks and world()[1] > 1:
            made = {name: gather_feature(feature, counts) for name, feature in made.items()}
            labels = {m: gather(found) for m, found in labels.items()}
            counts = {m: len(found) for m, found in labels.items()}
        identities = torch.cat(list(labels.values()))  # (B,)
        features = self._fill(made, self.necks, Context(counts, identities))
        return {
            name: task(*(features[n] for n in self.head_inputs[name]), identities=identities)
            for name, task in self.tasks.items()
        }

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Embeds (B, 3, H, W) images of one modality as (B, D); not normalised."""
        context = Context({modality: images.shape[0]})  # len() would fix the batch when the model is exported
        features = self._features({modality: images}, self._embedding_necks, context)
        return torch.cat([self._embed_one(name, features) for name in self.embedding], dim=1)  # (B, D)

    @staticmethod
    def config_path(name: str) -> str:
        """Returns the path, below the model's, of the config that made the module called `name`."""
        first, *rest = name.split('.')
        if first == 'tasks':
            return '.'.join(['heads', rest[0], *(rest[1:3] if rest[1:2] == ['losses'] else [])])
        return '.'.join([first, *(rest[:1] if first == 'necks' else [])])

    def _embed_one(self, name: str, features: dict[str, Any]) -> Tensor:
        if name in self.tasks:
            return self.tasks[name].head.embed(*(features[n] for n in self.head_inputs[name]))
        return features[name]

    def _features(self, images: dict[Modality, Tensor], necks: Iterable[str], context: Context) -> dict[str, Any]:
        return self._fill(self._from_backbone(images), necks, context)

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


def gather_feature(feature: Any, counts: Mapping[str, int]) -> Any:
    """Joins a feature of the graph: one tensor per modality, or one tensor with `counts` rows of each.

    Rows are ordered as in one process: all visible images by rank, then all infrared ones.
    """
    if isinstance(feature, Mapping):
        return {modality: gather(own) for modality, own in feature.items()}
    return torch.cat([gather(own) for own in feature.split(list(counts.values()))])
