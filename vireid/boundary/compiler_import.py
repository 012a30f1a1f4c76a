"""Delays the import of torch's compiler, which takes longer than importing torch, and which most runs never use.

torchvision, lightning-fabric and torch's optimizers import `torch._dynamo` only to ask whether something is compiled or
to keep something from being compiled. A stand-in answers these two questions; any other access loads the compiler.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

NAME = 'torch._dynamo'


def put_off_compiler() -> None:
    """Makes `import torch._dynamo` return the stand-in until the compiler is used, unless it is imported already."""
    if NAME not in sys.modules:
        sys.modules[NAME], sys.modules[f'{NAME}.utils'] = _Compiler(NAME), _Utils(f'{NAME}.utils')
        sys.meta_path.insert(0, _Finder())


def load_compiler() -> ModuleType:
    """Returns the real module; imports it if it is not imported yet."""
    if isinstance(sys.modules.get(NAME), _StandIn):
        for name in (NAME, f'{NAME}.utils'):
            del sys.modules[name]
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    return importlib.import_module(NAME)


class _StandIn(ModuleType):
    """A module that is loaded on the first access to an attribute that the stand-in lacks."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None, is_package=name == NAME)
        self.__path__: list[str] = []  # the finder takes the place of this path

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # read from any module, such as __file__
            raise AttributeError(name)
        load_compiler()
        return getattr(importlib.import_module(self.__name__), name)


class _Compiler(_StandIn):
    """Stands in for `torch._dynamo`."""

    @staticmethod
    def disable(function: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Keeps a function from being compiled once the compiler is loaded."""
        if function is None:
            return load_compiler().disable(function, *args, **kwargs)
        disabled = None

        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            nonlocal disabled
            if disabled is None and not isinstance(sys.modules.get(NAME), _StandIn):
                disabled = load_compiler().disable(function, *args, **kwargs)
            return (disabled or function)(*given, **named)

        return call

    @staticmethod
    def graph_break(*args: Any, **kwargs: Any) -> None:
        """Nothing is being compiled, so there is nothing to break."""

    class _Compiled(type):
        def __instancecheck__(cls, instance: Any) -> bool:
            loaded = sys.modules.get(NAME)
            return not isinstance(loaded, _StandIn) and isinstance(instance, loaded.OptimizedModule)  # type: ignore[union-attr]

    class OptimizedModule(metaclass=_Compiled):
        """The compiler's class of this name, once it is loaded."""


class _Utils(_StandIn):
    """Stands in for `torch._dynamo.utils`."""

    @staticmethod
    def is_compile_supported(device: Any) -> Any:
        """Asks the compiler."""
        return load_compiler().utils.is_compile_supported(device)


class _Finder(MetaPathFinder):
    """Loads the compiler when another of its modules is imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(f'{NAME}.'):
            return None
        compiler = load_compiler()
        if name in sys.modules:
            return ModuleSpec(name, _Present(sys.modules[name]))
        return PathFinder.find_spec(name, compiler.__path__)


class _Present(Loader):
    """Returns a module that the compiler has imported itself, rather than importing it again."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
