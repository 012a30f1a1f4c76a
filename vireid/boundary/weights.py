"""Finds weights in the files of training scripts: under some key, with some prefix, beside other content."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, isfinite

from vireid.boundary.malformed import BeyondLimit, kind_of
from vireid.boundary.reading import open_regular, reads
from vireid.boundary.showing import error_text, one_line, some
from vireid.boundary.tensors import CodeFound, UnreadNumbers, is_foreign, load_tensors, tensors
from vireid.errors import MissingPackage, NotFinite, VireidError

# what a network expects, by name: its tensor, or only the shape; None means any shape
Shapes = Mapping[str, Tensor | tuple[int, ...] | None]
COUNTER = 'num_batches_tracked'  # of BatchNorm: missing in files older than torch 0.4.1, and present in every network
# wrapper modules, which may appear anywhere in a name: names are compared without them
WRAPPERS = ('_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module')
AVERAGED = ('ema', 'teacher')  # words in the names of weights that are averages of others
PARTS = 16  # of a name that may form a prefix
NESTED = 4  # keys above a state dict
MAX_NAMES, MAX_LENGTH = 4, 80  # names shown, and characters of each
HEADER, ENTRIES = 16 * 2**20, 50_000  # bytes and entries of the header of a safetensors file


@dataclass(frozen=True)
class Weights:
    """The state dict in a file that fits a network best.

    Attributes:
        tensors: by name, without the prefix.
        fits: the number of tensors that match the network in name, shape and kind, without BatchNorm counters.
        expected: the number of tensors that the network expects.
        key: the key above them, such as `model.state_dict`; empty at the top level of the file.
        prefix: the prefix of their names in the file.
        apart: names beside them without the prefix.
        others: places in the file that fit equally well.
    """

    tensors: dict[str, Tensor]
    fits: int = 0
    expected: int = 0
    key: str = ''
    prefix: str = ''
    apart: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Describes where they are; empty if they are at the top level without a prefix."""
        return _place(self.key, self.prefix)

    def text(self, source: str | Path, left_out: Sequence[str]) -> str:
        """Returns a line that reports what was loaded; `left_out` names the tensors that were not."""
        names = [*left_out, *self.apart]
        shown = some([one_line(name[:MAX_LENGTH]) for name in names], MAX_NAMES)
        return (
            f'weights {source}: {self.fits:,} of {self.expected:,} tensors'
            + (f', {self.place}' if self.place else '')
            + (f'; left out: {shown}' if names else '')
            + (f'; the tensors {" and ".join(self.others)} would fit as well' if self.others else '')
        )


def find_weights(content: Any, expected: Shapes) -> Weights:
    """Finds the state dict in a file's content, under the key and prefix with the most tensors that fit a network.

    A prefix ends with a dot and may have several parts, such as `module.` or `module.encoder_q.`. BatchNorm counters
    do not count. If several places fit equally well, takes averaged weights (`ema` or `teacher` is a word of their key
    or prefix), else the first in the file. If nothing fits, takes the place with the most tensors.

    Args:
        content: what `read_weights` returns.
        expected: expected tensors or shapes by name.
    """
    places: dict[tuple[str, str], tuple[int, int]] = {}  # numbers of matching tensors, and of matching names
    held: dict[str, dict[str, Tensor]] = {}
    for key, state in _state_dicts(content):
        if key in held:
            continue
        held[key] = state
        for name, tensor in state.items():
            for prefix, own in _endings(name):
                if own in expected and not own.endswith(COUNTER):
                    count, names = places.get((key, prefix), (0, 0))
                    places[key, prefix] = (count + fits(tensor, expected[own]), names + 1)
    count = sum(not name.endswith(COUNTER) for name in expected)
    if not places:
        largest = max(held, key=lambda key: len(held[key]), default='')
        return Weights(held.get(largest, {}), 0, count, largest)
    most = max(places.values())
    best = [place for place, matches in places.items() if matches == most]
    key, prefix = chosen = next((place for place in best if _is_averaged(*place)), best[0])
    inside = {_without_wrappers(n.removeprefix(prefix)): t for n, t in held[key].items() if n.startswith(prefix)}
    apart = tuple(name for name in held[key] if not name.startswith(prefix))
    others = tuple(_place(*place) or 'at the top level of the file' for place in best if place != chosen)
    return Weights(inside, most[0], count, key, prefix, apart, others)


def _state_dicts(content: Any, key: str = '', depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yields the dicts of named tensors in nested dicts, each with the key above it."""
    if not isinstance(content, Mapping):
        return
    state = {n: t.detach() for n, t in content.items() if isinstance(n, str) and isinstance(t, Tensor)}
    if state:
        yield key, state
    for name, value in content.items() if depth < NESTED else ():
        if isinstance(name, str):
            yield from _state_dicts(value, f'{key}.{name}' if key else name, depth + 1)


def _endings(name: str) -> Iterator[tuple[str, str]]:
    """Yields every split of a name into a prefix and the rest."""
    parts = name.split('.', PARTS)
    for start, part in enumerate(parts):
        if part not in WRAPPERS:
            yield ''.join(f'{p}.' for p in parts[:start]), _without_wrappers('.'.join(parts[start:]))


def _without_wrappers(name: str) -> str:
    return '.'.join(part for part in name.split('.') if part not in WRAPPERS)


def _is_averaged(key: str, prefix: str) -> bool:
    return any(word in AVERAGED for word in re.split(r'[._]', f'{key}.{prefix}'))


def _place(key: str, prefix: str) -> str:
    below = f'taken from {one_line(key[:MAX_LENGTH])!r}' if key else ''
    behind = f'without the prefix {one_line(prefix[:MAX_LENGTH])!r}' if prefix else ''
    return ' '.join(filter(None, (below, behind)))


def fits(tensor: Tensor, expected: Tensor | tuple[int, ...] | None) -> bool:
    """Returns whether a tensor has the shape that a network expects and, if its tensor is given, the kind of numbers.

    Integers fit no floating-point tensor: a quantized file has them, with scales that this program does not apply.
    Floating-point numbers fit integers: averaging makes them of counters.
    """
    if not isinstance(expected, Tensor):
        return expected is None or tuple(tensor.shape) == expected
    real = tensor.is_floating_point() or not expected.is_floating_point()
    return tensor.shape == expected.shape and tensor.is_complex() == expected.is_complex() and real


def require_finite(state: Mapping[str, Any], source: str | Path, used: Container[str]) -> None:
    """Checks that weights contain no NaN and no infinity, with which every embedding would be NaN.

    Args:
        state: the state dict.
        source: the file, for the error.
        used: names of the tensors that a network uses; others are not checked.

    Raises:
        NotFinite: if one does.
    """
    for name, tensor in state.items():
        if name not in used or not isinstance(tensor, Tensor) or tensor.is_meta or not tensor.is_floating_point():
            continue
        finite = isfinite(tensor if tensor.element_size() > 1 else tensor.float())  # torch lacks it for some 8-bit ones
        if not finite.all():
            raise NotFinite(
                f'weights {str(source)!r}: {int((~finite).sum()):,} of {tensor.numel():,} values in '
                f'{one_line(name[:MAX_LENGTH])} are NaN or infinite',
                allowed='finite weights',
                todo='give an earlier file of the same training, or another file',
            )


def without_names(content: Any) -> str:
    """Describes a file in which `find_weights` finds no tensors."""
    count = sum(1 for _ in tensors(content))
    number = f'{count:,} tensor{"s" * (count != 1)}'
    if isinstance(content, Tensor):
        return 'it is a tensor without a name, not a dict of tensors by name'
    if count:
        return f'it is a {type(content).__name__} that contains {number}, not a dict of tensors by name'
    if any(isinstance(value, UnreadNumbers) for value in _values(content)):
        return 'it contains NumPy arrays or numbers, and no tensors'
    return 'it contains no tensors'


def _values(content: Any) -> Iterator[Any]:
    if isinstance(content, (Mapping, list, tuple)):
        for item in content.values() if isinstance(content, Mapping) else content:
            yield from _values(item)
    else:
        yield content


def is_checkpoint(content: Any) -> bool:
    """Returns whether a file's content is a vireid checkpoint."""
    return isinstance(content, Mapping) and {'format', 'model', 'config'} <= content.keys()


@reads('a weights file', '*.pth', '*.t', '*.safetensors')
def read_weights(
    path: str | Path,
    allowed: str = 'a state dict',
    todo: str = 'download or copy it again, or give the path of another file',
) -> Any:
    """Reads a `.safetensors` file, or what `torch.save` wrote, to the CPU without executing code.

    Args:
        path: the file.
        allowed: what the error says is accepted.
        todo: what the error says to do about a file that cannot be read.

    Returns:
        Its content: tensors by name, or dicts of them by key; see `find_weights`.

    Raises:
        VireidError: if it cannot be read: it is missing, empty, a web page, truncated, or contains code.
    """
    path = Path(path)
    try:
        return _read_safetensors(path) if _is_safetensors(path) else load_tensors(path, beside=True)
    except VireidError:
        raise
    except Exception as error:  # a damaged file may fail in any way
        if isinstance(error, CodeFound):
            allowed = 'tensors by name, as model.state_dict() gives them'
            saved = 'model.state_dict()' if error.is_module else "what_you_loaded['state_dict']"
            todo = f"if you trust the file, save only its weights: torch.save({saved}, 'weights.pth')"
        raise kind_of(error)(
            f'weights {str(path)!r} cannot be read: {_what_is_wrong(path, error)}', allowed=allowed, todo=todo
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingPackage(
            f'weights {str(path)!r} cannot be read: safetensors is not installed',
            todo='pip install "vireid[timm]", or give a file that torch.save wrote',
        ) from error
    require_modest_header(path)
    return load_file(path)


def _is_safetensors(path: Path) -> bool:
    """Returns whether a file begins as safetensors does, whatever its name: with a length, and a JSON object."""
    with open_regular(path) as file:
        return file.read(9)[8:] == b'{'


def require_modest_header(path: str | Path) -> None:
    """Checks the header of a safetensors file, whose entries take the library far more memory than they have bytes.

    Raises:
        OSError: if the file cannot be opened.
        BeyondLimit: if the header is too long or has too many entries.
    """
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), 'little')
        if length > HEADER:
            raise BeyondLimit(f'its header has {length:,} bytes, more than {HEADER:,}')
        entries = file.read(length).count(b'{')
    if entries > ENTRIES:
        raise BeyondLimit(f'its header has {entries:,} entries, more than {ENTRIES:,}')


def _what_is_wrong(path: Path, error: Exception) -> str:
    if isinstance(error, (OSError, CodeFound)):
        return error_text(error)
    with open_regular(path) as file:
        head = file.read(256).lstrip().lower()
    if not head:
        return 'it is empty'
    if head.startswith(b'\x93numpy'):
        return 'it is a NumPy array, which torch.save did not write'
    if head.startswith((b'<!doctype', b'<html', b'<?xml')):
        return 'it is a web page'
    if (head.startswith(b'pk') and not zipfile.is_zipfile(path)) or 'not fully covered' in str(error):
        return 'it is truncated, perhaps by an interrupted download'
    # for a file that torch cannot parse, torch advises to load it unsafely; vireid does not
    foreign = is_foreign(error) or not str(error) or type(error).__name__ == 'SafetensorError'
    return 'it contains no tensors' if foreign else str(error).splitlines()[0]
