"""What a stage takes along to another machine and brings back, over DVC's remote.

Outputs in DVC's cache go from cache to cache. Those with `cache: false` go the same way under their hash, but from
workspace to workspace; no cache learns of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotSupported
from dvc.stage.loader import StageLoader
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.serialize import dumps_yaml
from dvc_data.hashfile import load
from dvc_data.hashfile.build import build
from dvc_data.hashfile.checkout import checkout
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.transfer import transfer

from flows.project import Project, pull_run_cache
from systems.parts.errors import UserError

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.stage import Stage
    from dvc_data.hashfile.db import HashFileDB

Entry = dict[str, Any]
"""An output as dvc.lock has it."""


@dataclass(frozen=True)
class Parcel:
    """Objects to bring from one store to another. Made where DVC's objects are used, carried by any thread."""

    source: HashFileDB
    target: HashFileDB
    objects: frozenset[HashInfo]

    def carry(self) -> None:
        """Bring what is not there yet; what cannot be found or brought is an error."""
        lost: list[HashInfo] = []
        ended = transfer(
            self.source,
            self.target,
            self.objects,
            shallow=False,
            verify=self.source.verify,
            validate_status=lambda status: lost.extend(status.missing),
        )
        if bad := [*lost, *ended.failed]:
            where = self.target.fs.unstrip_protocol(self.target.path)
            raise UserError(f"{bad[0].obj_name or bad[0].value}: cannot be brought to {where}")


def inputs(stage: Stage) -> str:
    """What a stage runs on, in the words of dvc.lock: its command, hashes of dependencies, values of parameters."""
    entry = to_single_stage_lockfile(stage)
    entry.pop("outs", None)
    return str(dumps_yaml(entry))


def agree(wanted: str, stage: Stage, where: str) -> None:
    """Refuse a stage whose inputs are not as `wanted`; names the first that differs.

    DVC shall still see what has changed since dvc.lock was written: else it takes old outputs for new ones.
    """
    locked = [(dep, dep.hash_name, dep.hash_info, dep.meta) for dep in stage.deps]
    stage.save_deps()
    found = inputs(stage)
    for dep, *said in locked:
        dep.hash_name, dep.hash_info, dep.meta = said
    if found != wanted:
        old, new = wanted.splitlines(), found.splitlines()
        place = next((n for n, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), -1)
        name = next((line.strip(" -") for line in reversed(old[: place + 1]) if "path:" in line), old[place].strip())
        raise UserError(f"inputs differ {where}, first at {name}")


def sources(stage: Stage) -> Iterator[tuple[Output, str]]:
    """The outputs that a stage takes from, each with the path in it that is taken."""
    trie = stage.repo.index.outs_trie
    for dep in stage.deps:
        key = dep.fs.parts(dep.fs_path)
        for found in trie.prefixes(key):
            yield found.value, dep.fs_path
        if trie.has_subtrie(key):
            for out in trie.values(prefix=key):
                yield out, out.fs_path


def travels(stage: Stage) -> bool:
    """Whether a stage can run elsewhere: all it reads and writes is in the project and may be in the remote."""
    if not isinstance(stage, PipelineStage) or not stage.cmd or stage.frozen:
        return False
    if not all(item.is_in_repo for item in (*stage.deps, *stage.outs)):
        return False
    outs = [*stage.outs, *(out for out, _ in sources(stage))]
    return all(out.can_push for out in outs) and not any(out.persist for out in stage.outs)


def outward(outs: Iterable[Output]) -> list[Parcel]:
    """Outputs to bring from here to the remote, whole ones: what is there already costs a question."""
    return [_packed(out) for out in outs]


def _packed(out: Output) -> Parcel:
    if out.use_cache:
        used = out.get_used_objs().values()
        return Parcel(out.cache, _remote(out), frozenset().union(*used))
    staging, _, tree = build(out.local_cache, out.fs_path, out.fs, "md5", ignore=out.dvcignore)
    return Parcel(staging, _remote(out), frozenset({tree.hash_info}))


def inward(stage: Stage, entries: Sequence[Entry]) -> list[Parcel]:
    """The cached ones of the outputs that a worker made, to bring from the remote into the cache."""
    hashes = {entry["path"]: HashInfo("md5", entry["md5"], obj_name=entry["path"]) for entry in entries}
    return [Parcel(_remote(out), out.cache, frozenset({hashes[out.def_path]})) for out in stage.outs if out.use_cache]


def deliver(stage: Stage, entries: Sequence[Entry]) -> None:
    """Put the outputs that a worker made into the workspace."""
    StageLoader.fill_from_lock(stage, {**to_single_stage_lockfile(stage), "outs": entries})
    for out in stage.outs:
        out.obj = None
        if out.use_cache:
            out.checkout(force=True)
        else:
            _place(out)


def pull(project: Project, address: str) -> None:
    """Bring what a stage takes, and no more, from the remote into the workspace, and entries of the run cache."""
    pull_run_cache(project.repo)
    for out, path in sources(project.stages[address]):
        if out.use_cache:
            project.repo.pull([path])
        elif not out.exists:
            _place(out)


def push(project: Project, address: str) -> list[Entry]:
    """Bring what a stage made to the remote, the run cache too; returns the outputs as dvc.lock has them."""
    stage = project.stages[address]
    for parcel in outward(stage.outs):
        parcel.carry()
    try:
        project.repo.stage_cache.push(None)
    except RunCacheNotSupported as error:
        print(f"the run cache cannot be pushed: {error}")
    return list(to_single_stage_lockfile(stage).get("outs", []))


def _place(out: Output) -> None:
    store = _remote(out)
    checkout(out.fs_path, out.fs, load(store, out.hash_info), store, force=True)
    out.set_exec()


def _remote(out: Output) -> HashFileDB:
    store: HashFileDB = out.repo.cloud.get_remote_odb(out.remote, "push")
    return store
