"""The evidence of an evaluation for reports: small enough to store beside its result, and usable without the images."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired, Required

import numpy as np
from annotated_types import Ge, Le
from pydantic import AfterValidator, ConfigDict, FiniteFloat, NonNegativeInt, TypeAdapter
from typing_extensions import TypedDict

from vireid.boundary.malformed import BeyondLimit, Malformed
from vireid.boundary.reading import RECORD, load_arrays, reads
from vireid.boundary.showing import as_json
from vireid.boundary.writing import write_whole
from vireid.errors import UnsupportedFile
from vireid.reporting.result_file import ROWS, require_rows

FILE = 'report.npz'
FORMAT = 1
# limits of a file; `collect` keeps about 1,500 images, 60 lists of 10, 800 points, 5 pairs and maps of 128 x 64
UNPACKED = 16 * 2**20  # bytes, plus four times the size of the file
IMAGES, SCORES, LISTS, TOP, POINTS, PAIRS = 5000, 20_000, 500, 50, 5000, 1000
CURVES, HISTOGRAMS, MAPS = 100, 20, 40
BINS, SIDE = 1000, 512  # of a curve or histogram; of a map


@dataclass
class Evidence:
    """Everything that figures and the report show about one evaluation.

    Attributes:
        about: plain values: `name`, `protocol`, `data`, `weights`, `similarity` (what ranks, empty for cosine), `rows`
            (see `Results.rows`), `trial` (of the ranking lists), `notes` (what is missing, and why), `images` (path,
            identity, camera and modality of each image shown), `identities` and `cameras` (dicts of scores), `graph`
            (`nodes` and `edges`, empty if the model does not describe its wiring), `pairs` (dicts of two `images`,
            their `similarity`, and whether they show the same identity, `right`), `names` (the user's name of an
            identity, by its number as text, where the two differ) and `kinds` (for each ranking list, a subset of
            `best`, `worst` and `random`).
        thumbs: a JPEG of each image shown; empty if it could not be read.
        cmc: by row name, (R,) share of queries with a match among the first 1..R ranks.
        distances: by `same WHERE` and `different WHERE`, with WHERE `across` or `within MODALITY`, (bins,) numbers of
            pairs; the bins are equal parts of cosine distance 0 to 2.
        lists: `query` (L,), `gallery` (L, K) indices of images, -1 past the end; `similarity` (L, K); `right` (L, K)
            bool; `ap` (L,); `first` (L,) rank of the first match, from 1.
        points: `image` (N,) indices; `pca` (N, 2); `explained` (2,) shares of variance; `tsne` (N, 2) or empty.
        maps: by `cam STAGE` and `features STAGE`, (P, 2, h, w) in 0..1, for both images of each of `about['pairs']`; by
            `translations NAME`, images (P, 2, h, w, 3) in 0..1; `swaps`, (R, C, h, w, 3) in 0..1.
        reliability: `probability`, `share` and `count` (B,) of test hits by predicted probability, and their expected
            calibration error `error` (1,); empty if the model is not calibrated.
    """

    about: dict[str, Any]
    thumbs: list[bytes] = field(default_factory=list)
    cmc: dict[str, np.ndarray] = field(default_factory=dict)
    distances: dict[str, np.ndarray] = field(default_factory=dict)
    lists: dict[str, np.ndarray] = field(default_factory=dict)
    points: dict[str, np.ndarray] = field(default_factory=dict)
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    reliability: dict[str, np.ndarray] = field(default_factory=dict)

    def name_of(self, identity: int) -> str:
        """Returns the user's name of an identity."""
        return str(self.about.get('names', {}).get(str(identity), identity))

    def save(self, path: Path) -> None:
        """Writes the evidence atomically."""
        arrays: dict[str, np.ndarray] = {'about': _bytes(as_json(self.about).encode())}
        arrays['thumbs'] = _bytes(b''.join(self.thumbs))
        arrays['thumb_sizes'] = np.array([len(t) for t in self.thumbs], dtype=np.int64)
        for group in _GROUPS:
            arrays.update({f'{group}/{key}': value for key, value in getattr(self, group).items()})
        packed = io.BytesIO()
        np.savez_compressed(packed, format=np.array(FORMAT), **arrays)  # type: ignore[arg-type]
        write_whole(path, packed.getvalue())

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Reads what `save` wrote, without executing code.

        Raises:
            VireidError: if it is damaged, or has another format version.
        """
        return _load(path)


AGAIN = 'score the checkpoint again: vireid test CONFIG CHECKPOINT'
_Share = Annotated[float, Ge(0), Le(1)]


class _Score(TypedDict, total=False):
    identity: int
    camera: int
    modality: str
    queries: Required[NonNegativeInt]
    R1: Required[_Share]
    mAP: Required[_Share]


class _Pair(TypedDict):
    images: tuple[NonNegativeInt, NonNegativeInt]
    similarity: FiniteFloat
    right: bool


class _Graph(TypedDict):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    nodes: list
    edges: list


class _About(TypedDict):
    __pydantic_config__ = ConfigDict(extra='allow', strict=True)  # type: ignore[misc]
    name: str
    protocol: str
    data: str
    weights: str
    similarity: str
    rows: Annotated[list[dict], AfterValidator(require_rows)]
    trial: str
    notes: list[str]
    images: list[tuple[str, int, int, str]]
    identities: list[_Score]
    cameras: list[_Score]
    graph: _Graph
    pairs: list[_Pair]
    kinds: list[list[str]]
    names: NotRequired[dict[str, str]]


@reads('the evidence of an evaluation (report.npz)', FILE, todo=AGAIN)
def _load(path: Path) -> Evidence:
    arrays = load_arrays(path, UNPACKED)
    if int(arrays['format']) != FORMAT:
        raise UnsupportedFile(f'{path} has format {int(arrays["format"])}; this vireid reads {FORMAT}', todo=AGAIN)
    sizes, whole = arrays['thumb_sizes'], arrays['thumbs'].tobytes()
    if sizes.ndim != 1 or sizes.dtype != np.int64 or (sizes < 0).any() or int(sizes.sum()) != len(whole):
        raise Malformed('its thumbnails do not have the declared sizes')
    ends = sizes.cumsum()
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in _GROUPS}
    for key, array in arrays.items():
        group, slash, name = key.partition('/')
        if slash and group in groups:
            groups[group][name] = array
    if arrays['about'].nbytes > RECORD:
        raise BeyondLimit(f'it has more than {RECORD / 2**20:,.0f} MiB of JSON')
    # validate as JSON, where a tuple is a list
    about: Any = TypeAdapter(_About).validate_json(arrays['about'].tobytes())
    about['images'] = [list(image) for image in about['images']]
    _require_few(about, groups)
    evidence = Evidence(about, [whole[a:b] for a, b in zip(ends - sizes, ends, strict=True)], **groups)
    _require_fit(evidence)
    return evidence


def _require_few(about: Mapping[str, Any], groups: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Raises BeyondLimit if there is more than a report can show: a small file could take hours to draw."""
    lists, maps = groups['lists'], groups['maps']
    series = [array for group in ('cmc', 'distances', 'reliability') for array in groups[group].values()]
    # the last two dimensions of a map, before its colors
    sides = [side for name, array in maps.items() for side in array.shape[2 + (name == 'swaps') :][:2]]
    for what, count, most in (
        ('images', len(about['images']), IMAGES),
        ('identities', len(about['identities']), SCORES),
        ('cameras', len(about['cameras']), SCORES),
        ('rows', len(about['rows']), ROWS),
        ('pairs of images', len(about['pairs']), PAIRS),
        ('ranking lists', len(lists.get('query', ())), LISTS),
        ('images in a ranking list', max(lists['gallery'].shape[1:], default=0) if 'gallery' in lists else 0, TOP),
        ('points', len(groups['points'].get('image', ())), POINTS),
        ('CMC curves', len(groups['cmc']), CURVES),
        ('histograms', len(groups['distances']), HISTOGRAMS),
        ('values in a curve', max((array.size for array in series), default=0), BINS),
        ('kinds of maps', len(maps), MAPS),
        ('rows or columns in a map', max(sides, default=0), SIDE),
    ):
        if count > most:
            raise BeyondLimit(f'it has {count:,} {what}; at most {most:,} are shown')


def _require_fit(evidence: Evidence) -> None:
    """Raises Malformed unless the arrays have the shapes, types and ranges that `Evidence` documents."""
    count = len(evidence.about['images'])

    def require(fits: bool, what: str) -> None:
        if not fits:
            raise Malformed(f'{what} is inconsistent')

    def numbers(array: np.ndarray | None, *shape: int | None, kind: str = 'f', low: float = -np.inf) -> bool:
        return (
            array is not None
            and array.dtype.kind in kind
            and len(array.shape) == len(shape)
            and all(expected in (None, size) for size, expected in zip(array.shape, shape, strict=True))
            and (array.dtype.kind == 'b' or bool((np.isfinite(array) & (array >= low)).all()))
        )

    def indices(array: np.ndarray | None, *shape: int | None, low: int = 0) -> bool:
        return array is not None and numbers(array, *shape, kind='iu', low=low) and bool((array < count).all())

    require(len(evidence.thumbs) == count, 'the number of thumbnails')
    require(all(i < count for pair in evidence.about['pairs'] for i in pair['images']), 'pairs')
    for name, curve in evidence.cmc.items():
        require(numbers(curve, None, low=0) and bool((curve <= 1 + 1e-9).all()) and len(curve) > 0, f'cmc/{name}')
    bins = len(next(iter(evidence.distances.values()), ()))  # all histograms have the same bins
    for name, counts in evidence.distances.items():
        require(numbers(counts, bins, kind='iu', low=0) and bins > 0, f'distances/{name}')
    if lists := evidence.lists:
        length = len(lists.get('query', ()))
        require(len(evidence.about['kinds']) == length, 'kinds')
        require(indices(lists.get('query'), length) and indices(lists.get('gallery'), length, None, low=-1), 'lists')
        top = lists['gallery'].shape[1]
        require(numbers(lists.get('similarity'), length, top), 'lists/similarity')
        require(numbers(lists.get('right'), length, top, kind='b'), 'lists/right')
        require(numbers(lists.get('ap'), length, low=0), 'lists/ap')
        require(numbers(lists.get('first'), length, kind='iuf', low=1), 'lists/first')
    if points := evidence.points:
        length = len(points.get('image', ()))
        require(indices(points.get('image'), length) and numbers(points.get('pca'), length, 2), 'points')
        require(numbers(points.get('tsne'), None, 2) and len(points['tsne']) in (0, length), 'points/tsne')
        require(numbers(points.get('explained'), 2, low=0), 'points/explained')
    for name, maps in evidence.maps.items():
        colors = (3,) if name.startswith('translations ') else ()
        shape = (len(evidence.about['pairs']), 2, None, None, *colors)
        if name == 'swaps':
            shape = (None, None, None, None, 3)
        require(numbers(maps, *shape, low=0) and maps.size > 0, f'maps/{name}')
    if known := evidence.reliability:
        bins = len(known.get('probability', ()))
        for name in ('probability', 'share', 'count'):
            require(numbers(known.get(name), bins, low=0) and bins > 0, f'reliability/{name}')
        shares = np.concatenate([known['probability'], known['share']])
        require(bool((shares <= 1 + 1e-9).all()) and numbers(known.get('error'), 1, low=0), 'reliability')


_GROUPS = tuple(f.name for f in dataclasses.fields(Evidence) if f.name not in ('about', 'thumbs'))


def _bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, dtype=np.uint8)
