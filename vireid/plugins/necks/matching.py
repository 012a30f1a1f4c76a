"""Checks of the inputs of necks and heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from vireid.core.registry.components import BuildPart
from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch


def describe(inputs: Sequence[FeatureSpec]) -> str:
    """Formats features for a message: `vector of 1024, map of 512 (18x9)`."""
    return ', '.join(
        f'{spec.kind} of {spec.channels}' + (f' ({spec.size[0]}x{spec.size[1]})' if spec.size else '')
        for spec in inputs
    )


def one_input(
    name: str, inputs: Sequence[FeatureSpec], kind: Literal['map', 'vector'] | None = None, todo: str | None = None
) -> FeatureSpec:
    """Returns the only input.

    Args:
        name: name of the neck or head, for messages.
        inputs: specs of its inputs.
        kind: what it reads; None for either.
        todo: what to do with an input of the other kind.

    Raises:
        Mismatch: unless there is exactly one, of this kind.
    """
    if len(inputs) != 1:
        raise Mismatch(f'{name} reads one feature and got {len(inputs)}', todo='name one, or fuse them first')
    if kind not in (None, inputs[0].kind):
        raise Mismatch(f'{name} reads a {kind} and got a {describe(inputs)}', todo=todo)
    return inputs[0]


def pooled_input(
    name: str, inputs: Sequence[FeatureSpec], build_part: BuildPart, pool: str | dict | None
) -> tuple[FeatureSpec, nn.Module]:
    """Returns the only input, and the module that pools it: `nn.Identity` for a vector.

    Args:
        name: name of the neck or head, for messages.
        inputs: specs of its inputs.
        build_part: builds the pooling.
        pool: pooling of a map; None means `Average`.

    Raises:
        Mismatch: unless there is exactly one, or if `pool` is set for a vector.
    """
    spec = one_input(name, inputs)
    if spec.kind == 'map':
        return spec, build_part('poolings', pool or 'Average', 'pool')
    if pool is not None:
        raise Mismatch(f'pool is {pool!r}, but {name} reads a vector, which is not pooled', todo='remove pool')
    return spec, nn.Identity()


def require_maps(name: str, inputs: Sequence[FeatureSpec], count: int) -> Sequence[FeatureSpec]:
    """Returns the inputs.

    Args:
        name: name of the neck, for messages.
        inputs: specs of its inputs.
        count: number of maps that it reads.

    Raises:
        Mismatch: unless there are `count`, all of them maps.
    """
    if len(inputs) != count or any(spec.kind != 'map' for spec in inputs):
        expected = 'one map' if count == 1 else f'{count} maps'
        raise Mismatch(f'{name} got: {describe(inputs) or "no feature"}', allowed=expected)
    return inputs


def common_size(name: str, inputs: Sequence[FeatureSpec]) -> tuple[int, int] | None:
    """Returns the common size of the maps, or None if no size is known.

    Raises:
        Mismatch: if two known sizes differ.
    """
    known = {spec.size for spec in inputs if spec.size is not None}
    if len(known) > 1:
        raise Mismatch(
            f'{name} got maps of different sizes: {describe(inputs)}',
            todo='pool them to vectors first, e.g. with StageEmbedding',
        )
    return known.pop() if known else None


def require_one_kind(name: str, inputs: Sequence[FeatureSpec]) -> None:
    """Checks that there are two or more inputs, all vectors or all maps.

    Raises:
        Mismatch: if not.
    """
    if len(inputs) < 2:
        raise Mismatch(f'{name} fuses two or more features and got {len(inputs)}', todo='name more inputs')
    if len({spec.kind for spec in inputs}) > 1:
        raise Mismatch(
            f'{name} fuses features of the same kind and got: {describe(inputs)}',
            todo='pool the maps to vectors first, e.g. with StageEmbedding',
        )


def require_equal(name: str, inputs: Sequence[FeatureSpec]) -> None:
    """Checks that there are two or more inputs of the same shape.

    Raises:
        Mismatch: if not.
    """
    require_one_kind(name, inputs)
    common_size(name, inputs)
    if len({spec.channels for spec in inputs}) > 1:
        raise Mismatch(
            f'{name} fuses features with the same number of channels and got: {describe(inputs)}',
            todo='project them to the same number of channels first, e.g. with StageEmbedding',
        )


def require_vectors(name: str, inputs: Sequence[FeatureSpec]) -> None:
    """Checks that there are two or more vectors of the same length.

    Raises:
        Mismatch: if not.
    """
    require_equal(name, inputs)
    if inputs[0].kind != 'vector':
        raise Mismatch(
            f'{name} fuses vectors and got: {describe(inputs)}',
            todo='pool the maps to vectors first, e.g. with StageEmbedding',
        )
