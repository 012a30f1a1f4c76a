"""What a component has to offer, by kind: asked when it is built, and of what it returns.

docs/plugins.md states the same in words. What is missing or wrong is an error with the component's path in the config.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vireid.core.errors import VireidError
from vireid.core.interfaces import INTERFACES, Head, Model
from vireid.core.wording import counted

GUIDE = 'give it that; docs/plugins.md and docs/architecture.md of vireid say what each kind has to offer'


def require_offers(kind: str, built: Any, name: str, where: str) -> None:
    """Raises unless a component has what its kind promises.

    Args:
        kind: one of the registry's kinds.
        built: the component.
        name: what the config calls it.
        where: its path in the config.
    """
    interface = INTERFACES[kind]
    if interface.module:
        from torch import nn

        if not isinstance(built, nn.Module):
            raise VireidError(
                f'{where}: {name} makes a {type(built).__name__}', allowed='a torch.nn.Module', todo=GUIDE, path=where
            )
    if interface is Head and Head.train_only(built):
        return
    for attribute, (words, fits) in interface.required().items():
        value = getattr(built, attribute, None)
        if not fits(value):
            lacks = f'is {value!r}' if value is not None else 'is missing'
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
    if Model.task_names(model) == [] or Model.task_names(model) == ():
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
    weighter = Model.weighter(model)
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
    tell = Model.config_path(model)
    return '' if not found else f'model.{tell(found)}' if tell is not None else 'model'
