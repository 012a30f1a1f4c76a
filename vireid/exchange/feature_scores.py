"""Scores saved features: by which protocol and re-ranking, and what is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vireid.boundary.showing import one_line
from vireid.core.config.overrides import override
from vireid.core.registry.components import Components
from vireid.core.scoring import results
from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.results import Results
from vireid.errors import Conflict, MissingKey, UnknownKey, WrongValue, did_you_mean
from vireid.exchange import features, matlab_features
from vireid.exchange.features import SavedFeatures
from vireid.exchange.matlab_features import MatlabFeatures
from vireid.launch.work_dir import require_own_folder


def load(path: Path, name: str | None = None, root: str | None = None) -> SavedFeatures:
    """Reads a file of features, or a folder of MATLAB files.

    Args:
        path: the file or folder.
        name: the common part of the names of the MATLAB files.
        root: the folder of the dataset, in place of the recorded one.

    Raises:
        VireidError: if it cannot be read.
    """
    if path.is_dir():
        return matlab_features.load(path, name, root)
    if name:
        raise Conflict(f'--name {name}: {path} is not a folder', todo='remove --name')
    saved = features.load(path)
    if root:
        saved.root = root
    return saved


def score_config(
    saved: SavedFeatures, protocol: str | None, rerank: Mapping[str, Any] | None, options: Sequence[str]
) -> dict[str, Any]:
    """Returns the sections `protocol` and `evaluation`.

    Args:
        saved: the features; their own protocol is used by default.
        protocol: name of another protocol.
        rerank: config of the re-ranking; None for no re-ranking.
        options: overrides of these sections.

    Raises:
        VireidError: for an option that has no effect.
    """
    own = saved.about['protocol']
    config: dict[str, Any] = {
        'protocol': {'type': protocol} if protocol not in (None, own.get('type')) else own,
        'evaluation': {'rerank': dict(rerank) if rerank else None, 'ties': 'mean'},
    }
    for option in options:
        section = option.partition('=')[0].split('.')[0].strip()
        if section not in config:
            raise UnknownKey(
                f'option {option!r}: unknown section {section!r}{did_you_mean(section, config)}',
                allowed=', '.join(f'{key}...' for key in config),
            )
        if option.startswith('evaluation.rerank.') and not rerank:
            raise MissingKey(f'option {option!r} has no effect without re-ranking', todo='add --rerank')
        override(config, option)
    evaluation = config['evaluation']
    if not isinstance(evaluation, dict):
        raise WrongValue(f'evaluation is {evaluation!r}', allowed='a dict, such as dict(rerank=...)')
    unknown = set(evaluation) - {'rerank', 'ties'}
    if unknown:
        raise UnknownKey(
            f'evaluation.{min(unknown)} has no effect: the embeddings are already computed',
            allowed='evaluation.rerank, evaluation.ties',
        )
    return config


class FeatureScorer:
    """Scores features by a config.

    Args:
        saved: the features.
        config: the config, from `score_config`.
        components: the components that it names.

    Raises:
        VireidError: if a component cannot be built.
    """

    def __init__(self, saved: SavedFeatures, config: Mapping[str, Any], components: Components) -> None:
        self.saved, self.config, self.components = saved, config, components
        self.protocol = components.build('protocols', config['protocol'], where='protocol')
        rerank = config['evaluation'].get('rerank')
        self.reranker = components.build('rerankers', rerank, where='evaluation.rerank') if rerank else None

    def export_matlab(self, folder: Path) -> str:
        """Writes the features for SYSU-MM01's official MATLAB code; returns what to set there.

        Raises:
            VireidError: if they are not of SYSU-MM01's cameras, or come from such files.
        """
        # these files hold only images of SYSU-MM01's cameras; its protocol raises for others
        self.components.build('protocols', {'type': 'sysu/agw', 'trials': 1}, where='--matlab').trials(self.saved)
        matlab_features.export(self.saved, folder)
        name = matlab_features.NAME
        return f'written to {folder}; set feature_info.dir to this folder and feature_info.name to {name!r}'

    def notes(self) -> list[str]:
        """Returns what to know about the features, one line per fact.

        Raises:
            VireidError: if the protocol needs a permutation that MATLAB files lack.
        """
        if not isinstance(self.saved, MatlabFeatures):
            return []
        protocol = self.config['protocol']
        self.saved.require_permutation(protocol)
        drawn = [f'permutation: {protocol["permutation"]}'] if protocol.get('permutation') else []
        return [*self.saved.notes, *drawn]

    def score(self, on_progress: Callable[[int, int], None]) -> Results:
        """Scores every trial.

        Args:
            on_progress: called with (done, total) trials.

        Raises:
            VireidError: if the features lack what the protocol needs.
        """
        saved = self.saved
        similarity: Any = saved.similarity if isinstance(saved, MatlabFeatures) else None
        return score_trials(
            saved.embeddings,
            self.protocol.name,
            self.protocol.trials(saved),
            similarity=similarity,
            reranker=self.reranker,
            ties=self.config['evaluation'].get('ties', 'mean'),
            weights=saved.about.get('weights', ''),
            data=saved.about.get('data', ''),
            on_progress=on_progress,
        )

    def text(self, scored: Results, source: Path) -> str:
        """Returns the result table and its caption; `source` is the file of the features."""
        parts = [self.saved.about.get('experiment'), self.saved.split_name, scored.caption()]
        about = ', '.join(filter(None, parts))
        return f'{one_line(about or str(source))}, in percent:\n{scored.table()}'


def write_result(folder: Path, scored: Results, source: Path) -> Path:
    """Writes `result.json` and the queries.

    Args:
        folder: the folder.
        scored: what was scored.
        source: the file of the features.

    Returns:
        The path of `result.json`.

    Raises:
        VireidError: if the folder contains something else.
    """
    require_own_folder(folder)
    results.write(folder, {**scored.to_dict(), 'features': str(source.absolute())}, scored.queries())
    return folder / results.FILE
