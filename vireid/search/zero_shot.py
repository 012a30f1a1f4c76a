"""A model that needs no training: a pretrained network, centered in each modality (configs/zero_shot.py)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from vireid.boundary import checkpoint
from vireid.core.config.overrides import Overrides
from vireid.core.data.image_set import ImageSet
from vireid.core.data.images import decoder
from vireid.core.data.loader import Batches
from vireid.core.training.state import versions
from vireid.core.types import MODALITIES, Sample
from vireid.errors import DamagedFile, VireidError
from vireid.interfaces import Model
from vireid.launch.resolve import resolve
from vireid.plugin_manager.manager import create_manager
from vireid.search.gallery import GalleryImage
from vireid.search.modality import guess_modality

ZERO_SHOT = 'zero-shot'
CONFIG = 'vireid::zero_shot.py'
MAX_IMAGES = 1000  # images of each modality; more barely change a mean


def make_zero_shot(
    out: Path,
    images: Sequence[GalleryImage],
    options: Sequence[str] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Writes a checkpoint of a pretrained network whose means are those of a gallery.

    Args:
        out: the checkpoint to write.
        images: images of the cameras that will be searched, of both modalities if queries are of both; at most 1,000 of
            each modality are used.
        options: overrides of the config, such as `model.backbone.weights=mobilenet_v2.pth`.
        on_progress: called with (done, total) images.

    Returns:
        A warning for each modality without images.

    Raises:
        VireidError: if the weights cannot be downloaded, or no image can be read.
    """
    experiment = resolve(CONFIG, Overrides(options=options), manager=create_manager())
    model = experiment.build_model(1).eval()
    read = decoder(experiment.images)
    chosen = random.Random(0).sample(list(images), len(images))
    samples: dict[str, list[Sample]] = {m: [] for m in MODALITIES}
    unread: VireidError | None = None
    for done, image in enumerate(chosen):
        on_progress(done, len(chosen))
        if all(len(own) >= MAX_IMAGES for own in samples.values()):
            break
        try:
            modality = guess_modality(read(image.path).permute(1, 2, 0).numpy())
        except VireidError as error:
            unread = unread or error
            continue  # reported when it is to be embedded
        modality = image.modality or modality
        if len(samples[modality]) < MAX_IMAGES:
            samples[modality].append(Sample(image.path, 0, 0, modality))
    every = [sample for own in samples.values() for sample in own]
    if not every:
        example = f', for example: {unread.given}' if unread else ''
        raise DamagedFile(f'none of the images can be read{example}', todo=unread.todo if unread else None)
    data = ImageSet(every, experiment.build_transform('test'), read=read)
    size = experiment.evaluation.batch_size
    chunks = [range(start, min(start + size, len(every))) for start in range(0, len(every), size)]
    fit = Model.fit(model)
    assert fit is not None
    with torch.inference_mode():
        fit(Batches(data, chunks))
    content = {
        'model': model.state_dict(),
        'config': experiment.to_config(),
        'num_identities': 1,
        'progress': {'step': 0, 'steps_per_epoch': 1},
        'fitted_step': 0,
        'chosen': 'without training',
        'versions': versions(),
    }
    checkpoint.save(out, content)
    return [
        f'the gallery has no {m} images, so {m} queries are not centered and will be matched less reliably; '
        'adapt the checkpoint to images of both modalities: vireid adapt'
        for m, own in samples.items()
        if not own
    ]
