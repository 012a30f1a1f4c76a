"""Imports mmengine beside other processes that do so for the first time."""

from __future__ import annotations

import functools
import importlib
import pickle
from types import ModuleType


def import_mmengine(module: str) -> ModuleType:
    """Imports a module of mmengine, such as 'config'.

    mmengine imports yapf, which writes two grammars into the user's cache folder the first time, without a lock. Of
    processes that start together on a new machine, one may read a file that another has only begun; a killed process
    leaves such a file for good. Then the grammars are generated and written again.
    """
    try:
        return importlib.import_module(f'mmengine.{module}')
    except (EOFError, pickle.UnpicklingError):
        from yapf_third_party._ylib2to3.pgen2 import driver

        load = driver.load_grammar
        driver.load_grammar = functools.partial(load, force=True)
        try:
            return importlib.import_module(f'mmengine.{module}')
        finally:
            driver.load_grammar = load
