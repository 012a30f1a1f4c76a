"""Checks components against the interface of their kind, and the values that models and steps return.

The interfaces are in `interfaces.py`. Errors carry the component's path in the config.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vireid.console.wording import counted
from vireid.errors import Mismatch, VireidError
from vireid.interfaces import INTERFACES, Head, Model

GUIDE = 'fix the component; `python -m pydoc vireid.interfaces` shows the interface of each kind'


def require_interface(kind: str, built: Any, name: str, where: str) -> None:
    """Checks that a component implements the interface of its kind.

    Args:
        kind: one of `KINDS`.
        built: the component.
        name: its registered name.
        where: its path in the config.

    Raises:
        Mismatch: if a required member is missing or invalid.
    """
    interface = INTERFACES[kind]
    if interface.module:
        from torch import nn

        if not isinstance(built, nn.Module):
            raise _invalid(where, f'{name} is a {type(built).__name__}', 'a torch.nn.Module')
    if interface is Head and Head.train_only(built):
        return
    for attribute, (words, fits) in interface.required().items():
        value = getattr(built, attribute, None)
        if not fits(value):
            lacks = f'is {value!r}' if value is not None else 'is missing'
            raise _invalid(where, f'{attribute} of {name} {lacks}', words)


def require_trainable(model: Any) -> None:
    """Checks that a step can train a model.

    Raises:
        Mismatch: if the model has no trainable parameters, no losses or no `forward`, or its weighter is not a
            module.
    """
    from torch import nn

    name = type(model).__name__
    if not any(p.requires_grad for p in model.parameters()):
        todo = 'evaluate it without training: vireid test CONFIG'
        raise _invalid('model', f'{name} has no trainable parameters', todo=todo)
    if Model.task_names(model) == [] or Model.task_names(model) == ():
        todo = "add a head with losses; or evaluate it without training: training.freeze=['*'], vireid test CONFIG"
        raise _invalid('model', f'{name} has no losses, so it cannot be trained', todo=todo)
    if type(model).forward is nn.Module.forward:
        allowed = 'a method forward(batch) -> dict of losses by task'
        raise _invalid('model', f'forward of {name} is missing', allowed)
    weighter = Model.weighter(model)
    if weighter is not None and not isinstance(weighter, nn.Module):
        given = f'weighter of {name} is a {type(weighter).__name__}'
        raise _invalid('model', given, 'a torch.nn.Module, or None')


def _invalid(path: str, given: str, allowed: str | None = None, todo: str = GUIDE) -> VireidError:
    return Mismatch(f'{path}: {given}', allowed=allowed, todo=todo, path=path)


def require_record(record: Any, name: str) -> None:
    """Checks the record that a step returned.

    Raises:
        Mismatch: if it has no `loss`, or a value has the wrong type.
    """
    if not isinstance(record, Mapping) or 'loss' not in record:
        allowed = "a dict with 'loss', a float; optionally 'tasks' and 'weights', floats by task, 'curves' and 'lr'"
        raise _invalid('step', f'{name} returned {described(record)}', allowed)
    for key, (fits, allowed) in RECORD.items():
        if key in record and not fits(record[key]):
            raise _invalid('step', f'{key!r} in the record of {name} is {described(record[key])}', allowed)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_by_task(value: Any, check: Callable[[Any], bool] = _is_number) -> bool:
    return isinstance(value, Mapping) and all(map(check, value.values()))


# what a step returns, besides values of its own: a check and a description of each; only the loss is required
RECORD: dict[str, tuple[Callable[[Any], bool], str]] = {
    'loss': (_is_number, 'a float'), 'lr': (_is_number, 'a float'), 'gradient': (_is_number, 'a float'),
    'turn': (lambda value: isinstance(value, str), 'a string'), 'tasks': (_is_by_task, 'a dict of floats by task'),
    'weights': (_is_by_task, 'a dict of floats by task'),
    'curves': (lambda value: _is_by_task(value, _is_by_task), 'dicts of floats by task, by title'),
}  # fmt: skip


def require_embedding(embedding: Any, count: int, model: Any) -> None:
    """Checks that `embed` returned one vector per image.

    Args:
        embedding: what it returned.
        count: number of images.
        model: the model.

    Raises:
        Mismatch: if it did not.
    """
    if getattr(embedding, 'ndim', 0) != 2 or embedding.shape[0] != count:
        given = f'embed of {type(model).__name__} returned {described(embedding)} for {counted(count, "image")}'
        raise _invalid('model', given, 'a (B, D) tensor with one row per image')


def described(value: Any) -> str:
    """Describes a value for a message: its type, and its shape or keys."""
    if isinstance(value, Mapping):
        return f'a dict of {", ".join(map(repr, value)) or "nothing"}'
    shape = getattr(value, 'shape', None)
    if shape is not None:
        return f'a {type(value).__name__} {tuple(shape)}'
    return repr(value) if isinstance(value, (str, int, float, type(None))) else f'a {type(value).__name__}'


@contextmanager
def located(model: Any) -> Iterator[None]:
    """Adds to an exception raised inside the model the config path of the module that raised it.

    Raises:
        VireidError: with the path, if one without a path was raised; other exceptions get a note.
    """
    try:
        yield
    except Exception as error:
        path = _path(error, model)
        if not path or (isinstance(error, VireidError) and error.path):
            raise
        if isinstance(error, VireidError):
            raise error.at(path) from error
        error.add_note(f'raised by {path} of the config')
        raise


def _path(error: Exception, model: Any) -> str:
    """Returns the config path of the innermost module in an exception's traceback; empty if there is none."""
    names = {id(module): name for name, module in getattr(model, 'named_modules', tuple)()}
    innermost = ''
    for frame, _ in traceback.walk_tb(error.__traceback__):
        innermost = names.get(id(frame.f_locals.get('self')), '') or innermost
    config_path = Model.config_path(model)
    return '' if not innermost else f'model.{config_path(innermost)}' if config_path is not None else 'model'
