"""What a component has to offer, by kind: asked when it is built, and of what it returns.

docs/plugins.md states the same in words. What is missing or wrong is an error with the component's path in the config.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vireid.core.errors import VireidError
from vireid.core.types import FeatureSpec
from vireid.core.wording import counted

MODULES = ('models', 'translators', 'backbones', 'necks', 'heads', 'poolings', 'losses', 'weighters')  # torch modules
GUIDE = 'give it that; docs/plugins.md and docs/architecture.md of vireid say what each kind has to offer'
Test = Callable[[Any], bool]


def _specs(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(v, FeatureSpec) for v in value.values())


def _channels(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(type(count) is int for count in value.values())


def _text(value: Any) -> bool:
    return isinstance(value, str)


# kind -> attribute -> (what it is, in words; how that is recognised)
OFFERS: dict[str, dict[str, tuple[str, Test]]] = {
    'models': {'embed': ('a method (images, modality) -> (B, D)', callable)},
    'translators': {'modalities': ('a dict of channels by modality', _channels)},
    'backbones': {'outputs': ('a dict of FeatureSpec by feature name', _specs)},
    'necks': {'output': ('a FeatureSpec', lambda value: isinstance(value, FeatureSpec))},
    'heads': {
        'embed': ('a method (*features) -> (B, D)', callable),
        'embedding_dim': ('the length D of its embedding', lambda value: isinstance(value, int)),
    },
    'datasets': {'split': ('a method (name) -> samples', callable)},
    'protocols': {'name': ('a string', _text), 'trials': ('a method (dataset) -> trials', callable)},
    'similarities': {'name': ('a string', _text), 'similarity': ('a method (query, gallery) -> function', callable)},
    'rerankers': {'name': ('a string', _text), 'similarity': ('a method (query, gallery) -> function', callable)},
    'samplers': {
        '__len__': ('a method () -> batches of an epoch', callable),
        'batches': ('a method (epoch) -> batches of indices', callable),
    },
    'steps': {
        '__call__': ('a method (batch, progress) -> record', callable),
        'state_dict': ('a method () -> dict of tensors and plain values', callable),
        'load_state_dict': ('a method (state) that restores them', callable),
    },
}


def require_offers(kind: str, built: Any, name: str, where: str) -> None:
    """Raises unless a component has what its kind promises.

    Args:
        kind: one of the registry's kinds.
        built: the component.
        name: what the config calls it.
        where: its path in the config.
    """
    if kind in MODULES:
        from torch import nn

        if not isinstance(built, nn.Module):
            raise VireidError(
                f'{where}: {name} makes a {type(built).__name__}', allowed='a torch.nn.Module', todo=GUIDE, path=where
            )
    offers = {} if kind == 'heads' and getattr(built, 'train_only', False) else OFFERS.get(kind, {})
    for attribute, (words, fits) in offers.items():
        value = getattr(built, attribute, None)
        if not fits(value):
            lacks = f'is {value!r}' if hasattr(built, attribute) else 'is missing'
            raise VireidError(f'{where}: {attribute} of {name} {lacks}', allowed=words, todo=GUIDE, path=where)


def require_trainable(model: Any) -> None:
    """Raises unless a model has what a step needs: parameters, a `forward`, and a weighter that is a module, if any."""
    from torch import nn

    name = type(model).__name__
    if not any(p.requires_grad for p in model.parameters()):
        raise VireidError(
            f'model: {name} has no parameters that could be trained',
            todo='score it as it is: vireid test CONFIG',
            path='model',
        )
    if not getattr(model, 'task_names', True):
        raise VireidError(
            f'model: {name} has no losses, so nothing trains it',
            todo="give at least one head with losses; or score it as it is: training.freeze=['*'], vireid test CONFIG",
            path='model',
        )
    if type(model).forward is nn.Module.forward:
        raise VireidError(
            f'model: forward of {name} is missing',
            allowed='a method (batch) -> dict of losses by task',
            todo=GUIDE,
            path='model',
        )
    weighter = getattr(model, 'weighter', None)
    if weighter is not None and not isinstance(weighter, nn.Module):
        raise VireidError(
            f'model: weighter of {name} is a {type(weighter).__name__}',
            allowed='a torch.nn.Module, or None',
            todo=GUIDE,
            path='model',
        )


def require_record(record: Any, name: str) -> None:
    """Raises unless a step told its loss, and whatever else it tells is of the right sort."""
    if not isinstance(record, Mapping) or 'loss' not in record:
        raise VireidError(
            f'step: {name} returned {described(record)}',
            allowed="a dict with 'loss', a float; it may have 'tasks' and 'weights', floats by task, 'curves' and 'lr'",
            todo=GUIDE,
            path='step',
        )
    for key in ('loss', 'lr', 'gradient'):
        if key in record and not _is_number(record[key]):
            raise VireidError(
                f'step: {key!r} in the record of {name} is {described(record[key])}',
                allowed='a float',
                todo=GUIDE,
                path='step',
            )
    curves = record.get('curves', {})
    groups = {key: record.get(key, {}) for key in ('tasks', 'weights')}
    groups |= curves if isinstance(curves, Mapping) else {'curves': curves}
    for key, group in groups.items():
        if not isinstance(group, Mapping) or not all(map(_is_number, group.values())):
            raise VireidError(
                f'step: {key!r} in the record of {name} is {group!r}',
                allowed='a dict of floats by task',
                todo=GUIDE,
                path='step',
            )


def require_embedding(made: Any, count: int, model: Any) -> None:
    """Raises unless `embed` returned a vector for each image."""
    if getattr(made, 'ndim', 0) != 2 or made.shape[0] != count:
        raise VireidError(
            f'model: embed of {type(model).__name__} returned {described(made)} for {counted(count, "image")}',
            allowed='a tensor (B, D) with a row for each image',
            todo=GUIDE,
            path='model',
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def described(value: Any) -> str:
    """Says what a value is: its type, and its shape or keys."""
    if isinstance(value, Mapping):
        return f'a dict of {", ".join(map(repr, value)) or "nothing"}'
    shape = getattr(value, 'shape', None)
    if shape is not None:
        return f'a {type(value).__name__} {tuple(shape)}'
    return repr(value) if isinstance(value, (str, int, float, type(None))) else f'a {type(value).__name__}'


@contextmanager
def located(model: Any) -> Iterator[None]:
    """Says of an error that a part of the model raises where in the config that part stands."""
    try:
        yield
    except Exception as error:
        path = _path(error, model)
        if not path or (isinstance(error, VireidError) and (error.path or type(error) is not VireidError)):
            raise
        if isinstance(error, VireidError):
            raise error.at(path) from error
        error.add_note(f'raised by {path} of the config')
        raise


def _path(error: Exception, model: Any) -> str:
    """Returns the path of the innermost part of the model that an error passed through; empty if it is no part's."""
    names = {id(module): name for name, module in getattr(model, 'named_modules', tuple)()}
    found = ''
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = names.get(id(frame.f_locals.get('self')), '') or found
    tell = getattr(model, 'config_path', None)
    return '' if not found else f'model.{tell(found)}' if tell is not None else 'model'
