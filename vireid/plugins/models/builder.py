"""Builds the components of a model's graph and collects the errors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from vireid.core.epochs import Epochs, require_reachable
from vireid.core.registry.components import BuildPart, component_type
from vireid.core.registry.signature import named_arguments
from vireid.core.types import FeatureSpec, Modality
from vireid.errors import Conflict, Mismatch, UnknownName, VireidError, did_you_mean
from vireid.interfaces import Head, Loss, Neck
from vireid.plugins.models.graph import Graph, bad_names, missing_names, names_in


class ModelBuilder:
    """Builds the components of a graph; an error is added to the graph's problems and building continues.

    Args:
        build_part: builds a component.
        graph: the wiring.
        specs: specs of the backbone's features; those of the necks are added.
        image_specs: specs of the images and of the maps of translators.
        training: the `training` section, if known.
        steps_per_epoch: number of steps per epoch, if known.

    Attributes:
        copies: rows per image of each feature, and of the features that each head reads.
        copies_read: rows per image of the features that each neck reads.
    """

    def __init__(
        self,
        build_part: BuildPart,
        graph: Graph,
        specs: dict[str, FeatureSpec],
        image_specs: Mapping[str, FeatureSpec],
        training: Any = None,
        steps_per_epoch: int | None = None,
    ) -> None:
        self.build_part, self.graph, self.specs, self.image_specs = build_part, graph, specs, dict(image_specs)
        self.training, self.steps_per_epoch = training, steps_per_epoch
        self.copies = {name: spec.copies for name, spec in specs.items()}
        self.copies_read: dict[str, int] = {}

    def check_names(self) -> None:
        """Reports names that torch does not accept for a module."""
        where, heads = self.graph.where, self.graph.heads
        named = {f'{where}.necks': self.graph.necks, f'{where}.heads': heads}
        named |= {f'{where}.heads.{name}.losses': head.get('losses') or {} for name, head in heads.items()}
        for place, names in named.items():
            words = [name for name in names if name.isidentifier()]  # the others are reported already
            self.graph.problems += bad_names(place, words, lambda name: hasattr(nn.ModuleDict, name))
        for name in set(self.image_specs) & set(self.specs):
            error = Conflict(f'a translator already has a feature {name!r}', todo='choose another name')
            self.graph.report('backbone', error)

    def build(self, kind: str, config: Mapping, key: str, **context: Any) -> Any:
        """Builds one component; returns None and reports the error if that fails.

        Args:
            kind: one of `KINDS`.
            config: its config.
            key: its place in the `model` section, such as `necks.mlfm`.
            **context: values passed to it if it names them.
        """
        try:
            return self.build_part(kind, config, key, **context)
        except VireidError as error:
            self.graph.problems.append(error)
            return None

    def necks(self) -> dict[str, nn.Module]:
        """Builds the necks, leaving out those that fail."""
        built = {}
        for name, config in self.graph.necks.items():
            rest = {key: value for key, value in config.items() if key != 'inputs'}
            neck = self._build_reader('necks', name, rest, self.graph.reads[name])
            if neck is not None:
                built[name] = neck
                self.copies_read[name] = self._copies(self.graph.reads[name])
                self.copies[name] = self.copies_read[name] * neck.output.copies
                self.specs[name] = replace(neck.output, copies=self.copies[name])
        return built

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Builds the heads with their losses, leaving out those that fail; returns the arguments of each `Task`."""
        built = {}
        for name, config in self.graph.heads.items():
            own = {key: value for key, value in config.items() if key not in ('inputs', 'stop', 'losses')}
            head = self._build_reader('heads', name, own, self.graph.head_reads[name])
            if head is not None:
                built[name] = self._task(name, head, config)
                self.copies[name] = self._copies(self.graph.head_reads[name])
        return built

    def _build_reader(self, kind: str, name: str, config: Mapping, inputs: tuple[str, ...]) -> Any:
        """Builds a neck or head from the specs of its `inputs`; returns None if that fails."""
        known = {**self.image_specs, **self.specs}
        if not all(read in known for read in inputs):
            return None  # the component that outputs them failed, and its error is reported
        path = f'{self.graph.where}.{kind}.{name}'
        specs = {read: known[read] for read in inputs}
        try:
            if len({spec.copies for spec in specs.values()}) > 1:
                rows = ', '.join(f'{read} {spec.copies}' for read, spec in specs.items())
                raise Mismatch(f'its inputs have different numbers of rows per image ({rows})')
            if self.build_part.context.get('across_ranks') and set(inputs) & set(self.image_specs):
                raise Conflict(
                    f'{path} reads images, but losses.across_ranks gathers only the features of the backbone',
                    todo='remove losses.across_ranks',
                    path=path,
                )
            components = self.build_part.components
            component = components.get(kind, component_type(config, path), where=path)
            layout = (Neck if kind == 'necks' else Head).layout(component)
            for read in inputs:
                if layout != 'any' and specs[read].layout != layout:
                    raise Mismatch(
                        f'{config["type"]} needs a {layout} feature, but {read!r} is {specs[read].layout}',
                        todo=self._fusion_hint() if layout == 'joint' else 'read a stage before `shared_from`',
                    )
        except VireidError as error:
            self.graph.report(f'{kind}.{name}', error)
            return None
        return self.build(kind, config, f'{kind}.{name}', inputs=tuple(replace(specs[n], copies=1) for n in inputs))

    def _copies(self, reads: tuple[str, ...]) -> int:
        return max((self.specs[read].copies for read in reads if read in self.specs), default=1)

    def _task(self, name: str, head: Any, config: Mapping) -> dict[str, Any]:
        outputs = dict(Head.outputs(head))
        losses, weights, reads, epochs = {}, {}, {}, {}
        place, problems = f'heads.{name}.losses', self.graph.problems
        where, report = f'{self.graph.where}.{place}', self.graph.report
        for key, loss in config['losses'].items():
            if loss is None:
                continue
            weights[key], reads[key] = loss.get('weight', 1.0), loss.get('reads', next(iter(outputs)))
            if reads[key] not in outputs:
                text = f'{config["type"]} has no output {reads[key]!r}{did_you_mean(str(reads[key]), outputs)}'
                report(f'{place}.{key}.reads', UnknownName(text, allowed=', '.join(outputs)))
                continue
            epochs[key] = loss.get('epochs')
            try:
                require_reachable(epochs[key], self.training, f'{where}.{key}', self.steps_per_epoch)
            except VireidError as error:
                problems.append(error)
            rest = {k: v for k, v in loss.items() if k not in ('weight', 'reads', 'task', 'epochs')}
            built = self.build('losses', rest, f'{place}.{key}')
            if built is None:
                continue
            losses[key] = built
            known = dict.fromkeys(named_arguments(built, 'context', 'progress'))
            try:
                inspect.signature(built.forward).bind(None, None, **known)
            except TypeError:
                text = f'forward of {loss["type"]} takes {inspect.signature(built.forward)}'
                allowed = '(output, identities), and context and progress by name'
                report(f'{place}.{key}', Mismatch(text, allowed=allowed))
            copies = self._copies(self.graph.head_reads[name])
            if (least := Loss.least_copies(built)) > copies:
                misfit = Mismatch(
                    f'{loss["type"]} needs {least} rows per image, but its head reads {copies}',
                    todo='let the head read a neck that returns copies, or insert one: '
                    "model.backbone.inserts.dee=dict(type='DEE', after='stage3')",
                )
                report(f'{place}.{key}', misfit)
            if outputs[reads[key]] and not Loss.reads_parts(built):
                misfit = Mismatch(
                    f'{loss["type"]} reads one vector per image, but {reads[key]!r} has {outputs[reads[key]]} parts',
                    todo=f'set {where}.{key}.reads to an output with one vector, or remove this loss (=None)',
                )
                report(f'{place}.{key}', misfit)
        for output in outputs if config['losses'] else ():
            if output not in reads.values():
                todo = f"add a loss with reads={output!r}, or change the head's arguments to disable this output"
                report(place, Mismatch(f'no loss reads the output {output!r} of {config["type"]}', todo=todo))
        where = f'{self.graph.where}.heads.{name}'
        tasks = {key: loss.get('task', name) for key, loss in config['losses'].items() if loss is not None}
        inputs, stopped = self.graph.head_reads[name], names_in(config.get('stop'))
        problems += missing_names(stopped, inputs, f'{where}.stop')
        stop = tuple(read in stopped for read in inputs)
        return {
            'head': head, 'losses': losses, 'weights': weights, 'reads': reads, 'tasks': tasks, 'epochs': epochs,
            'stop': stop, 'where': where,
        }  # fmt: skip

    def task_names(self) -> tuple[str, ...]:
        """Returns the tasks that the losses add to, in config order."""
        named = [
            loss.get('task', head)
            for head, config in self.graph.heads.items()
            for loss in (config.get('losses') or {}).values()
            if loss is not None
        ]
        return tuple(dict.fromkeys(named))

    def _fusion_hint(self) -> str:
        """Names the necks, of all plugins, that turn paired features into joint ones."""
        components = self.build_part.components
        fusing = [
            name
            for name in components.names('necks')
            if Neck.layout(components.get('necks', name)) in ('paired', 'any')
        ]
        return f'fuse it first, e.g. with {" or ".join(fusing)}' if fusing else 'fuse it first'

    def check_embedding(self, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """Reports training-only heads in the embedding, and features that are not joint vectors."""
        for name in self.graph.embedding:
            if Head.train_only(tasks.get(name, {}).get('head')):
                error = Mismatch(f'the head {name!r} is for training only', todo='name another head, or a feature')
                self.graph.report('embedding', error)
            spec = {**self.image_specs, **self.specs}.get(name)
            if (
                name not in self.graph.heads
                and spec is not None
                and spec != FeatureSpec(spec.channels, copies=spec.copies)
            ):
                error = Mismatch(
                    f'feature {name!r} is a {spec.layout} {spec.kind}',
                    todo='an embedding consists of joint vectors; name a head, which pools',
                )
                self.graph.report('embedding', error)


def build_translator(
    build_part: BuildPart, name: str, config: Mapping[str, Any], channels: Mapping[Modality, int], training: Any
) -> tuple[Any, Epochs | None]:
    """Builds a translator; returns it with its `epochs`.

    Args:
        build_part: builds a component.
        name: its name in the config.
        config: its config, which may contain `epochs`.
        channels: image channels by modality before the translator.
        training: the `training` section, if known.

    Raises:
        VireidError: if it cannot be built, its epochs are never reached, or it has epochs but the backbone could not
            run without it.
    """
    key, epochs = f'translators.{name}', config.get('epochs')
    where = f'{build_part.where}.{key}'
    require_reachable(epochs, training, where)
    own = {k: v for k, v in config.items() if k != 'epochs'}
    translator = build_part('translators', own, key, modalities=channels)
    changed = {m: n for m, n in translator.modalities.items() if channels.get(m, n) != n}
    if epochs is not None and changed:
        raise Conflict(
            f'the translator changes the channels of {", ".join(changed)}, so it must always run', todo='remove epochs'
        ).at(f'{where}.epochs')
    return translator, epochs
