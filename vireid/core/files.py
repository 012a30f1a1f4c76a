"""Small files, written whole or not at all."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file beside `path` and renames it: whoever is killed meanwhile leaves the file that was there.

    Its folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    part.write_bytes(content.encode() if isinstance(content, str) else content)
    part.replace(path)
