"""The wiring of a model's config, resolved by name before necks and heads are built."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vireid.errors import Conflict, Mismatch, MissingKey, UnknownName, VireidError, WrongValue, did_you_mean


@dataclass
class Graph:
    """The features, tasks and embedding of a model, by name.

    Attributes:
        where: path of the model in the config.
        backbone_features: names of the backbone's features.
        necks: config of each neck, in execution order.
        heads: config of each head, in config order.
        reads: features that each neck reads.
        head_reads: features that each head reads.
        embedding: heads and features of the embedding.
        unread: features that no neck, head or embedding reads.
        problems: the errors, each with its config path.
    """

    where: str
    backbone_features: Collection[str]
    necks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    heads: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    head_reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    embedding: tuple[str, ...] = ()
    unread: list[str] = field(default_factory=list)
    problems: list[VireidError] = field(default_factory=list)

    def report(self, key: str, error: VireidError) -> None:
        """Adds an error about a key of the model."""
        self.problems.append(error.at(f'{self.where}.{key}'))

    def features(self) -> list[str]:
        """Returns the names of all features."""
        return [*self.backbone_features, *self.necks]

    def check_all_read(self) -> None:
        """Reports unused features, unless there are other errors: a misspelled input may be the cause."""
        for name in () if self.problems else self.unread:
            error = Mismatch(f'feature {name!r} is unused', todo='add a head or neck that reads it, or remove it')
            self.report(f'necks.{name}' if name in self.necks else 'backbone', error)

    def embedding_path(self, train_only: Collection[str]) -> tuple[str, ...]:
        """Returns the necks that the embedding needs, in order, and reports those that are train-only."""
        pending = [f for name in self.embedding for f in self.head_reads.get(name, (name,))]
        needed: set[str] = set()
        while pending:
            name = pending.pop()
            if name in self.necks and name not in needed:
                needed.add(name)
                pending.extend(self.reads[name])
        for name in self.necks:
            if name in needed and name in train_only:
                self.problems.append(
                    Mismatch(
                        f'{self.where}.embedding needs the neck {name!r}, which works only in training (it reads '
                        'identities)',
                        todo=f'name a feature computed before {name!r}',
                        path=f'{self.where}.embedding',
                    )
                )
        return tuple(name for name in self.necks if name in needed)


def read_graph(
    config: Mapping[str, Any], where: str, backbone_features: Collection[str], image_features: Collection[str] = ()
) -> Graph:
    """Reads the wiring of a `CrossModalModel`.

    A neck, head or loss set to None is ignored. So are values of the wrong type: the type check reports them.

    Args:
        config: the model's `necks`, `heads` and `embedding`.
        where: the model's config path, for messages.
        backbone_features: names of the backbone's features.
        image_features: names of the images and of the maps of translators, which nothing needs to read.
    """
    graph = Graph(where, backbone_features)
    necks, graph.heads = _kept(config.get('necks')), _kept(config.get('heads'))
    known = {*backbone_features, *image_features, *necks}
    for kind, named in (('necks', necks), ('heads', graph.heads)):
        graph.problems += bad_names(f'{where}.{kind}', named)
    for name, neck in necks.items():
        path = f'{where}.necks.{name}'
        if name in (*backbone_features, *image_features):
            owner = 'backbone' if name in backbone_features else 'model'
            error = Conflict(f'the {owner} already has a feature {name!r}', todo='choose another name')
            graph.report(f'necks.{name}', error)
        if neck.get('inputs') in (None, [], ()):
            graph.problems.append(
                MissingKey(f'{path} has no inputs', todo=f"set {path}.inputs, such as 'stage4'", path=path)
            )
        graph.reads[name] = names_in(neck.get('inputs'))
        graph.problems += missing_names(graph.reads[name], known, f'{path}.inputs')
    graph.necks = _ordered(graph, necks)
    for name, head in graph.heads.items():
        path = f'{where}.heads.{name}'
        graph.head_reads[name] = names_in(head.get('inputs', name))
        if isinstance(head.get('losses'), Mapping):
            graph.problems += bad_names(f'{path}.losses', head['losses'])
        graph.problems += missing_names(graph.head_reads[name], known, f'{path}.inputs' if 'inputs' in head else path)
        losses = head.get('losses')
        all_removed = isinstance(losses, Mapping) and losses and all(loss is None for loss in losses.values())
        if losses is None or all_removed:  # losses={} is allowed: the head is not trained
            text = f'is {head["losses"]!r}' if 'losses' in head else 'is missing'
            graph.problems.append(
                MissingKey(
                    f'{path}.losses {text}',
                    allowed="losses=dict(id=dict(type='CrossEntropy'), ...)",
                    path=f'{path}.losses',
                )
            )
    _read_embedding(graph, config.get('embedding'), known, image_features)
    return graph


def bad_names(where: str, named: Iterable[str], taken: Callable[[str], bool] = lambda name: False) -> list[VireidError]:
    """Returns an error for each name that torch does not accept for a module.

    Args:
        where: config path of the names.
        named: the names.
        taken: says whether torch uses a name itself.
    """
    return [
        WrongValue(
            f'invalid name {name!r}',
            allowed='letters, digits and _, except names that torch uses itself',
            todo='choose another name',
        ).at(where)
        for name in named
        if not name.isidentifier() or taken(name)
    ]


def names_in(value: Any) -> tuple[str, ...]:
    """Returns one name or several as a tuple, ignoring values that are not names."""
    several = (value,) if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ()
    return tuple(name for name in several if isinstance(name, str))


def _kept(named: Any) -> dict[str, Mapping[str, Any]]:
    return {k: v for k, v in named.items() if isinstance(v, Mapping)} if isinstance(named, Mapping) else {}


def missing_names(names: Iterable[str], known: Collection[str], path: str) -> list[VireidError]:
    """Returns an error for each name that is not known.

    Args:
        names: names of features.
        known: the features that exist.
        path: config path of the component that reads them.
    """
    return [
        UnknownName(f'unknown feature {name!r}{did_you_mean(name, known)}', allowed=', '.join(sorted(known))).at(path)
        for name in names
        if name not in known
    ]


def _ordered(graph: Graph, necks: dict[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Orders necks so that each runs after its inputs, and otherwise in config order."""
    waiting = dict(necks)
    ordered: dict[str, Mapping[str, Any]] = {}
    while waiting:
        ready = next((name for name in waiting if not any(read in waiting for read in graph.reads[name])), None)
        if ready is None:
            todo = 'connect one of them to a feature from outside the cycle'
            graph.report('necks', Mismatch(f'{", ".join(waiting)} form a cycle', todo=todo))
            return {**ordered, **waiting}
        ordered[ready] = waiting.pop(ready)
    return ordered


def _read_embedding(graph: Graph, value: Any, known: Collection[str], images: Collection[str]) -> None:
    path = f'{graph.where}.embedding'
    graph.embedding = names_in(value)
    if value in ('', (), []):
        graph.problems.append(
            WrongValue(f'{path} is empty', allowed=', '.join([*graph.heads, *graph.features()]), path=path)
        )
    named = [name for name in graph.embedding if name not in images]  # the builder rejects these, which are paired
    graph.problems += missing_names(named, {*known, *graph.heads} - {*images}, path)
    read = {name for reads in (*graph.reads.values(), *graph.head_reads.values()) for name in reads}
    graph.unread = [name for name in graph.features() if name not in read and name not in graph.embedding]
