"""CrossModalModel: translators, a backbone, necks, heads and a weighter wired by named features.

The key of a neck is the name of its output feature; `inputs` names the features it reads. A head reads the feature
with its own name unless you set `inputs`. Channels are inferred, and wiring errors are reported before any data is
read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from vireid.core.epochs import Epochs, is_active
from vireid.core.registry.components import BuildPart
from vireid.core.registry.contracts import GUIDE, described
from vireid.core.registry.schema import Component
from vireid.core.registry.signature import named_arguments
from vireid.core.types import MODALITIES, Batch, Context, FeatureSpec, Modality, Progress, joint_order
from vireid.errors import Mismatch, raise_all
from vireid.interfaces import Neck, Translator
from vireid.plugins.models.builder import ModelBuilder, build_translator
from vireid.plugins.models.fitting import fit_necks, training_necks
from vireid.plugins.models.graph import bad_names, read_graph
from vireid.plugins.models.returns import require_feature, require_translated
from vireid.plugins.models.task import Task
from vireid.runtime.gather import gather, gather_feature
from vireid.runtime.processes import world

Names = str | Sequence[str]
LossConfig = Annotated[dict | None, Component('losses', weight=float, reads=str, task=str, epochs=Epochs | None)]
HeadConfig = Annotated[dict | None, Component('heads', inputs=Names, stop=Names, losses=dict[str, LossConfig])]
TranslatorConfig = Annotated[dict | None, Component('translators', epochs=Epochs | None)]
NeckConfig = Annotated[dict | None, Component('necks', inputs=Names)]
IMAGES = 'images'  # the feature that consists of the images themselves


class CrossModalModel(nn.Module):
    """The default model: a graph of named features, from the backbone's stages to the heads.

    Args:
        num_identities: number of training identities K.
        backbone: config of the backbone; its `outputs` declare the features it provides.
        heads: config of each head, with optional `inputs` and its `losses`; no gradient flows back through the inputs
            in `stop`. A loss may set its `weight` (default 1) and, if the head has several outputs, the one it `reads`
            (default: the first). It adds to the task with the head's name unless it sets `task`, and is computed only
            in its `epochs`. The weighter weighs tasks. Besides the features of the backbone and the necks, a head may
            read `images` and the maps of translators, which are paired.
        embedding: names of the heads and features whose vectors are concatenated at test time. A name is a head if one
            has that name, otherwise a feature. The copies of an image are concatenated too.
        necks: config of each neck, with `inputs`: one feature name or several. Necks run in dependency order, and
            otherwise in config order. A neck, head or loss set to None is removed, so a config can drop components of
            its base.
        weighter: config of the weighter.
        build_part: builds all of these and passes them the arguments that the framework provides.
        across_ranks: `losses.across_ranks` of the config: whether backbone features are gathered from all processes.
        translators: config of each translator. Translators run one after the other before the backbone; each changes
            the images, adds images of an auxiliary modality, or adds maps. One with `epochs` runs only in training.
        modalities: image channels by modality, including the auxiliary modalities of `images.views`; None means 3
            channels for visible and infrared.
        normalize_parts: whether to scale each part of the embedding, and each copy, to length 1. By default only the
            whole vector is normalized, at evaluation.
        mirror: whether to average the embedding with that of the mirrored image, both of length 1; takes twice as long.
        image_size: (H, W) of the images, if known.
        training: the `training` section, to reject `epochs` after its end.
        steps_per_epoch: number of steps per epoch, if known, for the same check.

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
        normalize_parts: bool = False,
        mirror: bool = False,
        image_size: tuple[int, int] | None = None,
        training: Any = None,
        steps_per_epoch: int | None = None,
    ) -> None:
        super().__init__()
        self.num_identities, self.across_ranks, self.where = num_identities, across_ranks, build_part.where
        self.normalize_parts, self.mirror = normalize_parts, mirror
        channels = dict(modalities or dict.fromkeys(MODALITIES, 3))
        self.translators, self.epochs = nn.ModuleDict(), dict[str, Epochs | None]()
        self.image_specs = {IMAGES: FeatureSpec(max(channels.values()), 'map', 'paired', image_size)}
        taken = functools.partial(hasattr, nn.ModuleDict)
        raise_all(bad_names(f'{self.where}.translators', translators or {}, taken))
        for name, config in (translators or {}).items():
            if config is not None:
                translator, self.epochs[name] = build_translator(build_part, name, config, channels, training)
                self.translators[name], channels = translator, dict(translator.modalities)
                self.image_specs |= Translator.maps(translator)
        self.modalities = tuple(joint_order(channels))
        context = {**build_part.context, 'modalities': channels}  # the later components see translated images
        build_part = BuildPart(build_part.components, build_part.where, context)
        self.backbone = build_part('backbones', backbone, 'backbone')
        self.specs: dict[str, FeatureSpec] = dict(self.backbone.outputs)
        self._backbone_features = tuple(self.specs)
        wiring = {'necks': necks, 'heads': heads, 'embedding': embedding}
        graph = read_graph(wiring, build_part.where, self._backbone_features, tuple(self.image_specs))
        builder = ModelBuilder(build_part, graph, self.specs, self.image_specs, training, steps_per_epoch)
        builder.check_names()
        raise_all(graph.problems)
        self.inputs, self.head_inputs, self.embedding = graph.reads, graph.head_reads, graph.embedding
        self.necks = nn.ModuleDict(builder.necks())
        self._takes = {f'necks.{name}': named_arguments(neck, 'progress') for name, neck in self.necks.items()}
        for name, translator in self.translators.items():
            self._takes[f'translators.{name}'] = named_arguments(translator, 'progress', 'needed')
        tasks = builder.tasks()
        self.copies, self.copies_read = builder.copies, builder.copies_read
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
    def changes(self) -> list[int]:
        """The epochs, after 0, in which the `epochs` of a loss or translator begin or end."""
        windows = [*self.epochs.values(), *(epochs for task in self.tasks.values() for epochs in task.epochs.values())]
        return sorted({epoch for epochs in windows for epoch in epochs or () if epoch})

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
        return sum(self.copies[name] * self._length(name) for name in self.embedding)

    def forward(self, batch: Batch, tasks: Collection[str] | None = None) -> dict[str, Tensor]:
        """Returns the scalar loss of each task by name, for a batch with labels 0..K-1.

        Args:
            batch: the images.
            tasks: the tasks to compute; None means all. Only what they need is run. A task is absent from the result
                if the `epochs` of all its losses exclude the current one.

        Raises:
            Mismatch: if no loss is to be computed, or a component returns something other than it declares.
        """
        active = {name: names for name, task in self.tasks.items() if (names := task.active(tasks, batch.progress))}
        if not active:
            raise Mismatch(
                f'{self.where}: no loss is active in epoch {batch.progress.epoch if batch.progress else 0}, counted '
                'from 0',
                todo=f'change the epochs of the losses{f" of {chr(44).join(tasks)}" if tasks else ""}',
                path=self.where,
            )
        needed = {read for name in active for read in self.head_inputs[name]}
        if tasks is None:  # necks that only the embedding reads run too, as they may keep statistics
            needed |= {*self._backbone_features, *self._training_necks}
        for name in reversed(self._training_necks):
            needed |= set(self.inputs[name]) if name in needed else set()
        runs_backbone = bool(needed & set(self._backbone_features))
        given = batch
        batch = self._translate(batch, runs_backbone, needed)
        order = joint_order(batch.images)
        counts = {m: len(batch.images[m]) for m in order}
        features = self._from_backbone({m: batch.images[m] for m in order}) if runs_backbone else {}
        labels = {m: batch.identities[m] for m in order}
        cameras = {m: batch.cameras[m] for m in order} if set(order) <= set(batch.cameras) else {}
        if self.across_ranks and world()[1] > 1:
            features = {n: gather_feature(feature, counts) for n, feature in features.items()}
            labels = {m: gather(of_rank) for m, of_rank in labels.items()}
            cameras = {m: gather(of_rank) for m, of_rank in cameras.items()}
            counts = {m: len(gathered) for m, gathered in labels.items()}
        identities = torch.cat(list(labels.values()))  # (B,)
        context = Context(counts, identities, torch.cat(list(cameras.values())) if cameras else None)
        features |= {IMAGES: given.images, **batch.maps}
        features = self._fill(features, [n for n in self._training_necks if n in needed], context, batch.progress)
        terms: dict[str, list[Tensor]] = {name: [] for name in self.task_names}
        for name, losses in active.items():
            inputs = [features[read] for read in self.head_inputs[name]]
            known = {'context': context.copied(self.copies[name]), 'progress': batch.progress, 'active': losses}
            for adds_to, values in self.tasks[name](*inputs, **known).items():
                terms[adds_to] += values
        return {name: torch.stack(losses).sum() for name, losses in terms.items() if losses}  # () each

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Embeds (B, 3, H, W) images of one modality as (B, D) vectors, not normalized."""
        return self.embed_joint({modality: images})

    def embed_joint(self, images: Mapping[Modality, Tensor]) -> Tensor:
        """Embeds images of several modalities together as (sum of B, D), visible first.

        In training mode, shared BatchNorm layers see all modalities together, as in training. In eval mode the vectors
        equal those of `embed`.
        """
        vectors = self._embed(images)
        if not self.mirror:
            return vectors
        mirrored = self._embed({m: x.flip(-1) for m, x in images.items()})
        return (nn.functional.normalize(vectors, dim=1) + nn.functional.normalize(mirrored, dim=1)) / 2

    def _embed(self, images: Mapping[Modality, Tensor]) -> Tensor:
        features = self.features(images, self.embedding_necks)
        parts = []
        for name in self.embedding:
            if name in self.tasks:
                part = self.tasks[name].head.embed(*(features[n] for n in self.head_inputs[name]))
            else:
                part = features[name]
            part = nn.functional.normalize(part, dim=1) if self.normalize_parts else part  # (B copies, D')
            parts.append(part if self.copies[name] == 1 else part.unflatten(0, (-1, self.copies[name])).flatten(1))
        return torch.cat(parts, dim=1)  # (B, D)

    def features(self, images: Mapping[Modality, Tensor], necks: Iterable[str]) -> dict[str, Any]:
        """Returns, outside training, the features of the backbone and of the given necks."""
        given = Batch(dict(images), {})
        for name, translator in self.translators.items():
            if not Translator.train_only(translator) and self.epochs[name] is None:
                given = translator(given)
        seen = {m: given.images[m] for m in joint_order(images)}
        context = Context({m: seen[m].shape[0] for m in seen})  # len() would fix the batch when the model is exported
        return self._fill(self._from_backbone(seen) | {IMAGES: images, **given.maps}, necks, context)

    def _translate(self, batch: Batch, runs_backbone: bool, needed: Collection[str]) -> Batch:
        """Applies the translators that the backbone or the needed maps depend on, among those that are active now."""
        names = list(self.translators)
        maps = [i for i, name in enumerate(names) if set(Translator.maps(self.translators[name])) & set(needed)]
        for name in names if runs_backbone else names[: max(maps, default=-1) + 1]:
            if is_active(self.epochs[name], batch.progress):
                translator, given, place = self.translators[name], batch, f'translators.{name}'
                known: dict[str, Any] = {'progress': given.progress, 'needed': needed}
                batch = translator(given, **{argument: known[argument] for argument in self._takes[place]})
                require_translated(batch, given, translator, f'{self.where}.{place}')
                counts = {m: x.shape[0] for m, x in given.images.items()}
                for added in set(Translator.maps(translator)) & set(needed):
                    spec = self.image_specs[added]
                    require_feature(batch.maps.get(added), spec, added, counts, f'{self.where}.{place}')
        return batch

    def _length(self, name: str) -> int:
        return self.tasks[name].head.embedding_dim if name in self.tasks else self.specs[name].channels

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
            raise Mismatch(
                f'{self.where}.backbone returned {described(features)}',
                allowed=f'as declared by its outputs: a dict of {", ".join(map(repr, self._backbone_features))}',
                todo=GUIDE,
                path=f'{self.where}.backbone',
            )
        counts = {m: x.shape[0] for m, x in images.items()}
        for name, feature in features.items():
            require_feature(feature, self.specs[name], name, counts, f'{self.where}.backbone')
        return dict(features)

    def _fill(
        self, features: dict[str, Any], necks: Iterable[str], context: Context, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Adds the outputs of the necks to `features`."""
        for name in necks:
            known: dict[str, Any] = {'context': context.copied(self.copies_read[name])}
            known |= dict.fromkeys(self._takes[f'necks.{name}'], progress)
            features[name] = self.necks[name](*(features[n] for n in self.inputs[name]), **known)
            require_feature(features[name], self.specs[name], name, context.counts, f'{self.where}.necks.{name}')
        return features
