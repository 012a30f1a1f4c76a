"""Selects the precision of a run, in particular for `training.precision='auto'`."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vireid.core.config.settings import TrainingSettings

AUTO, BF16, FLOAT32 = 'auto', 'bf16-mixed', '32-true'


@dataclass(frozen=True)
class Precision:
    """The precision of a run.

    Attributes:
        name: name in lightning-fabric; never `auto`.
        reason: short explanation of the selection.
        warning: warning to show before the run; empty if there is none.
        tentative: whether it was selected for speed and must still be tested for correctness; see `bf16_check.py`.
    """

    name: str
    reason: str
    warning: str = ''
    tentative: bool = False


def choose(settings: TrainingSettings, kept: Precision | None = None, source: object = None) -> Precision:
    """Returns the precision of a run; `auto` is bf16 on hardware with native support, else float32.

    `auto` is resolved once: a resumed run keeps the precision of its checkpoint.

    Args:
        settings: the `training` section of the config.
        kept: the precision of the checkpoint to resume from, if any.
        source: that checkpoint, for the warning.
    """
    native, hardware = native_bf16(settings.accelerator)
    name: str = settings.precision
    reason, warning = 'the default' if name == TrainingSettings.precision else 'set by the config', ''
    tentative = name == AUTO and kept is None and native
    if name == AUTO:
        here = BF16 if native else FLOAT32
        name, reason = (here, f'auto: {hardware}') if kept is None else (kept.name, kept.reason)
        if name != here:
            warning = f'{source} was trained in {name} and resumes in it; a new run would use {here}: {hardware}. '
    elif kept is not None and name == kept.name:
        reason = kept.reason  # the config.yaml of a run contains the resolved precision
    if name == BF16 and not native:
        warning += f'precision is {BF16}, but {hardware}: a step may take ten times as long as in {FLOAT32}'
    return Precision(name, reason, warning.strip(), tentative)


def of_checkpoint(content: Mapping[str, Any] | None) -> Precision | None:
    """Returns the precision that a checkpoint was trained in; None if there is no checkpoint."""
    if content is None:
        return None
    name = content['config'].get('training', {}).get('precision', TrainingSettings.precision)
    return Precision(name, content.get('precision_reason', 'kept from the checkpoint'))


def native_bf16(accelerator: str) -> tuple[bool, str]:
    """Returns whether the hardware of an accelerator supports bfloat16 natively, and a short description."""
    if accelerator != 'cpu' and torch.cuda.is_available():
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        return has, f'{torch.cuda.get_device_name()} has {"" if has else "no "}bf16'
    if accelerator in ('auto', 'gpu', 'mps') and torch.backends.mps.is_available():
        return False, 'bf16 is untested on Apple GPUs'
    has = _processor_has_bf16()
    return has, f'this processor has {"" if has else "no "}bf16'


def _processor_has_bf16() -> bool:
    """Returns whether the processor multiplies bf16 and oneDNN uses it, which ONEDNN_MAX_CPU_ISA may prevent.

    oneDNN reports support on every processor with AVX-512, but emulates bf16 on those without native support.
    """
    if os.environ.get('ONEDNN_MAX_CPU_ISA', '').upper() in ('AVX512_CORE', 'AVX512_CORE_VNNI'):
        return False  # AVX-512 without bf16
    supported: Any = getattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', None)
    if supported is None or not torch.backends.mkldnn.is_available() or not supported():
        return False
    if platform.machine().lower() not in ('x86_64', 'amd64'):
        return True
    return any(getattr(torch.cpu, name, bool)() for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'))
