"""What an evaluation leaves to look at: small enough to lie beside its result, and complete without the images."""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vireid.core.errors import VireidError
from vireid.core.files import write_whole

FILE = 'report.npz'
FORMAT = 1


@dataclass
class Evidence:
    """All that figures and the report show of one evaluation.

    Attributes:
        about: plain values: `name`, `protocol`, `data`, `weights`, `similarity` (what ranks, empty for cosine), `rows`
            (see `Results.rows`), `trial` (of the ranking lists), `notes` (what is left out, and why), `images` (path,
            identity, camera and modality of each image shown), `identities` and `cameras` (dicts of scores), `graph`
            (`nodes` and `edges`, empty if the model tells none), `pairs` (dicts of two `images`, their `similarity`,
            and whether they are of one person, `right`) and `kinds` (of each ranking list a list of those of `best`,
            `worst` and `random` that it is one of).
        thumbs: a JPEG of each image shown; empty if it could not be read.
        cmc: by row name, (R,) share of queries with a match among the first 1..R ranks.
        distances: by `same WHERE` and `different WHERE`, WHERE being `across` or `within MODALITY`, (bins,) numbers of
            pairs; bins divide cosine distances of 0 to 2 alike.
        lists: `query` (L,), `gallery` (L, K) indices of images, -1 past the end; `similarity` (L, K); `right` (L, K)
            bool; `ap` (L,); `first` (L,) rank of the first match, from 1.
        points: `image` (N,) indices; `pca` (N, 2); `explained` (2,) shares of variance; `tsne` (N, 2) or empty.
        maps: by `cam STAGE` and `features STAGE`, (P, 2, h, w) from 0 to 1, of both images of each of `about['pairs']`.
    """

    about: dict[str, Any]
    thumbs: list[bytes] = field(default_factory=list)
    cmc: dict[str, np.ndarray] = field(default_factory=dict)
    distances: dict[str, np.ndarray] = field(default_factory=dict)
    lists: dict[str, np.ndarray] = field(default_factory=dict)
    points: dict[str, np.ndarray] = field(default_factory=dict)
    maps: dict[str, np.ndarray] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes it, whole or not at all."""
        arrays: dict[str, np.ndarray] = {'about': _bytes(json.dumps(self.about).encode())}
        arrays['thumbs'] = _bytes(b''.join(self.thumbs))
        arrays['thumb_sizes'] = np.array([len(t) for t in self.thumbs], dtype=np.int64)
        for group in _GROUPS:
            arrays.update({f'{group}/{key}': value for key, value in getattr(self, group).items()})
        packed = io.BytesIO()
        np.savez_compressed(packed, format=np.array(FORMAT), **arrays)  # type: ignore[arg-type]
        write_whole(path, packed.getvalue())

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Reads what `save` wrote; nothing in it is executed.

        Raises:
            VireidError: if it is damaged, or of another version.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                if int(found['format']) != FORMAT:
                    raise VireidError(
                        f'{path} has format {int(found["format"])}; this vireid reads {FORMAT}',
                        todo='score the checkpoint again: vireid test CONFIG CHECKPOINT',
                    )
                sizes = found['thumb_sizes']
                ends = sizes.cumsum()
                whole = found['thumbs'].tobytes()
                groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in _GROUPS}
                for key in found.files:
                    group, slash, name = key.partition('/')
                    if slash and group in groups:
                        groups[group][name] = found[key]
                thumbs = [whole[start:end] for start, end in zip(ends - sizes, ends, strict=True)]
                about = json.loads(found['about'].tobytes())
                if not isinstance(about, dict) or len(thumbs) != len(about.get('images', ())):
                    raise ValueError('its images are not those it names')
                return cls(about, thumbs, **groups)
        except VireidError:
            raise
        except Exception as error:  # a damaged archive may fail in any way
            raise VireidError(
                f'{path} is damaged: {type(error).__name__}: {error}',
                todo='score the checkpoint again: vireid test CONFIG CHECKPOINT',
            ) from error


_GROUPS = tuple(f.name for f in dataclasses.fields(Evidence) if f.name not in ('about', 'thumbs'))


def _bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, dtype=np.uint8)
