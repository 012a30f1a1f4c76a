"""The pydantic schema of a checkpoint: a file from outside can contain anything."""

from __future__ import annotations

from typing import Annotated, Required

import torch
from annotated_types import Len
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    InstanceOf,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
)
from typing_extensions import TypedDict


class _Place(TypedDict, total=False):
    step: NonNegativeInt
    steps_per_epoch: PositiveInt


class _Images(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    size: tuple[PositiveInt, PositiveInt] | Annotated[list[PositiveInt], Len(2, 2)]


class _Config(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    dataset: dict
    protocol: dict
    images: _Images
    sampler: dict
    model: dict
    step: dict
    losses: dict
    training: dict
    evaluation: dict
    loggers: list
    plugins: list[str]
    name: str


def _are_numbers(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype != torch.int64 or tensor.dim() != 1:
        raise ValueError('it is not a list of integers')
    return tensor


def _is_best(best: dict[str, int | float]) -> dict[str, int | float]:
    if best and (type(best.get('step')) is not int or type(best.get('value')) is not float):
        raise ValueError('it does not say which step is best')
    return best


_Positive = Annotated[FiniteFloat, Field(gt=0)]


class _Side(TypedDict):
    __pydantic_config__ = ConfigDict(extra='forbid', strict=True)  # type: ignore[misc]
    slope: _Positive
    offset: FiniteFloat
    growth: FiniteFloat
    images: _Positive
    place: FiniteFloat
    scale: Annotated[FiniteFloat, Field(ge=0)]


class _Calibration(TypedDict):
    __pydantic_config__ = ConfigDict(extra='forbid', strict=True)  # type: ignore[misc]
    people: PositiveInt
    visible: _Side
    infrared: _Side


CALIBRATION = TypeAdapter(_Calibration)


class _Content(TypedDict, total=False):
    """The content of a checkpoint; earlier versions lack some keys."""

    __pydantic_config__ = ConfigDict(extra='allow', strict=True)  # type: ignore[misc]
    format: int
    model: Required[dict[str, InstanceOf[torch.Tensor]]]
    config: Required[_Config]
    step: dict
    progress: _Place
    processes: PositiveInt
    num_identities: Annotated[int, Field(gt=0, lt=2**31)]
    identities: list[str]
    data: str
    split: str
    chosen: str | None
    precision_reason: str
    trained_on: Annotated[InstanceOf[torch.Tensor], AfterValidator(_are_numbers)]
    trained_contents: Annotated[InstanceOf[torch.Tensor], AfterValidator(_are_numbers)]
    images_digest: int
    unreadable: list[str]
    skipped: list[int]
    fitted_step: int | None
    versions: dict[str, str]
    best: Annotated[dict[str, int | float], AfterValidator(_is_best)]
    adapted: dict
    before_adapting: dict[str, InstanceOf[torch.Tensor]]
    converted: dict
    similarity: dict
    calibration: _Calibration | None


SCHEMA = TypeAdapter(_Content)
