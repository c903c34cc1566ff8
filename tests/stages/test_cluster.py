"""Work on a real Dask cluster over TCP: the bytes of the local path, whatever happens to its workers."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stages import cluster as dask
from stages.cluster import on_cluster
from stages.settings import cluster as address_in
from systems.parts.errors import UserError
from tests.smoke import PROJECT, environment, override
from tests.stages.dask_cluster import Cluster, careful, cluster, contents, faulty, poison, square

WHO = ("synthesize", "alphablend")
shared = pytest.mark.xdist_group("two workers")  # of one cluster
NOBODY = "tcp://127.0.0.1:9"
"""The port of the discard service, on which nothing listens."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers, none of which is to be killed."""
    with cluster(tmp_path_factory.mktemp("dask")) as made:
        yield made


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file by its path in the folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@shared
def test_results_come_in_order_from_both_workers(two: Cluster) -> None:
    """Items are given out until both have worked; at most twice as many as threads are ahead of the results."""
    taken, finders = 0, set[int]()

    def items() -> Iterator[int]:
        for item in itertools.count():
            assert item - taken <= 4
            if len(finders) == 2:
                return
            yield item

    for value, finder in on_cluster(two.address, WHO, square, items(), {}):
        assert value == taken**2
        finders.add(finder)
        taken += 1
    assert finders == {process.pid for process in two.processes[1:]}


@pytest.mark.slow
@shared
def test_inputs_lie_at_the_workers_as_they_lie_here(two: Cluster, tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "b.txt").write_text("in a folder")
    (tmp_path / "a.txt").write_text("alone")
    inputs = {"one": tmp_path / "a.txt", "many": tmp_path / "folder"}
    found = list(on_cluster(two.address, WHO, contents, range(6), inputs))
    assert found == [(item, {"one": "a.txt: alone", "many": "folder: in a folder"}) for item in range(6)]
    (tmp_path / "a.txt").write_text("changed")
    ((_, words),) = on_cluster(two.address, WHO, contents, [0], inputs)
    assert words["one"] == "a.txt: changed"


@pytest.mark.slow
@shared
def test_the_first_error_in_order_is_raised_as_it_is(two: Cluster) -> None:
    results = on_cluster(two.address, WHO, faulty, range(20), {})
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ZeroDivisionError, match="item 3 comes first") as caught:
        next(results)
    assert "faulty" in {entry.name for entry in caught.traceback}
    with pytest.raises(UserError, match="item 5: 4 is allowed"):
        list(on_cluster(two.address, WHO, careful, range(20), {}))


@pytest.mark.slow
@shared
def test_a_worker_of_another_commit_is_refused_by_name(two: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    module, here = "systems/parts/blend.py", dask.found()
    monkeypatch.setattr(dask, "found", lambda: {**here, module: "other"})
    line = rf"Dask worker tcp://127\.0\.0\.1:\d+: {module} is {here[module]}, other is wanted; start it again"
    with pytest.raises(UserError, match=line):
        list(on_cluster(two.address, WHO, square, [1], {}))


@pytest.mark.slow
@shared
def test_code_that_the_stage_does_not_use_may_differ(two: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    here = dask.found()
    monkeypatch.setattr(dask, "found", lambda: {**here, "systems/image_layers/diffdecompose/train.py": "other"})
    assert [value for value, _ in on_cluster(two.address, WHO, square, [3], {})] == [9]


@pytest.mark.slow
def test_a_worker_killed_after_its_first_result_loses_nothing(tmp_path: Path) -> None:
    with cluster(tmp_path / "dask") as made:
        results = on_cluster(made.address, WHO, square, range(100), {})
        value, first = next(results)
        made.kill([process.pid for process in made.processes].index(first))
        rest = list(results)
    assert [value, *(value for value, _ in rest)] == [item**2 for item in range(100)]
    assert {finder for _, finder in rest} - {first} == {process.pid for process in made.processes[1:]} - {first}


@pytest.mark.slow
def test_an_item_that_ends_every_worker_ends_the_stage_in_one_line(tmp_path: Path) -> None:
    with cluster(tmp_path / "dask") as made:
        line = f"parameter dask.address = {made.address}: item 0 of synthesize@alphablend ended 2 workers one after"
        with pytest.raises(UserError, match=line):
            list(on_cluster(made.address, WHO, poison, [0], {}))


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, 0])
def test_a_cluster_that_goes_away_ends_the_stage_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    with cluster(tmp_path / "dask", workers=1) as made:
        results = on_cluster(made.address, WHO, square, range(1000), {})
        assert next(results)[0] == 0
        monkeypatch.setattr(dask, "WAIT", 1)
        made.kill(killed)
        why = "the cluster has no worker; start one: python -m dask worker" if killed else "the scheduler went away"
        with pytest.raises(UserError, match=f"parameter dask.address = {made.address}: {why}"):
            list(results)


@pytest.mark.slow
def test_a_cluster_without_workers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "WAIT", 1)
    with cluster(tmp_path / "dask", workers=0) as made:
        line = f"parameter dask.address = {made.address}: the cluster has no worker; start one: python -m dask worker"
        with pytest.raises(UserError, match=line):
            next(on_cluster(made.address, WHO, square, range(3), {}))


def test_an_address_where_nobody_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "WAIT", 0.5)
    with pytest.raises(UserError, match=f"parameter dask.address = {NOBODY}: no scheduler answers") as caught:
        next(on_cluster(NOBODY, WHO, square, range(3), {}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["localhost:8786", "tcp://host", "udp://host:1", 8786])
def test_a_malformed_address_is_refused(wrong: object) -> None:
    with pytest.raises(UserError, match=re.escape(f"parameter dask.address = {wrong!r}: ")):
        address_in({"dask": {"address": wrong}})


def test_no_address_means_this_machine() -> None:
    assert address_in({}) is None
    assert address_in({"dask": {"address": None}}) is None
    assert address_in({"dask": {"address": "tls://a.b:1"}}) == "tls://a.b:1"


def test_no_stage_depends_on_the_address() -> None:
    for path in (PROJECT / "dvc.yaml", *PROJECT.glob("systems/*/dvc.yaml")):
        for stage in yaml.safe_load(path.read_text())["stages"].values():
            named = [param for param in stage.get("do", stage).get("params", []) if isinstance(param, str)]
            assert [param for param in named if param.split(".")[0] == "dask"] == []


def test_without_an_address_dask_is_not_even_imported() -> None:
    code = (
        "import sys, stages.execute, stages.parallel, systems.image_layers.alphablend.synthesize;"
        "print([name for name in ('dask', 'distributed') if name in sys.modules])"
    )
    ended = subprocess.run((sys.executable, "-c", code), cwd=PROJECT, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "system", "output"),
    [("synthesize", "alphablend", "data/alphablend"), ("decompose", "diffdecompose", "data/layers/diffdecompose")],
)
def test_a_stage_writes_the_same_bytes_though_a_worker_is_killed_in_the_middle(
    project: Path, tmp_path: Path, stage: str, system: str, output: str
) -> None:
    """The bytes of the smoke run, which had no cluster; the stage cannot end while a halted worker holds an item."""
    command = ("python", "-m", "stages", stage, system)
    results = (project / output, project / "reports" / stage / system)
    before = [tree(folder) for folder in results]
    shutil.rmtree(project / output)
    with cluster(tmp_path / "dask", project=project) as made:
        made.halt_one()
        override(project, {"dask.address": made.address})
        with subprocess.Popen(command, cwd=project, env=environment(), stderr=subprocess.PIPE) as process:
            while (halted := made.halted()) is None and process.poll() is None:
                time.sleep(0.02)
            assert halted is not None, process.communicate()[1].decode()
            assert made.inputs(halted)
            assert process.poll() is None, "it ended without an item that the halted worker holds"
            made.kill(halted)
            words = process.communicate()[1].decode()
        assert process.returncode == 0, words + made.log()
    assert [tree(folder) for folder in results] == before
