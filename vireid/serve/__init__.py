"""The pages for searching an index and for naming people: a small web server for one of them."""

from __future__ import annotations
