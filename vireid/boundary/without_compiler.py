"""Importing this module delays the import of torch's compiler, for processes that start by importing modules.

The fork server of data-loading workers is one: it imports modules by name and calls nothing.
"""

from __future__ import annotations

from vireid.boundary.compiler_import import put_off_compiler

put_off_compiler()
