"""A checkpoint adapted to other cameras: its statistics are taken anew from their images, which need no labels.

Normalisation by the statistics of the new domain is AdaBN (Li et al., 2017). No parameter changes. The new file keeps
the statistics of training, and `revert` brings them back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.utilities import move_data_to_device
from torch import Tensor, nn

from vireid.core.data.image_set import ImageSet
from vireid.core.data.images import decoder
from vireid.core.data.loader import default_workers, evaluation_loader
from vireid.core.data.randomness import seeded
from vireid.core.errors import VireidError
from vireid.core.registry.contracts import located
from vireid.core.training import checkpoint as checkpoints
from vireid.core.types import MODALITIES, Batch, Modality
from vireid.core.wording import counted
from vireid.exchange.models import load
from vireid.exchange.norm_statistics import augmented, balanced_batches, estimate_norms, find_norms
from vireid.exchange.unlabelled_images import find_images
from vireid.interfaces import Model, Neck
from vireid.launch.image_checks import check_images

OnProgress = Callable[[str, int, int], None]  # what is done, and how much of how much


@dataclass(frozen=True)
class Adaptation:
    """What `adapt` did.

    Attributes:
        out: the new checkpoint.
        images: how many images there are, by modality.
        drawn: how many of each modality went through the network for BatchNorm's statistics; the smaller modality was
            gone through again until there were as many. 0 if it has no BatchNorm to estimate.
        norms: names of the BatchNorm layers with new statistics.
        necks: names of the necks that were fitted.
        kept: what has statistics and stays as it is, and why.
        weights: which weights these are now, as tables say it.
    """

    out: Path
    images: dict[Modality, int]
    drawn: int
    norms: tuple[str, ...]
    necks: tuple[str, ...]
    kept: tuple[str, ...]
    weights: str

    def text(self) -> str:
        """Returns the same in words, a line for each thing."""
        lines = [f'images       {_numbers(self.images)}']
        for modality, count in self.images.items():
            if count < self.drawn:
                times = f'{self.drawn / count:.3g} times'
                lines.append(f'             the {modality} ones were gone through {times}, so that both count alike')
        estimated = [f'mean and variance of {counted(len(self.norms), "BatchNorm layer")}'] if self.norms else []
        estimated += [f'neck {name}' for name in self.necks]
        lines += [f'estimated    {", ".join(estimated)}', *(f'as it was    {line}' for line in self.kept)]
        return '\n'.join([*lines, f'weights      {self.weights}'])


def adapt(
    checkpoint: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    plugins: Sequence[str | Path] = (),
    on_progress: OnProgress = lambda what, done, total: None,
) -> Adaptation:
    """Estimates a checkpoint's statistics anew from images of other cameras, and writes another checkpoint.

    BatchNorm: mean and unbiased variance over all positions of all batches, each normalised by its own statistics. The
    images pass through the transforms of training, as those did whose statistics they replace: padding, say, is part
    of what a network was trained with. Batches hold as many visible as infrared images, in an order that depends on
    the config's seed alone. Layers that the embedding does not use, or that training kept frozen, stay as they are.
    Then the embedding's necks are fitted that have a `fit`, to images as they are scored, unless they set
    `needs_identities`.

    Args:
        checkpoint: a checkpoint of a run, or one that was adapted: the statistics of training are kept.
        images: a folder with `visible/` and `infrared/`, which hold images in folders of any depth and name; or a CSV
            table with the columns `path`, from its folder or absolute, and `modality`.
        out: the file to write; it may not be there.
        split: takes those rows of the table alone whose column `split` says so.
        plugins: Python files with components of the model, as in `load`.
        on_progress: called with what is being done, and (done, total).

    Returns:
        What was done.

    Raises:
        VireidError: if the checkpoint is none, `out` exists, images are missing or cannot be read, or the embedding has
            no statistics to estimate.
    """
    out = Path(out)
    _require_new(out)
    content = checkpoints.load(checkpoint)
    samples = find_images(Path(images).expanduser(), split)
    counts = {m: sum(s.modality == m for s in samples) for m in MODALITIES}
    model: Any = load(checkpoint, plugins)
    experiment = model.experiment
    settings = replace(experiment.images, reader=None)  # a cache is of the images of training
    try:
        check_images(settings, (), samples, lambda done, total: on_progress('looking at images', done, total))
    except VireidError as error:
        raise VireidError(error.given, todo='replace them, or take them away') from error
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model.to(device)
    size, decode = experiment.evaluation.batch_size, decoder(settings)
    trained = ImageSet(samples, experiment.build_transform('train'), seed=experiment.seed, read=decode)
    tested = ImageSet(samples, experiment.build_transform('test'), read=decode)
    workers = default_workers(device) if settings.workers is None else settings.workers

    def batches(data: ImageSet, keys: Sequence[Sequence[Any]], what: str, processes: int = workers) -> _Batches:
        return _Batches(data, keys, processes, device, lambda done: on_progress(what, done, len(keys)))

    with seeded(experiment.seed, 'adapt'):
        first = [next(i for i, s in enumerate(samples) if s.modality == m) for m in MODALITIES]
        norms, frozen = find_norms(model, next(iter(batches(tested, [first], 'looking at the network', 0))).images)
        necks, labelled = _find_necks(model)
        kept = _kept(model, content, frozen, labelled)
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
    """Writes the checkpoint that an adapted one was made from, with its weights bit for bit.

    Args:
        checkpoint: what `adapt` wrote.
        out: the file to write; it may not be there.

    Returns:
        Which weights these are, as tables say it.

    Raises:
        VireidError: if the checkpoint was not adapted, or `out` exists.
    """
    out = Path(out)
    _require_new(out)
    content = checkpoints.load(checkpoint)
    before = content.get('before_adapting')
    if not isinstance(before, dict) or not isinstance(content.get('adapted'), dict):
        raise VireidError(f'{checkpoint} was not adapted', allowed='files that `vireid adapt` wrote')
    if not all(name in content['model'] and content['model'][name].shape == t.shape for name, t in before.items()):
        raise VireidError(f'{checkpoint} is damaged: what it keeps of before adapting does not fit its weights')
    weights, chosen = _origin(content), content['adapted'].get('chosen', '')
    content['model'] = {**content['model'], **before}
    for key in ('adapted', 'before_adapting', 'chosen'):
        content.pop(key, None)
    checkpoints.save(out, {**content, **({'chosen': chosen} if chosen else {})})
    return weights


class _Batches:
    """Batches of images on a device; they may be gone through several times."""

    def __init__(
        self,
        data: ImageSet,
        keys: Sequence[Sequence[Any]],
        workers: int,
        device: torch.device,
        tell: Callable[[int], None],
    ) -> None:
        self.data, self.keys, self.workers, self.device, self.tell = data, keys, workers, device, tell

    def __iter__(self) -> Iterator[Batch]:
        self.tell(0)
        for done, batch in enumerate(evaluation_loader(self.data, self.keys, self.workers), 1):
            yield move_data_to_device(batch, self.device)
            self.tell(done)


def _find_necks(model: Any) -> tuple[list[str], list[str]]:
    """Returns the embedding's necks with a `fit`: those that do without identities, and those that do not."""
    if not Model.fit_necks(model):
        return [], []
    fitted = model.fitted_necks
    labelled = [name for name in fitted if Neck.needs_identities(model.necks[name])]
    return [name for name in fitted if name not in labelled], labelled


def _kept(model: nn.Module, content: Mapping[str, Any], frozen: Sequence[str], labelled: Sequence[str]) -> list[str]:
    """Says what has statistics that cannot or may not be estimated anew."""
    kept = []
    if frozen:
        kept.append(f'{counted(len(frozen), "BatchNorm layer")}: frozen in training')
    kept += [f'neck {name}: fitted to labelled images' for name in labelled]
    if Model.fit(model) and not Model.fit_necks(model):
        kept.append(f'what {type(model).__name__} fits: it may need labelled images')
    if content.get('similarity'):
        kept.append('the similarity: fitted to training images')
    return kept


def _nothing_to_estimate(checkpoint: str | Path, kept: Sequence[str]) -> VireidError:
    given = f'the embedding of {checkpoint} has no statistics'
    if kept:
        given = f'everything that has statistics in {checkpoint} stays as it is: {"; ".join(kept)}'
    return VireidError(
        given,
        allowed='BatchNorm layers that training.freeze leaves free, or necks fitted without labels (ModalityCentering)',
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
        'before_adapting': {**before, **content.get('before_adapting', {})},  # the first ones are those of training
        'chosen': f'{_origin(content)}, adapted to {_numbers(images)}',
    }


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.flatten().view(torch.uint8), b.flatten().view(torch.uint8))


def _origin(content: Mapping[str, Any]) -> str:
    """Says which weights those before adapting are."""
    step = content.get('progress', {}).get('step', 0)
    return content.get('adapted', content).get('chosen') or f'after step {step:,}'


def _numbers(images: Mapping[Modality, int]) -> str:
    return f'{" and ".join(f"{images[m]:,} {m}" for m in MODALITIES)} images'


def _require_new(out: Path) -> None:
    if out.exists():
        raise VireidError(f'{out} exists already', todo='name another file with -o; no checkpoint is written over')
