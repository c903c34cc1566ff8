"""The champion is the best model that was evaluated, whatever the order in which the records arrive."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import requests
from mlflow.tracking import MlflowClient

from stages import discover, journal, lineage, mlflow_runs, tracking, tracking_store
from systems.parts.errors import UserError
from systems.parts.run import SCORE
from tests.stages.tracked_runs import DATA, NOWHERE, Server, a_run, runs, sync, waiting

MODEL = Path("models/toy")
SHAPES = '{"input_shape": [null, 3], "output_shape": [null, 2]}'


def train(weights: str, name: str = "toy") -> None:
    """A model that holds these weights."""
    run = a_run("train", name)
    run.final.mkdir(parents=True, exist_ok=True)
    (run.final / "weights").write_text(weights)
    (run.final / "model.json").write_text(SHAPES)
    with tracking.tracked(run, []):
        run.metric("loss", 1.0, 5)
        run.tracker.model(run.final)


def evaluate(score: float, data: str = "pictures", name: str = "toy") -> None:
    """The present model is worth `score` on a data set."""
    (DATA / "pictures").write_text(data)
    run = a_run("evaluate", name)
    with tracking.tracked(run, []):
        run.metric(SCORE, score)
        run.tracker.score(Path("models", name), DATA)


def champion(name: str = "toy") -> Any:
    return MlflowClient(tracking_store.uri()).get_model_version_by_alias(name, "champion")


def versions(name: str) -> list[Any]:
    return list(MlflowClient(tracking_store.uri()).search_model_versions(f"name = '{name}'"))


@contextlib.contextmanager
def looking() -> Iterator[None]:
    """MLflow's own functions look at the records of the project; they keep the address for the whole process."""
    mlflow.set_tracking_uri(tracking_store.uri())
    yield
    mlflow.set_tracking_uri(None)


def test_the_champion_is_the_best_model_not_the_last(blank: Path) -> None:
    for score in (2.0, 1.0, 3.0):
        train(f"weights of {score}")
        evaluate(score)
    client = MlflowClient(tracking_store.uri())
    champion = client.get_model_version_by_alias("toy", "champion")
    assert (int(champion.version), champion.tags["score"]) == (2, "1.0")
    assert {int(one.version): one.tags["score"] for one in versions("toy")} == {1: "2.0", 2: "1.0", 3: "3.0"}


def test_a_model_is_registered_with_its_signature_and_the_hash_of_its_weights(blank: Path) -> None:
    train("weights")
    (one,) = versions("toy")
    assert one.tags["content"] == lineage.dvc_hash(MODEL)
    with looking():
        signature = mlflow.models.get_model_info("models:/toy/1").signature
    assert [tuple(spec.shape) for spec in (*signature.inputs, *signature.outputs)] == [(-1, 3), (-1, 2)]
    with pytest.raises(mlflow.MlflowException, match="alias champion not found"):
        champion()  # it was not evaluated yet


def test_the_hash_of_the_weights_is_the_one_dvc_keeps_them_under(blank: Path) -> None:
    for name in ("b.txt", "a/b.txt", "a.txt", "é"):
        (MODEL / name).parent.mkdir(parents=True, exist_ok=True)
        (MODEL / name).write_text(name)
    for command in (("init", "--no-scm", "-q"), ("add", "-q", "models/toy", "mlflow.db")):
        subprocess.run((sys.executable, "-m", "dvc", *command), check=True)
    for path in (MODEL, Path("mlflow.db")):
        assert f"md5: {lineage.dvc_hash(path)}\n" in Path(f"{path}.dvc").read_text()


def test_a_better_score_of_the_same_content_is_one_for_all_its_versions(blank: Path) -> None:
    train("same")
    train("same")
    train("other")
    evaluate(2.0)
    train("same")
    evaluate(1.0)
    assert {int(one.version): one.tags["score"] for one in versions("toy")} == {1: "1.0", 2: "1.0", 3: "2.0", 4: "1.0"}
    assert int(champion().version) == 1


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_makes_no_champion(blank: Path, score: float) -> None:
    train("good")
    evaluate(2.0)
    train("broken")
    evaluate(score)
    assert int(champion().version) == 1


def test_models_compete_on_the_data_of_the_last_evaluation(blank: Path) -> None:
    train("easy")
    evaluate(1.0, data="easy")
    train("hard")
    evaluate(9.0, data="hard")
    assert int(champion().version) == 2  # the first was never measured on this data
    train("harder")
    evaluate(8.0, data="hard")
    assert int(champion().version) == 3
    evaluate(5.0, data="easy")
    assert int(champion().version) == 1


def test_a_track_has_a_champion_among_its_systems(blank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systems = {name: discover.Found(name, "toys", f"systems.toys.{name}") for name in ("toy", "doll")}
    monkeypatch.setattr(discover, "walk", lambda: systems)
    for name, score in (("toy", 3.0), ("doll", 2.0), ("toy", 2.5)):
        train(f"{score}", name)
        evaluate(score, name=name)
    assert [champion(name).tags["score"] for name in ("toy", "doll", "toys")] == ["2.5", "2.0", "2.0"]
    assert champion("toys").tags["system"] == "doll"


def state() -> list[Any]:
    """All that the registry says."""
    names = ("toy", "toys")
    return [*(vars(one) for name in names for one in versions(name)), *(champion(name).version for name in names)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 3, 1, 0)], ids=str)
def test_late_journals_in_any_order_and_twice_make_the_same_champion(
    blank: Path, monkeypatch: pytest.MonkeyPatch, order: Sequence[int]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    for score in (1.0, 2.0):
        train(f"weights of {score}")
        evaluate(score)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    late = sorted(waiting(), key=lambda path: float(journal.read(path)[0]["time"]))
    texts = {path: path.read_text() for path in late}
    client = tracking_store.connect()
    for which in order:
        journal.replay(late[which], client)
    first = next(one for one in map(json.loads, texts[late[0]].splitlines()) if one["kind"] == "model")
    assert champion().tags["content"] == first["content"]
    assert sorted(one.tags["score"] for one in versions("toy")) == ["1.0", "2.0"]
    before = state()
    for path in late:
        path.write_text(texts[path])
        journal.replay(path, client)
    assert state() == before


def test_a_served_model_refuses_weights_it_was_not_registered_with(
    blank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Toy:
        @staticmethod
        def predict(folder: Path, batch: np.ndarray) -> np.ndarray:
            return batch[:, :2] + float((folder / "weights").read_text())

    monkeypatch.setattr(discover.Found, "module_for", lambda *_: "toy_module")
    monkeypatch.setitem(sys.modules, "toy_module", Toy)
    train("1")
    evaluate(1.0)
    with looking():
        served = mlflow.pyfunc.load_model("models:/toy@champion")
    assert served.predict(np.zeros((1, 3), np.float32)).tolist() == [[1, 1]]
    (MODEL / "weights").write_text("2")
    with looking(), pytest.raises(UserError, match=r"model models/toy: holds .*\.dir, registered was .*\.dir"):
        mlflow.pyfunc.load_model("models:/toy@champion")


class Dying:
    """HTTP that works for so many calls. The next is lost, on its way there or on its way back, as are all after it."""

    def __init__(self, left: int, patch: pytest.MonkeyPatch) -> None:
        self.left, self.lost, self.back = left, 0, left % 2
        self.call = requests.Session.request
        patch.setattr(requests.Session, "request", lambda *given, **named: self(*given, **named))

    def __call__(self, *given: Any, **named: Any) -> requests.Response:
        if self.left > 0:
            self.left -= 1
            return self.call(*given, **named)
        if self.back and not self.lost:
            self.call(*given, **named)
        self.lost += 1
        raise requests.exceptions.ReadTimeout("silence")


@pytest.mark.slow
def test_whichever_call_is_the_last_one_is_lost_and_nothing_is_lost_or_doubled(
    server: Server, blank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    for left in itertools.count():
        name = f"toy{left}"
        monkeypatch.setattr(discover, "walk", lambda name=name: {name: discover.Found(name, f"{name}s", "none")})
        with monkeypatch.context() as patch:
            dying = Dying(left, patch)
            train(name, name)
            in_training = dying.lost
            evaluate(1.0, name=name)
            assert (in_training, dying.lost) in ((1, 2), (0, 1), (0, 0)), left
        assert sync() == 0
        assert not list(journal.SPOOL.iterdir())
        assert sorted(one.info.run_name for one in runs(f"{name}s")) == [f"evaluate@{name}", f"train@{name}"]
        assert {one.info.status for one in runs(f"{name}s")} == {"FINISHED"}
        assert [champion(one).tags["score"] for one in (name, f"{name}s")] == ["1.0", "1.0"]
        assert (len(versions(name)), len(versions(f"{name}s"))) == (1, 1)
        client = MlflowClient(tracking_store.uri())
        (model,) = client.search_logged_models([runs(f"{name}s")[0].info.experiment_id])
        assert model.status == "READY"
        if not dying.lost:
            break
    assert left > 30
    assert len(runs(mlflow_runs.PIPELINES)) == 1
