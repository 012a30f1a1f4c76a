"""The kinds of components, and what the framework hands to each."""

from __future__ import annotations

KINDS = (
    'models',
    'translators',
    'backbones',
    'necks',
    'heads',
    'poolings',
    'losses',
    'weighters',
    'datasets',
    'readers',
    'protocols',
    'similarities',
    'rerankers',
    'samplers',
    'transforms',
    'steps',
    'optimizers',
    'schedules',
    'loggers',
)

_MODEL = {'num_identities', 'pretrained', 'image_size', 'modalities', 'training', 'steps_per_epoch', 'across_ranks'}
_CONTEXT: dict[str, set[str]] = {
    **dict.fromkeys(('models', 'translators', 'backbones'), _MODEL),
    **dict.fromkeys(('necks', 'heads', 'poolings', 'losses'), _MODEL | {'inputs'}),
    'weighters': _MODEL | {'task_names', 'other_tasks'},
    'similarities': {'model'},
    'samplers': {'samples', 'seed', 'rank', 'world_size'},
    'readers': {'samples', 'first', 'first_config', 'decode', 'on_progress'},
    'steps': {'model', 'fabric', 'components'},
    'optimizers': {'params'},
    'schedules': {'optimizer'},
}
# what the framework may hand to a component of each kind; a config may not set these
CONTEXT = {kind: {*_CONTEXT.get(kind, ()), 'build_part'} for kind in KINDS}
# what the framework fills in unless the config does
DEFAULTS = {'transforms': {'size'}}
