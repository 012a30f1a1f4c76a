"""Weights as training scripts leave them: below some key, behind some prefix, beside other things."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vireid.boundary.reading import open_regular, reads
from vireid.boundary.showing import one_line
from vireid.boundary.tensors import CodeFound, is_foreign, load_tensors
from vireid.core.errors import VireidError

Shapes = Mapping[str, tuple[int, ...] | None]  # by name, what a network wants; None is any shape
COUNTER = 'num_batches_tracked'  # of BatchNorm: files older than torch 0.4.1 have none, and every network has some
# modules that wrap one another wherever it stands: names go without them
WRAPPERS = ('_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module')
AVERAGED = ('ema', 'teacher')  # words in the names of weights that are the mean of others
PARTS = 16  # of a name, that may be a prefix
NESTED = 4  # keys that a state dict may lie below
SHOWN, LONGEST = 4, 80  # names that a text shows, and characters of each


@dataclass(frozen=True)
class Weights:
    """The state dict of a file that fits a network best.

    Attributes:
        tensors: by name, without the prefix.
        fits: how many of them the network wants, in name and shape; counters do not count.
        wanted: how many it wants.
        key: what they lie below, such as `model.state_dict`; empty for the file itself.
        prefix: what their names begin with in the file.
        apart: names beside them that do not begin with it.
        others: where the file has as many that fit.
    """

    tensors: dict[str, Tensor]
    fits: int = 0
    wanted: int = 0
    key: str = ''
    prefix: str = ''
    apart: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where they are, in words; empty if they are all that the file holds, as they are."""
        return _place(self.key, self.prefix)

    def text(self, source: str | Path, left_out: Sequence[str]) -> str:
        """Says what was taken of a file, in a line; `left_out` names the tensors that were not."""
        names = [*left_out, *self.apart]
        some = ', '.join(one_line(name[:LONGEST]) for name in names[:SHOWN])
        more = f' and {len(names) - SHOWN:,} more' if len(names) > SHOWN else ''
        return (
            f'weights {source}: {self.fits:,} of {self.wanted:,} tensors'
            + (f', {self.place}' if self.place else '')
            + (f'; left out: {some}{more}' if names else '')
            + (f'; those {" and ".join(self.others)} fit as well' if self.others else '')
        )


def find_weights(content: Any, wanted: Shapes) -> Weights:
    """Finds the state dict in a file's content under whose key and prefix most tensors fit a network.

    A prefix ends with a dot, such as `module.` or `module.encoder_q.`; one may be of several parts. Counters of batches
    are no evidence. If several places fit equally, averaged weights are taken (`ema` or `teacher` is a word of their
    key or prefix), else the first in the file. If nothing fits, it is the place with the most tensors.

    Args:
        content: what `read_weights` returned.
        wanted: shapes by name.
    """
    places: dict[tuple[str, str], tuple[int, int]] = {}  # tensors that fit, and names that do
    held: dict[str, dict[str, Tensor]] = {}
    for key, tensors in _state_dicts(content):
        if key in held:
            continue
        held[key] = tensors
        for name, tensor in tensors.items():
            for prefix, own in _endings(name):
                if own in wanted and not own.endswith(COUNTER):
                    fits, names = places.get((key, prefix), (0, 0))
                    places[key, prefix] = (fits + (wanted[own] in (None, tuple(tensor.shape))), names + 1)
    count = sum(not name.endswith(COUNTER) for name in wanted)
    if not places:
        largest = max(held, key=lambda key: len(held[key]), default='')
        return Weights(held.get(largest, {}), 0, count, largest)
    most = max(places.values())
    best = [place for place, found in places.items() if found == most]
    key, prefix = chosen = next((place for place in best if _is_averaged(*place)), best[0])
    inside = {_without_wrappers(n.removeprefix(prefix)): t for n, t in held[key].items() if n.startswith(prefix)}
    apart = tuple(name for name in held[key] if not name.startswith(prefix))
    others = tuple(_place(*place) or 'of the file itself' for place in best if place != chosen)
    return Weights(inside, most[0], count, key, prefix, apart, others)


def _state_dicts(content: Any, key: str = '', depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yields dicts with tensors by name in nested dicts, each with what it lies below."""
    if not isinstance(content, Mapping):
        return
    tensors = {n: t.detach() for n, t in content.items() if isinstance(n, str) and isinstance(t, Tensor)}
    if tensors:
        yield key, tensors
    for name, value in content.items() if depth < NESTED else ():
        if isinstance(name, str):
            yield from _state_dicts(value, f'{key}.{name}' if key else name, depth + 1)


def _endings(name: str) -> Iterator[tuple[str, str]]:
    """Yields a name as a prefix and the rest, in every way."""
    parts = name.split('.', PARTS)
    for start, part in enumerate(parts):
        if part not in WRAPPERS:
            yield ''.join(f'{p}.' for p in parts[:start]), _without_wrappers('.'.join(parts[start:]))


def _without_wrappers(name: str) -> str:
    return '.'.join(part for part in name.split('.') if part not in WRAPPERS)


def _is_averaged(key: str, prefix: str) -> bool:
    return any(word in AVERAGED for word in re.split(r'[._]', f'{key}.{prefix}'))


def _place(key: str, prefix: str) -> str:
    below = f'taken from {one_line(key[:LONGEST])!r}' if key else ''
    behind = f'without the prefix {one_line(prefix[:LONGEST])!r}' if prefix else ''
    return ' '.join(filter(None, (below, behind)))


def is_checkpoint(content: Any) -> bool:
    """Says whether a file's content is a checkpoint of vireid."""
    return isinstance(content, Mapping) and {'format', 'model', 'config'} <= content.keys()


@reads('a file of weights', '*.pth', '*.t', '*.safetensors')
def read_weights(
    path: str | Path,
    allowed: str = 'a state dict',
    todo: str = 'download or copy it again, or give the path of another file',
) -> Any:
    """Reads a `.safetensors` file, or what `torch.save` wrote, to the CPU; nothing in it is executed.

    Args:
        path: the file.
        allowed: what may be given instead, for the error.
        todo: what to do about a file that cannot be read, for the error.

    Returns:
        What it holds: tensors by name, or dicts of them by key; see `find_weights`.

    Raises:
        VireidError: if it cannot be read; it says whether it is missing, empty, a web page, cut short or code.
    """
    path = Path(path)
    try:
        return _read_safetensors(path) if path.suffix == '.safetensors' else load_tensors(path, beside=True)
    except VireidError:
        raise
    except Exception as error:  # a damaged file may fail in any way
        if isinstance(error, CodeFound):
            allowed = 'tensors by name, as model.state_dict() gives them'
            saved = 'model.state_dict()' if error.is_module else "what_you_loaded['state_dict']"
            todo = f"where you trust it, save its weights alone: torch.save({saved}, 'weights.pth')"
        raise VireidError(
            f'weights {str(path)!r} cannot be read: {_what_is_wrong(path, error)}', allowed=allowed, todo=todo
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise VireidError(
            f'weights {str(path)!r} cannot be read: safetensors is not installed',
            todo="pip install 'vireid[timm]', or give a file of torch.save",
        ) from error
    with open_regular(path):  # the library's own word for a missing file names no reason
        pass
    return load_file(path)


def _what_is_wrong(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, CodeFound):
        return str(error)
    with open_regular(path) as file:
        head = file.read(256).lstrip().lower()
    if not head:
        return 'it is empty'
    if head.startswith((b'<!doctype', b'<html', b'<?xml')):
        return 'it is a web page'
    if (head.startswith(b'pk') and not zipfile.is_zipfile(path)) or 'not fully covered' in str(error):
        return 'its end is missing, as of a download that broke off'
    # for a foreign file torch advises to load it unsafely; we do not
    foreign = is_foreign(error) or not str(error) or path.suffix == '.safetensors'
    return 'it holds no tensors' if foreign else str(error).splitlines()[0]
