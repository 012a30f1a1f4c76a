"""Checks of the values that a model and its components return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vireid.core.errors import VireidError
from vireid.core.registry.contracts import GUIDE, described
from vireid.core.types import MODALITIES, Batch, FeatureSpec, HeadOutput


def require_feature(value: Any, spec: FeatureSpec, name: str, where: str) -> None:
    """Checks a feature that a backbone or neck returned.

    Args:
        value: the feature.
        spec: its declared kind, layout and channels.
        name: its name.
        where: config path of the component.

    Raises:
        VireidError: if the feature does not match its declaration.
    """
    several = isinstance(value, Mapping)
    tensors = list(value.values()) if several else [value]
    dims = 4 if spec.kind == 'map' else 2
    if several != (spec.layout == 'paired') or any(
        getattr(tensor, 'ndim', 0) != dims or tensor.shape[1] != spec.channels for tensor in tensors
    ):
        shape = '(B, C, H, W)' if dims == 4 else '(B, C)'
        raise VireidError(
            f'{where}: feature {name!r} is {described(value)}',
            allowed=f'as declared: {"a dict by modality of " if spec.layout == "paired" else ""}{shape} with '
            f'{spec.channels} channels',
            todo=GUIDE,
            path=where,
        )


def require_head_outputs(outputs: Any, names: Iterable[str], where: str) -> None:
    """Checks the outputs of a head.

    Args:
        outputs: the value that the head returned.
        names: outputs that the losses read.
        where: config path of the head.

    Raises:
        VireidError: unless `outputs` is a `HeadOutput`, or has one for each of `names`.
    """
    if isinstance(outputs, HeadOutput):
        return
    missing = [n for n in names if not isinstance(outputs, Mapping) or not isinstance(outputs.get(n), HeadOutput)]
    if missing:
        raise VireidError(
            f'{where}: the head returned {described(outputs)}',
            allowed=f'a HeadOutput, or a dict of them with {", ".join(map(repr, missing))}',
            todo=GUIDE,
            path=where,
        )


def require_translated(batch: Any, given: Batch, translator: Any, where: str) -> None:
    """Checks the batch that a translator returned.

    Args:
        batch: the value that the translator returned.
        given: the batch that it received.
        translator: the translator.
        where: its config path.

    Raises:
        VireidError: unless the batch has the modalities and channels that the translator declares.
    """
    channels = {m: images.shape[1] for m, images in batch.images.items()} if isinstance(batch, Batch) else None
    # a batch without one of the modalities may lack modalities in the output too
    declared, whole = dict(translator.modalities), set(MODALITIES) <= set(given.images)
    wrong = channels is None or not channels.items() <= declared.items() or (whole and channels != declared)
    if wrong or any(len(images) != len(batch.identities.get(m, ())) for m, images in batch.images.items()):
        raise VireidError(
            f'{where} returned {described(batch) if channels is None else f"images with channels {channels}"}',
            allowed=f'a Batch with the declared channels, {dict(translator.modalities)}, and an identity per image',
            todo=GUIDE,
            path=where,
        )


def require_scalar(value: Any, what: str, where: str) -> None:
    """Checks that a loss is a scalar tensor.

    Args:
        value: the loss.
        what: its description, for the message.
        where: config path of the component that returned it.

    Raises:
        VireidError: if it is not.
    """
    if getattr(value, 'ndim', None) != 0 or not hasattr(value, 'requires_grad'):
        raise VireidError(
            f'{where}: {what} is {described(value)}', allowed='a tensor of one number, ()', todo=GUIDE, path=where
        )


def require_tasks(losses: Any, model: Any) -> None:
    """Checks the losses that `forward` of a model returned.

    Raises:
        VireidError: unless they are a dict of scalars, at least one with a gradient.
    """
    where = f'model: forward of {type(model).__name__}'
    if not isinstance(losses, Mapping) or not losses:
        raise VireidError(
            f'{where} returned {described(losses)}', allowed='a dict of losses by task name', todo=GUIDE, path=where
        )
    for name, loss in losses.items():
        require_scalar(loss, f'the loss {name!r}', where)
    if not any(loss.requires_grad for loss in losses.values()):
        raise VireidError(
            f'{where} returned losses without a gradient', todo='do not detach the trained tensors', path=where
        )
