"""Checks pickles before torch unpickles them: a small file can ask for any amount of memory or time."""

from __future__ import annotations

import pickletools
from typing import Any, BinaryIO

from vireid.boundary.malformed import BeyondLimit

# instructions of a file, where a call costs torch as much as ten others: Swin-B with Adam has 107,000
STEPS, CALL = 500_000, 10
# items that calls may copy, besides as many as the file has bytes: a list of a small file can be copied many times
COPIED = 2**22
ODD = 1_000  # keys other than text and small numbers: any number of them can share a hash, which takes quadratic time
WIDE = 64  # bits of a small number
# allowed by torch, but a few values of theirs build or check any number; the first is the name in Python 2
GREEDY = {
    '__builtin__ bytearray': 'a bytearray',
    'builtins bytearray': 'a bytearray',
    'torch._utils _rebuild_sparse_tensor': 'a sparse tensor',
    'torch._utils _rebuild_nested_tensor': 'a nested tensor',
    'torch._utils _rebuild_device_tensor_from_cpu_tensor': 'a tensor of an unknown device',
}
POPS = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3, 'APPEND': 1, 'SETITEM': 2}


class _Value:
    """What is known of a value on the stack.

    Attributes:
        length: the number of its items, or of its characters.
        name: a text, or the module and name of a global.
        items: the items of a tuple.
        is_odd: whether it is a possible key whose hash a file can choose.
        odd: the number of such keys in it.
    """

    __slots__ = ('is_odd', 'items', 'length', 'name', 'odd')

    def __init__(self, length: int = 0, name: str = '', items: list[_Value] | None = None, odd: bool = False) -> None:
        self.length, self.name, self.items, self.is_odd = length, name, items, odd or items is not None
        self.odd = sum(item.is_odd for item in items or ())

    def add(self, items: list[_Value]) -> None:
        if items and not self.length:
            self.is_odd = items[0].is_odd  # a pair, of which a dict can be built
        self.length += len(items)
        self.odd += sum(item.is_odd for item in items)


def require_modest(file: BinaryIO, size: int, pickles: int) -> None:
    """Raises BeyondLimit if unpickling would take far more time or memory than weights need.

    Follows the instructions without executing them; the largest number allowed takes seconds. At a damaged or unknown
    instruction, torch also stops, and says why.

    Args:
        file: a file at the beginning of a pickle.
        size: the size of the file.
        pickles: the number of pickles that follow each other.
    """
    check = _Check(COPIED + size)
    try:
        for _ in range(pickles):
            for instruction, value, _ in pickletools.genops(file):
                check.follow(instruction.name, value)
    except BeyondLimit:
        raise
    except Exception:  # anything may follow
        return


class _Check:
    def __init__(self, copies: int) -> None:
        self.steps, self.copies = STEPS, copies  # how many are left
        self.stack: list[_Value] = []
        self.marked: list[list[_Value]] = []
        self.memo: dict[Any, _Value] = {}

    def follow(self, name: str, value: Any) -> None:
        self.steps -= CALL if name in ('REDUCE', 'NEWOBJ', 'BUILD', 'GLOBAL', 'BINPERSID') else 1
        if self.steps < 0:
            raise BeyondLimit(f'it contains more than {STEPS:,} values')
        if name in ('MARK', 'PROTO', 'STOP'):
            if name == 'MARK':
                self.marked.append(self.stack)
                self.stack = []
        elif name.endswith('PUT'):
            self.memo[value] = self.stack[-1]
        elif name.endswith('GET'):
            self.stack.append(self.memo[value])
        elif name in POPS or name in ('TUPLE', 'APPENDS', 'SETITEMS'):
            self.gather(name)
        elif name in ('REDUCE', 'NEWOBJ'):
            arguments = self.stack.pop()
            self.call(self.stack.pop(), arguments.items or [])
        elif name == 'BUILD':
            self.stack.pop()
        elif name == 'BINPERSID':
            self.stack[-1] = _Value()
        elif name == 'EMPTY_TUPLE':
            self.stack.append(_Value(items=[]))
        elif isinstance(value, (str, bytes)):
            if name == 'GLOBAL' and value in GREEDY:
                raise BeyondLimit(f'it contains {GREEDY[value]}, which weights do not need')
            self.stack.append(_Value(len(value), value if isinstance(value, str) else ''))
        else:
            self.stack.append(_Value(odd=isinstance(value, int) and value.bit_length() > WIDE))

    def gather(self, name: str) -> None:
        """Follows an instruction that makes a tuple, or puts values into a list or a dict."""
        if name in POPS:
            items = self.stack[-POPS[name] :]
            del self.stack[-POPS[name] :]
        else:
            items, self.stack = self.stack, self.marked.pop()
        if name.startswith('TUPLE'):
            self.stack.append(_Value(len(items), items=items))
        elif name.startswith('APPEND'):
            self.stack[-1].add(items)
        else:
            self.stack[-1].add(items[::2])
            self.require_few(self.stack[-1])

    def call(self, function: _Value, arguments: list[_Value]) -> None:
        self.copies -= len(arguments) + sum(argument.length for argument in arguments)
        if self.copies < 0:
            raise BeyondLimit('its values are copied too often')
        module, _, name = function.name.partition(' ')
        inner = arguments[0].name if arguments else ''
        if (module == '_codecs' and arguments[-1].name != 'latin1') or (  # others take quadratic time
            name == '_rebuild_from_type_v2' and not inner.startswith('torch._utils ')
        ):
            raise BeyondLimit(f'it contains a call of {module}.{name} that weights do not need')
        if name.endswith(('Tensor', 'Storage')) and any(argument.length for argument in arguments):
            raise BeyondLimit('it contains a tensor made of a list')
        for argument in arguments if module in ('collections', 'builtins', '__builtin__') else ():
            self.require_few(argument)
        self.stack.append(_Value(max((argument.length for argument in arguments), default=0), odd=True))

    def require_few(self, value: _Value) -> None:
        if value.odd > ODD:
            raise BeyondLimit(f'it contains more than {ODD:,} keys that are neither text nor small numbers')
