"""Checks of the values that a model and its components return."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from vireid.console.wording import counted
from vireid.core.registry.contracts import GUIDE, described
from vireid.core.types import MODALITIES, Batch, FeatureSpec, HeadOutput, Modality
from vireid.errors import Mismatch


def require_feature(value: Any, spec: FeatureSpec, name: str, counts: Mapping[Modality, int], where: str) -> None:
    """Checks a feature that a backbone, neck or translator returned.

    Args:
        value: the feature.
        spec: its declared kind, layout, channels and copies.
        name: its name.
        counts: images per modality.
        where: config path of the component.

    Raises:
        Mismatch: if the feature does not match its declaration.
    """
    several = isinstance(value, Mapping)
    dims = 4 if spec.kind == 'map' else 2
    tensors = dict(value) if several else {'': value}
    rows = (
        {m: spec.copies * counts[m] for m in tensors if m in counts}
        if several
        else {'': spec.copies * sum(counts.values())}
    )
    if (
        several != (spec.layout == 'paired')
        or any(not isinstance(t, Tensor) or t.ndim != dims or t.shape[1] != spec.channels for t in tensors.values())
        or any(tensor.shape[0] != rows.get(m) for m, tensor in tensors.items())
    ):
        shape, paired = '(B, C, H, W)' if dims == 4 else '(B, C)', spec.layout == 'paired'
        given = ', '.join(f'{m} {described(tensor)}' for m, tensor in tensors.items()) if several else described(value)
        expected = (
            ', '.join(f'{m} {n}' for m, n in counts.items()) if spec.layout == 'paired' else str(sum(counts.values()))
        )
        raise Mismatch(
            f'feature {name!r} is {given}',
            allowed=f'as declared: {"a dict by modality of " if paired else ""}{shape} with {spec.channels} '
            f'channels and {counted(spec.copies, "row")} per image ({expected})',
            todo=GUIDE,
        ).at(where)


def require_head_outputs(outputs: Any, names: Collection[str], rows: int | None, where: str) -> None:
    """Checks the outputs of a head.

    Args:
        outputs: the value that the head returned.
        names: outputs that the losses read.
        rows: number of rows of the features and logits; None means any.
        where: config path of the head.

    Raises:
        Mismatch: unless `outputs` is a `HeadOutput`, or has one for each of `names`, with this number of rows.
    """
    several = outputs if isinstance(outputs, Mapping) else dict.fromkeys(names, outputs)
    missing = [name for name in names if not isinstance(several.get(name), HeadOutput)]
    if missing:
        raise Mismatch(
            f'the head returned {described(outputs)}',
            allowed=f'a HeadOutput, or a dict of them with {", ".join(map(repr, missing))}',
            todo=GUIDE,
        ).at(where)
    if rows is None:
        return
    for name in names:
        for part in ('feature', 'logits'):
            value = getattr(several[name], part)
            if value is not None and value.shape[:1] != (rows,):
                raise Mismatch(
                    f'{part} of the output {name!r} is {described(value)} for {counted(rows, "row")}',
                    allowed=f'one row per row of the inputs: ({rows}, ...)',
                    todo=GUIDE,
                ).at(where)


def require_translated(batch: Any, given: Batch, translator: Any, where: str) -> None:
    """Checks the batch that a translator returned.

    Args:
        batch: the value that the translator returned.
        given: the batch that it received.
        translator: the translator.
        where: its config path.

    Raises:
        Mismatch: unless the batch has the modalities and channels that the translator declares.
    """
    channels = {m: images.shape[1] for m, images in batch.images.items()} if isinstance(batch, Batch) else None
    # a batch without one of the modalities may lack modalities in the output too
    declared, whole = dict(translator.modalities), set(MODALITIES) <= set(given.images)
    wrong = channels is None or not channels.items() <= declared.items() or (whole and channels != declared)
    if wrong or any(len(images) != len(batch.identities.get(m, ())) for m, images in batch.images.items()):
        raise Mismatch(
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
        Mismatch: if it is not.
    """
    if not isinstance(value, Tensor) or value.ndim:
        todo = 'average it, for example with .mean()' if isinstance(value, Tensor) else GUIDE
        raise Mismatch(f'{what} is {described(value)}', allowed='a tensor of one number, ()', todo=todo).at(where)


def require_tasks(losses: Any, model: Any) -> None:
    """Checks the losses that `forward` of a model returned.

    Raises:
        Mismatch: unless they are a dict of scalars, at least one with a gradient.
    """
    where = f'model: forward of {type(model).__name__}'
    if not isinstance(losses, Mapping) or not losses:
        raise Mismatch(
            f'{where} returned {described(losses)}', allowed='a dict of losses by task name', todo=GUIDE, path=where
        )
    for name, loss in losses.items():
        require_scalar(loss, f'the loss {name!r}', where)
    if not any(loss.requires_grad for loss in losses.values()):
        raise Mismatch(
            f'{where} returned losses without a gradient', todo='do not detach the trained tensors', path=where
        )
