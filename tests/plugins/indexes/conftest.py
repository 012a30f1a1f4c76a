"""A gallery of random embeddings with cameras, times and modalities, and the types of index that search it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vireid.plugin_manager.manager import create_manager
from vireid.search.entries import Where

LENGTH = 8
NONE = np.empty(0, dtype=np.int64)


@dataclass
class Image:
    """What an index is told about an image."""

    row: int
    modality: str
    camera: str
    time: str


@dataclass
class Gallery:
    """Embeddings, and the images that are in use."""

    vectors: np.ndarray
    images: dict[int, Image] = field(default_factory=dict)

    @property
    def live(self) -> np.ndarray:
        return np.array(sorted(self.images), dtype=np.int64)

    def rows(self, where: Where) -> np.ndarray:
        """Returns the numbers that a filter lets through, one condition after the other."""
        own = list(self.images.values())
        if where.cameras:
            own = [image for image in own if image.camera in where.cameras]
        if where.modality:
            own = [image for image in own if image.modality == where.modality]
        if where.after:
            own = [image for image in own if image.time and datetime.fromisoformat(image.time) >= where.after]
        if where.before:
            own = [image for image in own if image.time and datetime.fromisoformat(image.time) <= where.before]
        return np.array(sorted(image.row for image in own), dtype=np.int64)


def normalized(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_gallery(count: int, seed: int = 0) -> Gallery:
    """One image a minute; cameras 0 to 4 in turn, every seventh time unknown."""
    vectors = normalized(np.random.default_rng(seed).standard_normal((count, LENGTH))).astype(np.float16)
    start = datetime(2026, 11, 29, 22)
    images = {
        row: Image(
            row, ('visible', 'infrared')[row % 2], str(row % 5),
            '' if row % 7 == 0 else (start + timedelta(minutes=row)).isoformat(' '),
        )
        for row in range(count)
    }  # fmt: skip
    return Gallery(vectors, images)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    """Qdrant's local mode waits for the disk after every point."""
    from qdrant_client.local.persistence import CollectionPersistence

    real = CollectionPersistence.__init__

    def fast(self, *args, **kwargs):
        real(self, *args, **kwargs)
        self.storage.execute('PRAGMA synchronous = OFF')

    monkeypatch.setattr(CollectionPersistence, '__init__', fast)


@pytest.fixture
def gallery() -> Gallery:
    return make_gallery(40)


@pytest.fixture
def make(tmp_path: Path):
    """Builds an index by its type and arguments."""

    def build(kind: str, length: int = LENGTH, **arguments: Any) -> Any:
        components = create_manager().components
        return components.build('indexes', {'type': kind, **arguments}, where='index', folder=tmp_path, length=length)

    return build
