"""Adapts a checkpoint to other cameras: statistics are re-estimated from their unlabeled images.

For BatchNorm, this is AdaBN (Li et al., 2017, arXiv:1603.04779). No parameter changes. The new file also keeps the
training statistics, which `revert` restores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor, nn

from vireid.boundary import checkpoint as checkpoints
from vireid.boundary.image_files import RawImage
from vireid.console.wording import counted
from vireid.core.data.image_set import ImageSet
from vireid.core.data.images import decoder
from vireid.core.data.loader import Batches, default_workers
from vireid.core.registry.contracts import located
from vireid.core.types import MODALITIES, Modality
from vireid.errors import AlreadyExists, DamagedFile, UnsupportedFile, VireidError
from vireid.exchange.models import load
from vireid.exchange.norm_statistics import augmented, balanced_batches, estimate_norms, find_norms
from vireid.exchange.unlabeled_images import find_images
from vireid.interfaces import Model, Neck
from vireid.launch.image_checks import check_images
from vireid.runtime.memory import within_memory
from vireid.runtime.randomness import seeded

OnProgress = Callable[[str, int, int], None]  # (what, done, total)


@dataclass(frozen=True)
class Adaptation:
    """The result of `adapt`.

    Attributes:
        out: the new checkpoint.
        images: number of images by modality.
        drawn: number of images of each modality used to estimate BatchNorm statistics; images of the smaller modality
            are repeated to reach it. 0 if no BatchNorm layer was estimated.
        norms: names of the BatchNorm layers with new statistics.
        necks: names of the fitted necks.
        kept: parts whose statistics are unchanged, with the reason.
        weights: description of the new weights, as in result tables.
    """

    out: Path
    images: dict[Modality, int]
    drawn: int
    norms: tuple[str, ...]
    necks: tuple[str, ...]
    kept: tuple[str, ...]
    weights: str

    def text(self) -> str:
        """Returns a summary, one line per fact."""
        lines = [f'images       {_numbers(self.images)}']
        for modality, count in self.images.items():
            if count < self.drawn:
                times = f'{self.drawn / count:.3g} times'
                lines.append(
                    f'             {modality} images were repeated {times}, so that both modalities have equal weight'
                )
        estimated = [f'mean and variance of {counted(len(self.norms), "BatchNorm layer")}'] if self.norms else []
        estimated += [f'neck {name}' for name in self.necks]
        lines += [f'estimated    {", ".join(estimated)}', *(f'unchanged    {line}' for line in self.kept)]
        return '\n'.join([*lines, f'weights      {self.weights}'])

    def todo(self, checkpoint: Path, plugins: Sequence[Path]) -> str:
        """Returns how to measure the effect, and how to undo it; `checkpoint` is the one that was adapted."""
        ours = ''.join(f' --plugin {quote(str(file))}' for file in plugins)
        before, after = quote(str(checkpoint)), quote(str(self.out))
        return (
            'Only labeled images of these cameras can show whether it helped. Score both files on them:\n'
            f'  vireid test CONFIG {before} --data-root DIR --work-dir before{ours}\n'
            f'  vireid test CONFIG {after} --data-root DIR --work-dir after{ours}\n'
            f'To undo: vireid adapt {after} --revert -o ORIGINAL'
        )


def adapt(
    checkpoint: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    plugins: Sequence[str | Path] = (),
    on_progress: OnProgress = lambda what, done, total: None,
) -> Adaptation:
    """Re-estimates the statistics of a checkpoint from images of other cameras, and writes a new checkpoint.

    BatchNorm layers get the mean and unbiased variance over all positions of all batches, where each batch is
    normalized by its own statistics. Images pass through the training transforms, because the statistics being
    replaced include their effects, such as padding. Batches have equal numbers of visible and infrared images, in an
    order that depends only on the seed of the config. Layers that the embedding does not use, and layers frozen in
    training, are unchanged. Then necks of the embedding with a `fit` method are fitted to images with the test
    transforms, unless they set `needs_identities`.

    Args:
        checkpoint: a checkpoint of a run, or an adapted one, whose training statistics are kept.
        images: a folder with `visible/` and `infrared/`, which hold images at any depth; or a CSV table with the
            columns `path`, absolute or relative to the table, and `modality`.
        out: the file to write; it must not already exist.
        split: use only the rows of the table with this value in the column `split`.
        plugins: Python files with components of the model, as in `load`.
        on_progress: called with (what, done, total).

    Returns:
        A summary.

    Raises:
        VireidError: if `checkpoint` is not a checkpoint, `out` exists, images are missing or unreadable, or the
            embedding has no statistics to estimate.
    """
    out = Path(out)
    _require_new(out)
    content = checkpoints.load(checkpoint)
    samples = find_images(Path(images).expanduser(), split)
    counts = {m: sum(s.modality == m for s in samples) for m in MODALITIES}
    model: Any = load(checkpoint, plugins)
    experiment = model.experiment
    settings = replace(experiment.images, reader=None)  # a cache holds the training images
    try:
        check_images(settings, (), samples, lambda done, total: on_progress('checking images', done, total))
    except VireidError as error:
        todo = 'convert them to 8 bits' if isinstance(error, RawImage) else 'replace or remove them'
        raise error.reworded(error.given, todo=todo) from error
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model.to(device)
    size, decode = experiment.evaluation.batch_size, decoder(settings)
    trained = ImageSet(samples, experiment.build_transform('train'), seed=experiment.seed, read=decode)
    tested = ImageSet(samples, experiment.build_transform('test'), read=decode)
    workers = default_workers(device) if settings.workers is None else settings.workers

    def batches(data: ImageSet, keys: Sequence[Sequence[Any]], what: str, processes: int = workers) -> Batches:
        return Batches(data, keys, processes, device, lambda done: on_progress(what, done, len(keys)))

    what = f'embedding {size} images at once on {device}'
    todo = 'free memory' + (', or use the CPU: CUDA_VISIBLE_DEVICES=' if device.type == 'cuda' else '')
    with seeded(experiment.seed, 'adapt'), within_memory(what, todo):
        first = [next(i for i, s in enumerate(samples) if s.modality == m) for m in MODALITIES]
        norms, frozen = find_norms(model, next(iter(batches(tested, [first], 'inspecting the network', 0))).images)
        necks, supervised = _find_necks(model)
        kept = _kept(model, content, frozen, supervised)
        if not norms and not necks:
            raise _nothing_to_estimate(checkpoint, kept)
        balanced = balanced_batches(samples, size, experiment.seed) if norms else []
        if norms:
            estimate_norms(model, norms, batches(trained, augmented(balanced), 'estimating statistics'))
        if necks:
            rows = [range(start, min(start + size, len(samples))) for start in range(0, len(samples), size)]
            with located(model):
                model.eval().fit_necks(necks, batches(tested, rows, 'fitting necks'))
    content = _adapted(content, model, counts, str(Path(images).absolute()), [*norms, *(f'necks.{n}' for n in necks)])
    checkpoints.save(out, content)
    drawn = max(counts.values()) if norms else 0
    return Adaptation(out, counts, drawn, tuple(norms), tuple(necks), tuple(kept), content['chosen'])


def revert(checkpoint: str | Path, out: str | Path) -> str:
    """Writes the checkpoint that an adapted one was derived from, with bit-identical weights.

    Args:
        checkpoint: a file written by `adapt`.
        out: the file to write; it must not already exist.

    Returns:
        A description of the weights, as in result tables.

    Raises:
        VireidError: if the checkpoint was not adapted, or `out` exists.
    """
    out = Path(out)
    _require_new(out)
    content = checkpoints.load(checkpoint)
    before = content.get('before_adapting')
    if not isinstance(before, dict) or not isinstance(content.get('adapted'), dict):
        raise UnsupportedFile(f'{checkpoint} was not adapted', allowed='files that `vireid adapt` wrote')
    if not all(name in content['model'] and content['model'][name].shape == t.shape for name, t in before.items()):
        raise DamagedFile(
            f'{checkpoint} is damaged: its statistics from before adaptation do not match its weights',
            todo='use the checkpoint that was adapted, or a copy of this one',
        )
    weights, chosen = _origin(content), content['adapted'].get('chosen', '')
    content['model'] = {**content['model'], **before}
    for key in ('adapted', 'before_adapting', 'chosen'):
        content.pop(key, None)
    checkpoints.save(out, {**content, **({'chosen': chosen} if chosen else {})})
    return weights


def _find_necks(model: Any) -> tuple[list[str], list[str]]:
    """Returns the necks of the embedding that can be fitted without identities, and those that need identities."""
    if not Model.fit_necks(model):
        return [], []
    fitted = model.fitted_necks
    supervised = [name for name in fitted if Neck.needs_identities(model.necks[name])]
    return [name for name in fitted if name not in supervised], supervised


def _kept(model: nn.Module, content: Mapping[str, Any], frozen: Sequence[str], supervised: Sequence[str]) -> list[str]:
    """Lists parts whose statistics must not or cannot be re-estimated."""
    kept = []
    if frozen:
        kept.append(f'{counted(len(frozen), "BatchNorm layer")}: frozen in training')
    kept += [f'neck {name}: fitted to labeled images' for name in supervised]
    if Model.fit(model) and not Model.fit_necks(model):
        kept.append(f'fitted values of {type(model).__name__}: fitting may need labeled images')
    if content.get('similarity'):
        kept.append('the similarity: fitted to training images')
    return kept


def _nothing_to_estimate(checkpoint: str | Path, kept: Sequence[str]) -> UnsupportedFile:
    given = f'the embedding of {checkpoint} has no statistics'
    if kept:
        given = f'no statistics of {checkpoint} can be re-estimated: {"; ".join(kept)}'
    return UnsupportedFile(
        given,
        allowed='BatchNorm layers not frozen by training.freeze, or necks fitted without labels (ModalityCentering)',
        todo='use the checkpoint as it is',
    )


def _adapted(
    content: Mapping[str, Any], model: nn.Module, images: Mapping[Modality, int], folder: str, layers: list[str]
) -> dict[str, Any]:
    """Returns the content of the new checkpoint."""
    weights = dict(content['model'])
    before = {}
    for name, tensor in model.state_dict().items():
        if not _same_bits(tensor.cpu(), weights[name]):
            before[name], weights[name] = weights[name], tensor.cpu().clone()
    earlier = content.get('adapted', {})
    about = {
        'images': dict(images),
        'folder': folder,
        'layers': layers,
        'chosen': earlier.get('chosen', '') if earlier else content.get('chosen') or '',
    }
    return {
        **content,
        'model': weights,
        'adapted': about,
        'before_adapting': {
            **before,
            **content.get('before_adapting', {}),
        },  # the earliest values are those of training
        'chosen': f'{_origin(content)}, adapted to {_numbers(images)}',
    }


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.flatten().view(torch.uint8), b.flatten().view(torch.uint8))


def _origin(content: Mapping[str, Any]) -> str:
    """Describes the weights before adaptation."""
    step = content.get('progress', {}).get('step', 0)
    return content.get('adapted', content).get('chosen') or f'after step {step:,}'


def _numbers(images: Mapping[Modality, int]) -> str:
    return f'{" and ".join(f"{images[m]:,} {m}" for m in MODALITIES)} images'


def _require_new(out: Path) -> None:
    if out.exists():
        raise AlreadyExists(f'{out} already exists', todo='choose another file with -o')
