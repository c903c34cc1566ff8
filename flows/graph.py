"""DVC's graph as the flow needs it: what to run, in which order, after what. DVC itself reads and orders it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

from systems.parts.errors import UserError

if TYPE_CHECKING:
    from dvc.stage import Stage
    from networkx import DiGraph


@dataclass(frozen=True)
class Selection:
    """Which stages a command means, in the words of `dvc repro`."""

    targets: Sequence[str] = ()
    single_item: bool = False
    pipeline: bool = False
    all_pipelines: bool = False
    recursive: bool = False
    downstream: bool = False
    glob: bool = False


@dataclass(frozen=True)
class Step:
    """One DVC stage: its short name, the address DVC knows it by from here, and the addresses it runs after.

    `needs` are the stages whose outputs it takes: when one fails, it is not reached. `after` are those and the stages
    that only must not run at the same time, as a frozen stage and what it would read.
    """

    name: str
    address: str
    needs: frozenset[str]
    after: frozenset[str] = frozenset()


class Planned(NamedTuple):
    """A step with DVC's stage and the stages whose outputs that takes, inside the plan or not."""

    step: Step
    stage: Stage
    upstream: Sequence[Stage]


def plan(selection: Selection) -> list[Step]:
    """Steps in the order in which `dvc repro` would run them. Unknown targets and broken files are refused."""
    try:
        with Repo() as repo:
            return [planned.step for planned in select(repo, selection)]
    except DvcException as error:
        raise UserError(f"dvc: {error}") from error


def select(repo: Repo, chosen: Selection) -> list[Planned]:
    """The steps of `plan` with what DVC knows of each."""
    whole = chosen.pipeline or chosen.all_pipelines
    alone = chosen.single_item and not whole
    full = repo.index.graph
    active = get_active_graph(full)
    stages = [] if chosen.all_pipelines else _collect(repo, chosen)
    if not alone:
        downstream = chosen.downstream and not whole
        stages = plan_repro(active, stages, pipeline=chosen.pipeline, downstream=downstream)
    return _steps(stages, full, None if alone else active)


def _collect(repo: Repo, chosen: Selection) -> list[Stage]:
    """Stages that the targets name. Whole files are taken from the index; DVC would read them a second time."""
    found: list[Stage] = []
    for target in chosen.targets or ["dvc.yaml"]:
        path = os.path.abspath(target)  # noqa: PTH100 - as DVC makes it, links unresolved
        inside = [stage for stage in repo.index.stages if stage.path == path]
        found += inside or collect_stages(repo, [target], recursive=chosen.recursive, glob=chosen.glob)
    return list(dict.fromkeys(found))


def _steps(stages: Sequence[Stage], full: DiGraph, active: DiGraph | None) -> list[Planned]:
    """A single item takes nothing from others, as in DVC, but still waits for those listed before it."""
    position = {stage: place for place, stage in enumerate(stages)}
    steps = []
    for stage, place in position.items():
        upstream = list(active.successors(stage)) if active else []
        needs = [needed for needed in upstream if needed in position]
        near = [*full.successors(stage), *full.predecessors(stage)] if stage in full else []
        after = {*needs, *(other for other in near if position.get(other, place) < place)}
        name = getattr(stage, "name", None) or stage.addressing
        names = (frozenset(other.addressing for other in group) for group in (needs, after))
        steps.append(Planned(Step(name, stage.addressing, *names), stage, upstream))
    return steps
