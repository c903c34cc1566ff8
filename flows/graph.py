"""DVC's graph as the flow needs it: what to run, in which order, after what. DVC itself reads and orders it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

from systems.parts.errors import UserError


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
    """One DVC stage: its short name, the address DVC knows it by from here, and the addresses it runs after."""

    name: str
    address: str
    needs: frozenset[str]


def plan(selection: Selection) -> list[Step]:
    """Steps in the order in which `dvc repro` would run them. Unknown targets and broken files are refused."""
    try:
        with Repo() as repo:
            return _ordered(repo, selection)
    except DvcException as error:
        raise UserError(f"dvc: {error}") from error


def _ordered(repo: Repo, chosen: Selection) -> list[Step]:
    graph = get_active_graph(repo.index.graph)
    whole = chosen.pipeline or chosen.all_pipelines
    targets = [] if chosen.all_pipelines else list(chosen.targets) or ["dvc.yaml"]
    stages = collect_stages(repo, targets, recursive=chosen.recursive, glob=chosen.glob)
    if not (chosen.single_item and not whole):
        downstream = chosen.downstream and not whole
        stages = plan_repro(graph, stages, pipeline=chosen.pipeline, downstream=downstream)
    inside = {stage.addressing for stage in stages}
    return [
        Step(
            getattr(stage, "name", stage.addressing),
            stage.addressing,
            frozenset(needed.addressing for needed in graph.successors(stage)) & inside,
        )
        for stage in stages
    ]
