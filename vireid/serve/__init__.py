"""The search page: a small web server on one index."""

from __future__ import annotations
