"""Search: embeds the images of a gallery, keeps them in an index, and ranks them for a query."""

from __future__ import annotations
