"""Inserts: necks between the blocks and stages of a backbone, such as non-local blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.registry.signature import names_argument
from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch, UnknownName, WrongValue, did_you_mean
from vireid.interfaces import Neck

After = str | dict[str, Annotated[int, Ge(1)]]
InsertConfig = Annotated[dict | None, Component('necks', after=After, with_input=bool)]
Inserts = dict[str, InsertConfig]


class Stage(nn.Sequential):
    """The blocks of a stage with inserts between them.

    Blocks keep their names, so weights trained without inserts still load; an insert is named after the block before
    it, such as `non_local2`.

    Args:
        parts: blocks and inserts, in execution order.
        inserts: names of the inserts, each with whether it also reads the input of the stage.
    """

    def __init__(self, parts: OrderedDict[str, nn.Module], inserts: Mapping[str, bool]) -> None:
        super().__init__(parts)
        self.inserts = dict(inserts)

    def forward(self, x: Tensor, context: Context) -> Tensor:  # type: ignore[override]
        """Maps the (B, C, H, W) input of the stage to its (copies * B, C', H', W') output."""
        first = x
        for name, part in self.named_children():
            if name not in self.inserts:
                x = part(x)
                continue
            x = part(first, x, context=context) if self.inserts[name] else part(x, context=context)
            context = context.copied(context.copies * _copies(part))
        return x

    @property
    def copies(self) -> int:
        """Rows that the stage returns for each row it receives."""
        product = 1
        for name in self.inserts:
            product *= _copies(self.get_submodule(name))
        return product


def _copies(insert: Any) -> int:
    return insert.output.copies


def stage_of(config: Mapping[str, Any], name: str) -> dict[str, int]:
    """Returns the stages of an insert, each with the number of blocks that it follows."""
    after = config.get('after', name)
    return {after: 1} if isinstance(after, str) else dict(after)


def add_inserts(
    stages: Mapping[str, nn.Module],
    inserts: Mapping[str, Mapping[str, Any] | None],
    specs: Mapping[str, FeatureSpec],
    build_part: BuildPart,
) -> dict[str, Stage]:
    """Builds inserts and returns the stages that have any.

    Args:
        stages: the stages by name, each a sequence of blocks.
        inserts: config of each insert by name, with `after`: the stage that it follows (by default its name), or a dict
            with the number of the stage's last blocks to insert it after; a stage with fewer blocks gets one after
            each. `with_input` also passes it the input of the stage, before the output. Set to None, it is removed.
        specs: spec of the output of each stage, as one tensor.
        build_part: builds an insert.

    Raises:
        VireidError: if a stage does not exist, or an insert changes the shape of the map.
    """
    plans: dict[str, Stage] = {}
    for stage, blocks in stages.items():
        before = f'stage{int(stage.removeprefix("stage")) - 1}'
        parts, reads = OrderedDict[str, nn.Module](), dict[str, bool]()
        copies = 1
        for position, (block_name, block) in enumerate(blocks.named_children()):
            parts[block_name] = block
            for name, config in inserts.items():
                count = stage_of(config, name).get(stage, 0) if config is not None else 0
                if config is None or position < len(list(blocks.children())) - count:
                    continue
                with_input = config.get('with_input', False)
                if with_input and copies > 1:
                    raise Mismatch(
                        f'{build_part.where}.inserts.{name} reads the input of {stage}, which has fewer rows than its '
                        'output after another insert',
                        todo='put it before the insert that adds rows',
                        path=f'{build_part.where}.inserts.{name}',
                    )
                reads_from = [before, stage] if with_input else [stage]
                if with_input and before not in specs:
                    raise Mismatch(
                        f'{build_part.where}.inserts.{name} reads the input of {stage}, whose shape is unknown in this '
                        'backbone',
                        todo='insert it after a later stage',
                        path=f'{build_part.where}.inserts.{name}',
                    )
                insert = _build(build_part, name, config, tuple(specs[read] for read in reads_from), stage)
                parts[f'{name}{block_name}'], reads[f'{name}{block_name}'] = insert, with_input
                copies *= insert.output.copies
        if reads:
            plans[stage] = Stage(parts, reads)
    return plans


def require_stages(inserts: Mapping[str, Any], stages: Sequence[str], one_block: bool, where: str) -> None:
    """Checks the stages that inserts follow.

    Args:
        inserts: config of each insert.
        stages: names of the stages of the backbone.
        one_block: whether an insert can only follow the last block of a stage.
        where: config path of the backbone.

    Raises:
        VireidError: if a stage does not exist, or an insert would follow several blocks where it cannot.
    """
    for name, config in inserts.items():
        for stage, count in stage_of(config, name).items() if config is not None else ():
            if one_block and count > 1:
                raise WrongValue(
                    f'{where}.inserts.{name} follows {count} blocks of {stage}, whose shapes may differ here',
                    allowed=f"the end of a stage: after='{stage}'",
                    path=f'{where}.inserts.{name}',
                )
            if stage not in stages:
                raise UnknownName(
                    f'{where}.inserts.{name} follows {stage!r}, which is not a stage up to the last of out_stages'
                    f'{did_you_mean(stage, stages)}',
                    allowed=', '.join(stages),
                    todo=f"set {where}.inserts.{name}.after, such as 'stage3'",
                    path=f'{where}.inserts.{name}',
                )


def _build(
    build_part: BuildPart, name: str, config: Mapping[str, Any], specs: tuple[FeatureSpec, ...], stage: str
) -> Any:
    where, output = f'{build_part.where}.inserts.{name}', specs[-1]
    own = {key: value for key, value in config.items() if key not in ('after', 'with_input')}
    insert = build_part('necks', own, f'inserts.{name}', inputs=specs)
    spec: FeatureSpec = insert.output
    problem = None
    if replace(spec, copies=1, size=spec.size or output.size) != output:
        problem = f'turns a {_shape(output)} into a {_shape(spec)}, but the next block needs the same map'
    elif Neck.train_only(insert) or Neck.fit(insert) or Neck.layout(insert) == 'paired':
        problem = 'is train-only, fitted, or reads paired features, which an insert cannot be'
    elif names_argument(insert, 'progress'):
        problem = 'needs progress, which a backbone does not receive'
    if problem:
        raise Mismatch(f'{where} after {stage}: {config["type"]} {problem}', path=where)
    return insert


def _shape(spec: FeatureSpec) -> str:
    size = f' of {spec.size[0]} x {spec.size[1]}' if spec.size else ''
    return f'{spec.kind} with {spec.channels} channels{size}'
