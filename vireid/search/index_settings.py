"""What an index is built with: as given, otherwise as before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.core.config.overrides import override
from vireid.errors import MissingKey, UnknownKey
from vireid.search import zero_shot
from vireid.search.about import ABOUT, OPTIONS, read_about
from vireid.search.building import require_index_folder
from vireid.search.index import ZERO_SHOT


@dataclass(frozen=True)
class IndexSettings:
    """What an index is built with.

    Attributes:
        checkpoint: a checkpoint, or `zero-shot`.
        options: overrides of its config.
        index: config of the component that searches; None keeps that of the index.
        trust: contact the server that the config of the component names.
    """

    checkpoint: str
    options: Sequence[str]
    index: dict[str, Any] | None
    trust: bool

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of `build` for these settings; an index stores its own copy of a zero-shot network."""
        contained = self.checkpoint == zero_shot.ZERO_SHOT
        checkpoint = ZERO_SHOT if contained else str(Path(self.checkpoint).absolute())
        options = () if contained else self.options
        return {'checkpoint': checkpoint, 'options': options, 'index': self.index, 'trust': self.trust}


def settle(
    folder: Path, checkpoint: str | None, kind: str | None, options: Sequence[str], trust: bool = False
) -> IndexSettings:
    """Returns what to build an index with.

    Args:
        folder: the folder of the index; what it records is kept where nothing else is given.
        checkpoint: a checkpoint, or `zero-shot`.
        kind: type of the component that searches.
        options: `index.NAME=...`, and overrides of the config of the checkpoint.
        trust: contact the server that an existing index names; a server in an option needs no consent.

    Raises:
        VireidError: if there is no checkpoint, an option that an index cannot keep, or the folder holds something else.
    """
    require_index_folder(folder)  # before a zero-shot network is written there
    before: Mapping[str, Any] = read_about(folder) if (folder / ABOUT).exists() else {}
    checkpoint = checkpoint or before.get('checkpoint')
    if checkpoint is None:
        raise MissingKey('no checkpoint was given', todo='name one: --checkpoint FILE, or --checkpoint zero-shot')
    own = [option for option in options if option.startswith('index.')]
    others = [option for option in options if option not in own] or before.get('options', [])
    if wrong := [o for o in others if checkpoint != zero_shot.ZERO_SHOT and not o.startswith(OPTIONS)]:
        raise UnknownKey(
            f'--cfg-options {wrong[0]}', allowed=f'index.NAME=..., {", ".join(f"{o}..." for o in OPTIONS)}'
        )
    checkpoint = zero_shot.ZERO_SHOT if checkpoint == ZERO_SHOT else checkpoint
    config: dict[str, Any] = {'index': None}
    if kind or own:
        config = {'index': {'type': kind} if kind else dict(before.get('index', {'type': 'Exact'}))}
    for option in own:
        override(config, option)
    return IndexSettings(checkpoint, others, config['index'], trust or any('://' in option for option in own))
