"""CrossModalModel: a backbone, necks, heads and a weighter wired by named features.

The key of a neck is the name of the feature it makes; `inputs` names what it reads. A head reads the feature of its
own name unless `inputs` says otherwise. Channels are inferred; wiring errors are found before any data is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError, did_you_mean
from vireid.core.registry import BuildPart, Components, component_type
from vireid.core.signatures import accepts
from vireid.core.types import Batch, Context, FeatureSpec, HeadOutput, Modality, joint_order

Feature = Tensor | dict[Modality, Tensor]


class Task(nn.Module):
    """One head with its losses, which add up to one number for the weighter.

    Args:
        head: maps features to a `HeadOutput`, or to several by name.
        losses: each maps (HeadOutput, identities) to a scalar.
        weights: factor of each loss in the sum.
        reads: which of the head's outputs each loss reads.
    """

    def __init__(
        self,
        head: nn.Module,
        losses: Mapping[str, nn.Module],
        weights: Mapping[str, float],
        reads: Mapping[str, str],
    ) -> None:
        super().__init__()
        self.head: Any = head
        self.losses = nn.ModuleDict(losses)
        self.weights, self.reads = dict(weights), dict(reads)

    def forward(self, *features: Tensor, identities: Tensor) -> Tensor:
        made: HeadOutput | dict[str, HeadOutput] = self.head(*features)
        terms = []
        for name, loss in self.losses.items():
            output = made if isinstance(made, HeadOutput) else made[self.reads[name]]
            terms.append(self.weights[name] * loss(output, identities))
        return torch.stack(terms).sum()  # ()


class CrossModalModel(nn.Module):
    """The default model: features by name, from the backbone's stages to the heads.

    Args:
        components: where names are looked up.
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
        where: path of this model in the config, for messages.
        build_part: builds all of these, handing on what the framework knows.

    Raises:
        VireidError: for names, shapes or wiring that cannot work, with the path in the config.
    """

    def __init__(
        self,
        components: Components,
        num_identities: int,
        backbone: dict,
        heads: dict[str, dict | None],
        weighter: dict,
        embedding: str | Sequence[str],
        necks: dict[str, dict | None] | None = None,
        where: str = 'model',
        build_part: BuildPart | None = None,
    ) -> None:
        super().__init__()
        self.num_identities = num_identities
        build = build_part or components.part_builder(where, {'num_identities': num_identities})
        self.backbone = build('backbones', backbone, 'backbone')
        self.specs: dict[str, FeatureSpec] = dict(self.backbone.outputs)
        self.inputs: dict[str, tuple[str, ...]] = {}
        wiring = _Wiring(components, build, self.specs, where)
        self.necks = nn.ModuleDict()
        kept_necks = {name: config for name, config in (necks or {}).items() if config is not None}
        kept_heads = {name: config for name, config in heads.items() if config is not None}
        wiring.check_names(kept_necks, 'necks')
        wiring.check_names(kept_heads, 'heads')
        for name in wiring.order(kept_necks):
            config = dict(kept_necks[name])
            self.inputs[name] = wiring.names(config.pop('inputs'))
            neck = wiring.build('necks', name, config, self.inputs[name])
            self.necks[name] = neck
            self.specs[name] = neck.output
        self.tasks: Any = nn.ModuleDict()
        self.head_inputs: dict[str, tuple[str, ...]] = {}
        for name, head in kept_heads.items():
            component_type(head, f'{where}.heads.{name}')
            self.head_inputs[name] = wiring.names(head.get('inputs', name))
            self.tasks[name] = self._build_task(wiring, name, head)
        if not kept_heads:
            raise VireidError(f'{where}.heads is empty', todo='give at least one head; without losses nothing trains')
        self.embedding = wiring.names(embedding)
        self._embedding_necks = wiring.embedding_path(self)
        wiring.check_all_read(self)
        self.weighter = build('weighters', weighter, 'weighter', task_names=tuple(kept_heads))

    def _build_task(self, wiring: _Wiring, name: str, config: dict) -> Task:
        own = {key: value for key, value in config.items() if key not in ('inputs', 'losses')}
        head = wiring.build('heads', name, own, self.head_inputs[name])
        outputs = dict(getattr(head, 'outputs', {'global': 0}))
        losses, weights, reads = {}, {}, {}
        where = f'{wiring.where}.heads.{name}.losses'
        given = config.get('losses')
        kept = {k: v for k, v in given.items() if v is not None} if isinstance(given, Mapping) else {}
        if not kept:
            raise VireidError(
                f'{where} is {given!r}' if 'losses' in config else f'{where} is missing',
                allowed="losses=dict(id=dict(type='CrossEntropy'), ...)",
            )
        for key, loss in kept.items():
            component_type(loss, f'{where}.{key}')
            weights[key], reads[key] = loss.get('weight', 1.0), loss.get('reads', next(iter(outputs)))
            if not accepts(float, weights[key]):
                raise VireidError(f'{where}.{key}.weight is {weights[key]!r}', allowed='a number')
            if not isinstance(reads[key], str) or reads[key] not in outputs:
                raise VireidError(
                    f'{where}.{key}.reads: {config["type"]} makes no output {reads[key]!r}'
                    f'{did_you_mean(str(reads[key]), outputs)}',
                    allowed=', '.join(outputs),
                )
            rest = {k: v for k, v in loss.items() if k not in ('weight', 'reads')}
            losses[key] = wiring.build_part('losses', rest, f'heads.{name}.losses.{key}')
            if outputs[reads[key]] and not getattr(losses[key], 'reads_parts', True):
                raise VireidError(
                    f'{where}.{key}: {loss["type"]} reads one vector per image and {reads[key]!r} is '
                    f'{outputs[reads[key]]} parts',
                    todo=f'set {where}.{key}.reads to an output of one vector, or take this loss away (=None)',
                )
        for output in outputs:
            if output not in reads.values():
                raise VireidError(
                    f'{where}: no loss reads {output!r}, which {config["type"]} makes',
                    todo=f"add a loss with reads={output!r}, or set the head's arguments so that it is not made",
                )
        return Task(head, losses, weights, reads)

    @property
    def embedding_dim(self) -> int:
        """Length D of the embedding."""
        return sum(
            self.tasks[n].head.embedding_dim if n in self.tasks else self.specs[n].channels for n in self.embedding
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns each task's loss, a scalar by name, for a batch with labels 0..K-1."""
        order = joint_order(batch.images)
        identities = torch.cat([batch.identities[m] for m in order])  # (B,)
        context = Context({m: len(batch.images[m]) for m in order}, identities)
        features = self._features({m: batch.images[m] for m in order}, self.necks, context)
        return {
            name: task(*(features[n] for n in self.head_inputs[name]), identities=identities)
            for name, task in self.tasks.items()
        }

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Embeds (B, 3, H, W) images of one modality as (B, D); not normalised."""
        context = Context({modality: len(images)})
        features = self._features({modality: images}, self._embedding_necks, context)
        return torch.cat([self._embed_one(name, features) for name in self.embedding], dim=1)  # (B, D)

    def _embed_one(self, name: str, features: dict[str, Any]) -> Tensor:
        if name in self.tasks:
            return self.tasks[name].head.embed(*(features[n] for n in self.head_inputs[name]))
        return features[name]

    def _features(self, images: dict[Modality, Tensor], necks: Iterable[str], context: Context) -> dict[str, Any]:
        features: dict[str, Any] = dict(self.backbone(images))
        for name in necks:
            features[name] = self.necks[name](*(features[n] for n in self.inputs[name]), context=context)
        return features


class _Wiring:
    """Checks of the graph; it knows the config's paths, so that every message names one."""

    def __init__(
        self, components: Components, build_part: BuildPart, specs: dict[str, FeatureSpec], where: str
    ) -> None:
        self.components, self.build_part, self.specs, self.where = components, build_part, specs, where

    @staticmethod
    def names(value: str | Sequence[str]) -> tuple[str, ...]:
        return (value,) if isinstance(value, str) else tuple(value)

    def check_names(self, named: Iterable[str], kind: str) -> None:
        """Refuses names that no module can have in torch."""
        for name in named:
            if not name.isidentifier() or hasattr(nn.ModuleDict, name):
                raise VireidError(
                    f'{self.where}.{kind}: {name!r} cannot be a name here',
                    allowed='letters, digits and _, and no word that torch uses itself',
                    todo='choose another name',
                )

    def order(self, necks: Mapping[str, Any]) -> list[str]:
        """Orders necks so that each runs after what it reads; otherwise as written."""
        known, waiting, ordered = set(self.specs), dict(necks), []
        for name, config in necks.items():
            path = f'{self.where}.necks.{name}'
            component_type(config, path)
            if name in self.specs:
                raise VireidError(f'{path}: the backbone already makes a feature {name!r}', todo='choose another name')
            if 'inputs' not in config:
                raise VireidError(f'{path} does not say what it reads', todo=f"set {path}.inputs, such as 'stage4'")
            for read in self.names(config['inputs']):
                self._must_exist(read, {*self.specs, *necks}, f'{path}.inputs')
        while waiting:
            ready = next((n for n, c in waiting.items() if known.issuperset(self.names(c['inputs']))), None)
            if ready is None:
                raise VireidError(
                    f'{self.where}.necks: {", ".join(waiting)} read each other in a cycle',
                    todo='let one of them read a feature made before it',
                )
            known.add(ready)
            ordered.append(ready)
            del waiting[ready]
        return ordered

    def build(self, kind: str, name: str, config: Mapping, inputs: tuple[str, ...]) -> Any:
        """Builds a neck or head that reads `inputs`, handing it their specs."""
        path = f'{self.where}.{kind}.{name}'
        for read in inputs:
            self._must_exist(read, self.specs, f'{path}.inputs' if name != read else path)
        target = self.components.get(kind, component_type(config, path), where=path)
        layout = getattr(target, 'layout', 'joint')
        for read in inputs:
            if layout != 'any' and self.specs[read].layout != layout:
                raise VireidError(
                    f'{path}: {config["type"]} wants a {layout} feature and {read!r} is {self.specs[read].layout}',
                    todo=self._fusion_hint() if layout == 'joint' else 'read a stage before `shared_from`',
                )
        return self.build_part(kind, config, f'{kind}.{name}', inputs=tuple(self.specs[n] for n in inputs))

    def _fusion_hint(self) -> str:
        """Names the necks that turn paired features into joint ones, whoever brings them."""
        fusing = []
        for name in self.components.names('necks'):
            try:
                layout = getattr(self.components.get('necks', name), 'layout', 'joint')
            except VireidError:
                continue
            if layout in ('paired', 'any'):
                fusing.append(name)
        return f'fuse it first, e.g. with {" or ".join(fusing)}' if fusing else 'fuse it first'

    def embedding_path(self, model: CrossModalModel) -> tuple[str, ...]:
        """Returns the necks the embedding needs, in order; none of them may be train-only."""
        path = f'{self.where}.embedding'
        if not model.embedding:
            raise VireidError(f'{path} is empty', allowed=', '.join([*model.tasks, *self.specs]))
        pending: list[str] = []
        for name in model.embedding:
            self._must_exist(name, {*self.specs, *model.tasks}, path)
            if name in model.tasks:
                pending.extend(model.head_inputs[name])
            elif self.specs[name] != FeatureSpec(self.specs[name].channels):
                raise VireidError(
                    f'{path}: feature {name!r} is a {self.specs[name].layout} {self.specs[name].kind}',
                    todo='an embedding is made of joint vectors; name a head, which pools',
                )
            else:
                pending.append(name)
        needed: set[str] = set()
        while pending:
            name = pending.pop()
            if name in model.necks and name not in needed:
                needed.add(name)
                pending.extend(model.inputs[name])
        for name in needed:
            if getattr(model.necks[name], 'train_only', False):
                raise VireidError(
                    f'{path} needs the neck {name!r}, which works in training only (it reads identities)',
                    todo=f'name a feature made before {name!r}',
                )
        return tuple(name for name in model.necks if name in needed)

    def check_all_read(self, model: CrossModalModel) -> None:
        """Raises if a feature is made that no neck, head or embedding reads."""
        read = {name for inputs in (*model.inputs.values(), *model.head_inputs.values()) for name in inputs}
        unread = [name for name in self.specs if name not in read and name not in model.embedding]
        if unread:
            made_by = {n: f'{self.where}.necks.{n}' if n in model.necks else f'{self.where}.backbone' for n in unread}
            raise VireidError(
                'nobody reads ' + ', '.join(f'{n!r} (made by {made_by[n]})' for n in unread),
                todo='add a head or neck that reads it, or stop making it',
            )

    def _must_exist(self, name: str, known: Iterable[str], path: str) -> None:
        if name not in known:
            raise VireidError(
                f'{path}: nothing makes a feature {name!r}{did_you_mean(name, known)}', allowed=', '.join(sorted(known))
            )
