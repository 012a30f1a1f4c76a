"""Embeds images of any kind with a trained model, and models that need no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vireid.boundary import checkpoint as checkpoints
from vireid.core.data.images import Decoder, decoder
from vireid.core.registry.contracts import located, require_embedding
from vireid.core.registry.signature import named_arguments
from vireid.core.scoring.embedding import embed_samples
from vireid.core.types import MODALITIES, Modality, Sample
from vireid.errors import TooFew, VireidError, WrongValue
from vireid.exchange.models import load as load_model
from vireid.exchange.models import load_weights
from vireid.runtime.memory import within_memory
from vireid.runtime.processes import world
from vireid.search.modality import guess_modality
from vireid.statistics.calibration import Calibration

Picture = str | Path | Image.Image | np.ndarray | Tensor
PICTURES = 'paths, PIL images, (H, W, 3) or (H, W) uint8 arrays, (3, H, W) uint8 tensors, or (B, 3, H, W) float32 '
PICTURES += 'tensors from the test transform'


class Embedder:
    """A trained model with the preparation of its images.

    Attributes:
        model: the network, a `torch.nn.Module` in evaluation mode; `model.embed` takes prepared tensors.
        experiment: the experiment stored in the checkpoint.
        calibration: what cosine similarities mean, `vireid.statistics.calibration.Calibration`; None if unknown.
        length: the length D of an embedding, None before the first one.
        source: path of the checkpoint.
    """

    def __init__(self, model: Any, source: str | Path) -> None:
        self.model: Any = model.eval()
        self.source = str(source)
        self.experiment: Any = model.experiment
        self.calibration: Calibration | None = model.calibration
        self.device = torch.device('cpu')
        self.length: int | None = None
        self._transform = self.experiment.build_transform('test')
        self._takes_modality = named_arguments(self._transform, 'modality')
        self._read: Decoder = decoder(self.experiment.images)

    def to(self, device: torch.device | str) -> Embedder:
        """Moves the model to a device, and returns the embedder."""
        self.device = torch.device(device)
        self.model.to(self.device)
        return self

    def digest(self) -> str:
        """Returns what identifies the space of its embeddings: a hash of the weights and of the preparation."""
        images = self.experiment.images
        text = bytearray(repr((images.size, images.test, images.scale_raw)).encode())
        about = torch.frombuffer(text, dtype=torch.uint8)
        return checkpoints.digest({**self.model.state_dict(), 'images': about})

    def embed(self, images: Picture | Sequence[Picture], modality: Modality | None = None) -> np.ndarray:
        """Embeds images.

        Args:
            images: one image or several: paths, PIL images, (H, W, 3) or (H, W) uint8 arrays, (3, H, W) uint8 tensors;
                or prepared images, a (B, 3, H, W) float32 tensor from the test transform.
            modality: `visible` or `infrared`; None guesses it for each image: `visible` if it has colors.

        Returns:
            (N, D) float32 embeddings of norm 1; their inner products are cosine similarities.

        Raises:
            VireidError: if an image cannot be read, is of another type, or the modality is unknown.
        """
        if modality is not None and modality not in MODALITIES:
            raise WrongValue(f'modality is {modality!r}', allowed=f'{", ".join(MODALITIES)}, or None to guess')
        if isinstance(images, Tensor) and images.is_floating_point():
            if images.ndim != 4 or modality is None:
                raise WrongValue(
                    f'a float tensor of shape {tuple(images.shape)}, modality {modality}',
                    allowed=f'{PICTURES}, the last with a modality',
                )
            return self._embed(images, modality)
        pixels = [self.pixels(image) for image in _several(images)]
        if not pixels:
            raise TooFew('no images to embed', allowed=PICTURES)
        modalities = [modality or guess_modality(image) for image in pixels]
        size = self.experiment.evaluation.batch_size
        parts: dict[int, np.ndarray] = {}
        for each in dict.fromkeys(modalities):
            rows = [row for row, own in enumerate(modalities) if own == each]
            for start in range(0, len(rows), size):
                chunk = rows[start : start + size]
                embedded = self._embed(self._prepared([pixels[row] for row in chunk], each), each)
                parts |= zip(chunk, embedded, strict=True)
        return np.stack([parts[row] for row in range(len(pixels))])

    def embed_files(
        self,
        paths: Sequence[str],
        modalities: Sequence[Modality],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Embeds image files in batches, with the loader processes of training and in all processes of a launcher.

        Args:
            paths: the files, each only once.
            modalities: modality of each file.
            on_progress: called with (done, total) images.

        Returns:
            (N, D) float32 embeddings of norm 1.

        Raises:
            VireidError: if an image cannot be read.
        """
        samples = [Sample(path, 0, 0, modality) for path, modality in zip(paths, modalities, strict=True)]
        embeddings = embed_samples(
            self.model,
            samples,
            self._transform,
            batch_size=self.experiment.evaluation.batch_size,
            workers=self.experiment.images.workers,
            device=self.device,
            read=self._read,
            on_progress=on_progress,
        )
        row_of = {sample.path: row for row, sample in enumerate(embeddings.samples)}
        self.length = embeddings.features.shape[1]
        return embeddings.features[[row_of[path] for path in paths]]

    def embed_readable(
        self,
        paths: Sequence[str],
        modalities: Sequence[Modality],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> tuple[list[int], np.ndarray, list[str]]:
        """Embeds the image files that can be read; arguments as for `embed_files`.

        Returns:
            The places of the readable files, their (N, D) embeddings, and a line for each of the others. Without any,
            the embeddings have the shape (0, 0).

        Raises:
            VireidError: with several processes, if an image cannot be read.
        """
        try:
            return list(range(len(paths))), self.embed_files(paths, modalities, on_progress), []
        except VireidError as first:  # one of them cannot be read: find out which
            if world()[1] > 1:  # the other processes may have read all of theirs, and wait for this one
                raise
            errors: dict[int, str] = {}
            for place, path in enumerate(paths):
                try:
                    self.pixels(path)
                except VireidError as error:
                    errors[place] = error.given
            if not errors:
                raise first
        readable = [place for place in range(len(paths)) if place not in errors]
        if not readable:
            return [], np.empty((0, 0), dtype=np.float32), list(errors.values())
        vectors = self.embed_files([paths[p] for p in readable], [modalities[p] for p in readable], on_progress)
        return readable, vectors, list(errors.values())

    def pixels(self, image: Picture) -> np.ndarray:
        """Returns an image as (H, W, 3) uint8.

        Raises:
            VireidError: if it cannot be read or is of another type.
        """
        if isinstance(image, (str, Path)):
            return self._read(image).permute(1, 2, 0).numpy()
        if isinstance(image, Image.Image):
            if image.mode not in ('RGB', 'L'):
                raise WrongValue(
                    f'a PIL image of mode {image.mode!r}', allowed='RGB or L', todo="convert it: image.convert('RGB')"
                )
            return np.array(image.convert('RGB'))
        array = image.permute(1, 2, 0).cpu().numpy() if isinstance(image, Tensor) and image.ndim == 3 else image
        if isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 2:
            array = np.repeat(array[:, :, None], 3, axis=2)
        if not (isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3):
            about = f' {image.dtype} {tuple(image.shape)}' if isinstance(image, (np.ndarray, Tensor)) else ''
            raise WrongValue(f'an image is {type(image).__name__}{about}', allowed=PICTURES)
        return array

    def _prepared(self, pixels: Sequence[np.ndarray], modality: Modality) -> Tensor:
        known: Mapping[str, Any] = {'modality': modality} if self._takes_modality else {}
        return torch.stack([self._transform(torch.from_numpy(image).permute(2, 0, 1), **known) for image in pixels])

    def _embed(self, images: Tensor, modality: Modality) -> np.ndarray:
        what = f'embedding {len(images)} images at once on {self.device}'
        todo = 'embed fewer images at once, or lower evaluation.batch_size'
        with torch.inference_mode(), within_memory(what, todo), located(self.model):
            embedded = self.model.embed(images.to(self.device), modality)
        require_embedding(embedded, len(images), self.model)
        self.length = embedded.shape[1]
        return nn.functional.normalize(embedded.float(), dim=1).cpu().numpy()


def _several(images: Picture | Sequence[Picture]) -> Sequence[Any]:
    arrays = isinstance(images, (np.ndarray, Tensor)) and images.ndim < 4
    return [images] if arrays or isinstance(images, (str, Path, Image.Image)) else images  # type: ignore[return-value]


def load(
    path: str | Path, plugins: Sequence[str | Path] = (), options: Sequence[str] = (), manager: Any = None
) -> Embedder:
    """Loads a trained model, without the dataset.

    Args:
        path: a checkpoint of a run, or a folder of `vireid export weights`.
        plugins: Python files with components of the model. Files that the checkpoint names are not executed unless they
            are listed here.
        options: overrides of the stored config, such as `images.scale_raw=percentiles`.
        manager: the plugins to use instead of the installed ones.

    Returns:
        The embedder, on the CPU: `embedder.embed(images)` embeds files, PIL images, arrays and tensors;
        `embedder.model` is the network, `embedder.experiment` its experiment.

    Raises:
        VireidError: if the checkpoint is damaged, or its weights do not fit the config stored with them.
    """
    read = load_weights if Path(path).is_dir() else load_model
    return Embedder(read(path, plugins, manager, options), path)
