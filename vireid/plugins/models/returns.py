"""What the parts of a model, and a model, have to return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vireid.core.errors import VireidError
from vireid.core.registry.contracts import GUIDE, described
from vireid.core.types import MODALITIES, Batch, FeatureSpec, HeadOutput


def require_feature(value: Any, spec: FeatureSpec, name: str, where: str) -> None:
    """Raises unless what a backbone or neck returned is the feature `name` as it was declared."""
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
        )


def require_head_outputs(made: Any, names: Iterable[str], where: str) -> None:
    """Raises unless a head returned a `HeadOutput`, or one for each of `names`."""
    if isinstance(made, HeadOutput):
        return
    lacking = [n for n in names if not isinstance(made, Mapping) or not isinstance(made.get(n), HeadOutput)]
    if lacking:
        raise VireidError(
            f'{where}: the head returned {described(made)}',
            allowed=f'a HeadOutput, or a dict of them with {", ".join(map(repr, lacking))}',
            todo=GUIDE,
        )


def require_translated(batch: Any, given: Batch, translator: Any, where: str) -> None:
    """Raises unless a translator made of a batch the modalities that it declares, with their channels."""
    found = {m: images.shape[1] for m, images in batch.images.items()} if isinstance(batch, Batch) else None
    declared, whole = dict(translator.modalities), set(MODALITIES) <= set(given.images)  # of fewer it may make less
    wrong = found is None or not found.items() <= declared.items() or (whole and found != declared)
    if wrong or any(len(images) != len(batch.identities.get(m, ())) for m, images in batch.images.items()):
        raise VireidError(
            f'{where}: it returned {described(batch) if found is None else f"images with channels {found}"}',
            allowed=f'a Batch with the channels {dict(translator.modalities)}, as declared, and an identity for each',
            todo=GUIDE,
        )


def require_scalar(value: Any, what: str, where: str) -> None:
    """Raises unless a loss is one number that a gradient can start from."""
    if getattr(value, 'ndim', None) != 0 or not hasattr(value, 'requires_grad'):
        raise VireidError(f'{where}: {what} is {described(value)}', allowed='a tensor of one number, ()', todo=GUIDE)


def require_tasks(made: Any, model: Any) -> None:
    """Raises unless a model's `forward` returned losses by name."""
    where = f'model: forward of {type(model).__name__}'
    if not isinstance(made, Mapping) or not made:
        raise VireidError(f'{where} returned {described(made)}', allowed='a dict of losses by task name', todo=GUIDE)
    for name, loss in made.items():
        require_scalar(loss, f'the loss {name!r}', where)
    if not any(loss.requires_grad for loss in made.values()):
        raise VireidError(f'{where} returned losses without a gradient', todo='do not detach what is trained')
