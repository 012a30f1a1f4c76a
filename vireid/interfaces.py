"""The interface of each component kind: constructor arguments, required members, and optional members.

This is the single definition. The registry checks it when it builds a component, `vireid.testing.check_plugin` tests
it, and docs/architecture.md is generated from it. Inheriting from an interface is optional: only its members matter.

Methods and `Must` members are required; a `May` member is optional and states its default. The framework passes the
values listed in `given` to constructors that have a parameter of that name; a config cannot set them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from vireid.core.types import FeatureSpec, Modality, Progress, Sample, Trial
from vireid.interface_members import Interface, May, Must, all_of_type, of_type
from vireid.launcher_types import JobCommand, JobState

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vireid.core.types import Batch

_MODEL = ('num_identities', 'pretrained', 'image_size', 'modalities', 'training', 'steps_per_epoch', 'across_ranks')


Fit = Callable[..., None]


class Model(Interface):
    """Embeds images. Training also requires `forward(batch)`, which returns a dict of scalar losses by task."""

    given = _MODEL
    module = True
    fit = May[Fit | None](None, 'fit(batches): estimate statistics of the training images; called before scoring')
    embed_joint = May[Callable[..., Any] | None](None, 'embed_joint({modality: images}): embed modalities together')
    weighter = May[Any](None, 'the module that weights the task losses')
    task_names = May[Sequence[str] | None](None, 'names of the tasks that forward returns')
    across_ranks = May(False, 'whether the losses see the images of all processes')
    changes = May[Sequence[int]]((), 'epochs after 0 at which the set of active parts of the model changes')
    config_path = May[Callable[[str], str] | None](None, 'config_path(module): its key in the `model` section')
    modalities = May[Sequence[Modality] | None](None, 'modalities of the images that forward needs')
    backbone = May[Any](None, 'the backbone, whose `outputs` are the feature maps shown in reports')
    translators = May[Mapping[str, Any]]({}, 'the translators by name')
    fit_necks = May[Callable[..., None] | None](None, 'fit_necks(names, batches): fit only these necks')
    swap_grid = May[Callable[..., Any] | None](
        None, 'swap_grid(batch, rows, columns): decode each pair of a row image and a column image, for reports'
    )

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Returns (B, D) embeddings of (B, 3, H, W) float32 images of one modality."""
        raise NotImplementedError


class Translator(Interface):
    """Transforms a batch before the backbone: changes its images, or adds images of an auxiliary modality, or maps.

    If `forward` has an argument `needed`, it receives the names of the features that are read, to skip other maps.
    """

    given = _MODEL
    module = True
    modalities = Must[Mapping[Modality, int]]('a dict of channels by modality, after the translator', all_of_type(int))
    maps = May[Mapping[str, FeatureSpec]]({}, 'specs of the paired maps that it adds to `batch.maps`, for heads')
    train_only = May(False, 'whether it is skipped outside training')


class Backbone(Interface):
    """Maps a dict of images by modality to a dict of named features."""

    given = _MODEL
    module = True
    outputs = Must[Mapping[str, FeatureSpec]]('a dict of FeatureSpec by feature name', all_of_type(FeatureSpec))


class Neck(Interface):
    """Combines features into one: `forward(*features, context) -> Tensor`."""

    given = (*_MODEL, 'inputs')
    module = True
    output = Must[FeatureSpec]('a FeatureSpec', of_type(FeatureSpec))
    layout = May('joint', 'layout of the inputs: `joint`, `paired` or `any`; a class attribute')
    train_only = May(False, 'whether it is skipped outside training, for a neck that uses identities')
    fit = May[Fit | None](None, 'fit(*features, context): estimate statistics of all training images')
    needs_identities = May(False, 'whether fit uses the identities in the context')


class Head(Interface):
    """Maps features to a `HeadOutput`, or a dict of them, for the losses of one task."""

    given = (*_MODEL, 'inputs')
    module = True
    embedding_dim = Must[int]('the embedding dimension D, an integer', of_type(int))
    layout = May('joint', 'layout of the inputs, as for necks; with `paired`, outputs may have any number of rows')
    outputs = May[Mapping[str, int]]({'global': 0}, 'number of parts by output; 0 for a single vector')
    train_only = May(False, 'whether it produces no embedding; embed and embedding_dim are then not required')

    def embed(self, *features: Tensor) -> Tensor:
        """Returns the (B, D) embedding."""
        raise NotImplementedError


class Pooling(Interface):
    """Pools a (B, C, H, W) feature map to (B, C)."""

    given = (*_MODEL, 'inputs')
    module = True


class Loss(Interface):
    """Computes a scalar from a `HeadOutput` and (B,) int64 labels."""

    given = (*_MODEL, 'inputs')
    module = True
    reads_parts = May(True, 'whether it accepts (B, P, C) features of P parts')
    least_copies = May(1, 'minimum number of rows per image')


class Weighter(Interface):
    """Weights losses: `forward(tasks, progress) -> (total, weights)`. `tasks` may omit some; keep state in buffers."""

    given = (*_MODEL, 'task_names', 'other_tasks')
    module = True
    curves = May['Callable[[], Mapping[str, Mapping[str, Tensor]]]'](
        dict, 'curves(): values to plot, by title and task'
    )


class Dataset(Interface):
    """Reads one dataset. Result tables show its registered name."""

    root = May[Any](None, 'the dataset folder')
    split_name = May('', 'the split in use if the dataset has several, such as `split 3`')
    cameras = May[Mapping[Modality, Sequence[int]] | None](None, 'cameras by modality, for dry runs')
    expected = May[dict[str, Any]]({}, 'counts in a complete copy, by split: identities, visible, infrared images')
    recognized_by = May[Sequence[str]]((), 'on the class: paths in its folder, any of which identifies the dataset')
    names = May[dict[int, str]]({}, 'user-defined identity names by number')
    own_images = May(False, "whether these are the user's own images, without a published split")
    passed_over = May[Sequence[str]]((), 'what was skipped, one line per item')
    other_columns = May[Sequence[str]]((), 'table columns that are not used')

    def split(self, name: str) -> Sequence[Sample]:
        """Returns the samples of `train`, `val` or `test`, visible first, in a fixed order."""
        raise NotImplementedError


class Reader(Interface):
    """Loads the image at a path as (3, H, W) uint8; the constructor may prepare all images."""

    given = ('samples', 'first', 'first_config', 'decode', 'on_progress')
    reaches_out = May(False, "whether it writes outside the run's folder")
    digests = May[Callable[..., Any] | None](None, 'digests(paths): checksums of files it has read')


class EvaluationProtocol(Interface):
    """Defines the query and gallery images of each trial."""

    name = Must[str]('a string, printed with every result', of_type(str))

    def trials(self, dataset: Any) -> Sequence[Trial]:
        """Returns all trials on the test split of a dataset."""
        raise NotImplementedError


class Similarity(Interface):
    """Replaces cosine similarity for ranking: a learned metric, or a network that compares images."""

    given = ('model',)
    name = Must[str]('a string, printed with the protocol', of_type(str))
    fit = May[Fit | None](None, 'fit(embeddings): learn from training images; requires state_dict, load_state_dict')

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
        """Takes (Q, D) and (G, D) normalized embeddings; returns a function from a slice of queries to (q, G)."""
        raise NotImplementedError


class Reranker(Interface):
    """Recomputes similarities from all query and gallery embeddings."""

    name = Must[str]('a string, printed with its metrics', of_type(str))

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
        """Takes (Q, D) and (G, D) embeddings; returns a function from a slice of queries to (q, G)."""
        raise NotImplementedError


class Sampler(Interface):
    """Draws training batches as a pure function of (seed, epoch)."""

    given = ('samples', 'seed', 'rank', 'world_size')
    identities = May[int | None](None, 'number of identities per batch and process')

    def __len__(self) -> int:
        """Returns the number of batches per epoch."""
        raise NotImplementedError

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """Returns the batches of an epoch as indices into the training samples."""
        raise NotImplementedError


class Transform(Interface):
    """Maps an image to an image; the call may have a `modality` argument."""

    defaults = ('size',)
    whole_batch = May(False, 'whether it also accepts (B, 3, H, W) images, on any device, and treats all of them alike')


class Step(Interface):
    """Updates the model on one batch; returns a dict with `loss`, a float."""

    given = ('model', 'fabric', 'components')
    epoch_ended = May[Callable[[Progress], None]](
        lambda progress: None, 'epoch_ended(progress): called after each epoch'
    )
    ema_weights = May[Callable[[], AbstractContextManager[None]] | None](
        None, 'ema_weights(): context manager that swaps in the weights to score and save'
    )
    schedules = May[Sequence[Any]]((), 'the learning-rate schedules')
    order = May[Sequence[Any]]((), 'the order in which several optimizers step')
    resumable = May[Sequence[str]]((), 'patterns of settings that may change when a run is resumed')

    def __call__(self, batch: Batch, progress: Progress) -> Mapping[str, Any]:
        """Updates the model; `progress` is the position before this step."""
        raise NotImplementedError

    def state_dict(self) -> Mapping[str, Any]:
        """Returns the state as tensors and plain values."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a state."""
        raise NotImplementedError


class Optimizer(Interface):
    """A `torch.optim` optimizer."""

    given = ('params',)


class Schedule(Interface):
    """A `torch.optim.lr_scheduler` schedule."""

    given = ('optimizer',)


class Logger(Interface):
    """A callback that implements any of the run hooks in `vireid/plugin_manager/hooks.py`."""

    reaches_out = May(False, 'whether it contacts a server')


class Index(Interface):
    """Finds the images of a gallery that are most similar to a query; vireid stores the embeddings and the filters.

    The number of an image is its row in the file of embeddings. Numbers of removed images are reused.
    """

    given = ('folder', 'length')
    reaches_out = May(False, 'whether it contacts a server')

    def update(self, vectors: np.ndarray, live: np.ndarray, changed: Sequence[Any], removed: np.ndarray) -> None:
        """Applies changes; called again with the same changes after a crash.

        `vectors` is (N, D) float16 of norm 1; `live` are the numbers in use; `changed` are the new entries, with `row`,
        `modality`, `camera` and `time`; `removed` are numbers that are no longer in use. An index that takes long may
        have a fifth argument `on_progress`, and call it with the number of images done and their total.
        """
        raise NotImplementedError

    def search(
        self, vectors: np.ndarray, queries: np.ndarray, top: int, rows: np.ndarray | None, where: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (Q, k) float32 cosine similarities and (Q, k) int64 numbers, best first, -1 for none.

        `queries` is (Q, D) float32 of norm 1; `rows` are the sorted numbers to search, None for all; `where` is the
        filter that selects them.
        """
        raise NotImplementedError


class Detector(Interface):
    """Finds people in the frames of a video."""

    given = ('device',)

    def __call__(self, images: Sequence[Tensor]) -> Sequence[tuple[Tensor, Tensor]]:
        """Returns the boxes and scores of the people in each image.

        An image is (3, H, W) uint8 in RGB, on the CPU. Boxes are (N, 4) float: left, top, right and bottom in pixels.
        Scores are (N,) float.
        """
        raise NotImplementedError


class Launcher(Interface):
    """Runs the commands of a study, several at once. On SIGTERM, a command saves and exits with status 143."""

    given = ('jobs', 'folder')

    def submit(self, commands: Sequence[JobCommand]) -> None:
        """Starts or queues the commands; the launcher may write to `folder`, the folder of the study.

        Called again with other commands once these have ended: a table trains its common start before its rows.
        """
        raise NotImplementedError

    def states(self) -> Sequence[JobState]:
        """Returns the state of each command, in order; called about once a second."""
        raise NotImplementedError

    def stop(self) -> bool:
        """Sends SIGTERM to the running commands, so that they save and exit, and starts no others; returns True.

        If the commands continue without this process and a later `submit` finds them, does nothing and returns False.
        """
        raise NotImplementedError


INTERFACES: dict[str, type[Interface]] = {
    'models': Model, 'translators': Translator, 'backbones': Backbone, 'necks': Neck, 'heads': Head,
    'poolings': Pooling, 'losses': Loss, 'weighters': Weighter, 'datasets': Dataset, 'readers': Reader,
    'protocols': EvaluationProtocol, 'similarities': Similarity, 'rerankers': Reranker, 'samplers': Sampler,
    'transforms': Transform, 'steps': Step, 'optimizers': Optimizer, 'schedules': Schedule, 'loggers': Logger,
    'indexes': Index, 'detectors': Detector, 'launchers': Launcher,
}  # fmt: skip
KINDS = tuple(INTERFACES)


def given(kind: str) -> set[str]:
    """Returns the arguments that the framework passes to a component of this kind; a config cannot set them."""
    return {*INTERFACES[kind].given, 'build_part'}
