"""`vireid data check` of a folder: which dataset it is, and what the report says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vireid.boundary.image_files import ScaleRaw
from vireid.core.registry.components import Components
from vireid.diagnostics.dataset_report import check_dataset
from vireid.interfaces import Dataset
from vireid.launch.data_name import data_name, is_generated
from vireid.launch.recognition import recognize


def check_folder(
    root: str,
    components: Components,
    name: str | None = None,
    number: int | None = None,
    splits: Sequence[str] | None = None,
    scale_raw: ScaleRaw = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[str, bool]:
    """Checks the dataset in a folder.

    Args:
        root: the folder.
        components: the components, which include its reader.
        name: name of the dataset; None recognizes it.
        number: split of a dataset with several splits.
        splits: see `check_dataset`.
        scale_raw: see `check_dataset`.
        on_progress: called with (done, total) images.

    Returns:
        A report, and whether it has errors to fix.

    Raises:
        VireidError: if the folder is no dataset.
    """
    config: dict[str, Any] = {'type': name or recognize(Path(root).expanduser(), components), 'root': root}
    dataset = components.build('datasets', config if number is None else {**config, 'split': number}, where='dataset')
    generated = is_generated(root)  # has no published numbers to compare with
    expected = None if generated else Dataset.expected(dataset)
    report = check_dataset(dataset, splits, expected=expected, on_progress=on_progress, scale_raw=scale_raw)
    head = [f'{root}: {data_name(config)}'] if generated else []
    return '\n'.join([*head, report.text()]), bool(report.errors)
