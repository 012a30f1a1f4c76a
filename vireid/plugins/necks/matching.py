"""What fusion necks demand of their inputs, and how they say so."""

from __future__ import annotations

from collections.abc import Sequence

from vireid.core.errors import VireidError
from vireid.core.types import FeatureSpec


def describe(inputs: Sequence[FeatureSpec]) -> str:
    """Lists features for a message: `vector of 1024, map of 512 (18x9)`."""
    return ', '.join(
        f'{spec.kind} of {spec.channels}' + (f' ({spec.size[0]}x{spec.size[1]})' if spec.size else '')
        for spec in inputs
    )


def require_one(name: str, inputs: Sequence[FeatureSpec]) -> Sequence[FeatureSpec]:
    """Returns the inputs, or raises unless there is one."""
    if len(inputs) != 1:
        raise VireidError(f'{name} reads one feature and was given {len(inputs)}', todo='name one, or fuse them first')
    return inputs


def common_size(name: str, inputs: Sequence[FeatureSpec]) -> tuple[int, int] | None:
    """Returns the size of the maps, as far as any is known, or raises if two known ones differ."""
    known = {spec.size for spec in inputs if spec.size is not None}
    if len(known) > 1:
        raise VireidError(
            f'{name} was given maps of different sizes: {describe(inputs)}',
            todo='make vectors of them first, e.g. with StageEmbedding',
        )
    return known.pop() if known else None


def require_one_kind(name: str, inputs: Sequence[FeatureSpec]) -> None:
    """Raises unless there are two or more inputs, all vectors or all maps."""
    if len(inputs) < 2:
        raise VireidError(f'{name} fuses two or more features and was given {len(inputs)}', todo='name more inputs')
    if len({spec.kind for spec in inputs}) > 1:
        raise VireidError(
            f'{name} fuses features of one kind and was given: {describe(inputs)}',
            todo='make vectors of the maps first, e.g. with StageEmbedding',
        )


def require_equal(name: str, inputs: Sequence[FeatureSpec]) -> None:
    """Raises unless there are two or more inputs of one shape."""
    require_one_kind(name, inputs)
    common_size(name, inputs)
    if len({spec.channels for spec in inputs}) > 1:
        raise VireidError(
            f'{name} fuses features of one length and was given: {describe(inputs)}',
            todo='bring them to one length first, e.g. with StageEmbedding',
        )


def require_vectors(name: str, inputs: Sequence[FeatureSpec]) -> None:
    """Raises unless there are two or more vectors of one length."""
    require_equal(name, inputs)
    if inputs[0].kind != 'vector':
        raise VireidError(
            f'{name} fuses vectors and was given: {describe(inputs)}',
            todo='make vectors of the maps first, e.g. with StageEmbedding',
        )
