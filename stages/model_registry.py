"""Logs a finished model with its signature and registers it under its system and its track.

A model's worth is known only after `evaluate`, which says it as the metric `score`, lower is better. The version of
exactly the content that was evaluated gets the score, and the best one of a system and of a track the alias `champion`.
The logged model is a few lines of code and the address of the folder: the weights stay in DVC, under the tag `content`.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.tracking_store import locked
from systems.parts.run import SCORE

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient

Shapes = dict[str, list[int | None]]
"""Shapes of `input` and `output`, None for any size."""
CHAMPION = "champion"
CONTENT = "content"
"""Tag of a version: the hash under which DVC keeps the model's folder."""
MODEL, DATA = "score.model", "score.data"
"""Tags of an evaluation: hashes of the model that its score is of, and of the data set it was measured on."""


def register(client: MlflowClient, run_id: str, record: dict[str, Any]) -> None:
    """Log and register the model of a run once; `record` is what `Journal.model` wrote down."""
    model = _logged(client, run_id, record)
    for name in dict.fromkeys((record["system"], record["track"])):
        if not client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
            _name(client, name)
            tags = {CONTENT: record["content"], "system": record["system"]}
            # By its place: MLflow looks `models:/...` up in a registry that is global to the process.
            place = model.artifact_location
            client.create_model_version(name, place, run_id, tags, await_creation_for=0, model_id=model.model_id)
        crown(client, name, model.experiment_id)


def score(client: MlflowClient, run_id: str, record: dict[str, Any]) -> None:
    """Say which model the score of an evaluation is of; `record` is what `Journal.score` wrote down."""
    client.set_tag(run_id, DATA, record["data"])
    client.set_tag(run_id, MODEL, record["content"])
    experiment = client.get_run(run_id).info.experiment_id
    for name in dict.fromkeys((record["system"], record["track"])):
        crown(client, name, experiment)


def crown(client: MlflowClient, name: str, experiment: str) -> None:
    """Give versions their scores and the best one the alias, among those scored on the data of the last evaluation.

    All follows from what is recorded, so that neither the order in which records arrive nor repetition matters.
    """
    with locked():
        versions = [one for one in client.search_model_versions(f"name = '{name}'") if CONTENT in one.tags]
        data, scores = _scores(client, experiment, {one.tags[CONTENT] for one in versions})
        rivals = [one for one in versions if one.tags[CONTENT] in scores]
        for one in rivals:
            for key, value in ((SCORE, str(scores[one.tags[CONTENT]])), (DATA, data)):
                if one.tags.get(key) != value:
                    client.set_model_version_tag(name, one.version, key, value)
        if rivals:
            best = min(rivals, key=lambda one: (scores[one.tags[CONTENT]], int(one.version))).version
            if str(client.get_registered_model(name).aliases.get(CHAMPION)) != str(best):
                client.set_registered_model_alias(name, CHAMPION, best)


def _scores(client: MlflowClient, experiment: str, contents: set[str]) -> tuple[str, dict[str, float]]:
    """Data set of the last evaluation of any of these models, and the last score of each that was measured on it."""
    found = client.search_runs([experiment], f"tags.`{MODEL}` LIKE '%'", order_by=["attributes.start_time DESC"])
    runs = [one.data for one in reversed(found) if one.data.tags[MODEL] in contents]
    known = [one for one in runs if math.isfinite(one.metrics.get(SCORE, math.nan))]
    data = known[-1].tags[DATA] if known else ""
    return data, {one.tags[MODEL]: one.metrics[SCORE] for one in known if one.tags[DATA] == data}


def _name(client: MlflowClient, name: str) -> None:
    """Make a registered model unless it is there."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _logged(client: MlflowClient, run_id: str, record: dict[str, Any]) -> LoggedModel:
    """The logged model of a run: made, or finished where a server that died left it half-made.

    `mlflow.pyfunc.log_model` would make another each time, and ask a dead server twice.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    run = client.get_run(run_id)
    place = run.info.experiment_id
    found = client.search_logged_models([place], f"source_run_id = '{run_id}'")
    model = found[0] if found else client.create_logged_model(place, "model", run_id, params=run.data.params)
    if model.model_id not in [one.model_id for one in (run.outputs.model_outputs if run.outputs else [])]:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    if model.status != LoggedModelStatus.READY:
        with tempfile.TemporaryDirectory() as folder:
            _save(Path(folder) / "model", model, run_id, record)
            client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return model


def _save(path: Path, model: LoggedModel, run_id: str, record: dict[str, Any]) -> None:
    from mlflow import pyfunc
    from mlflow.models import Model

    from stages import served_model

    pyfunc.save_model(
        path,
        python_model=served_model.__file__,
        model_config={key: record[key] for key in ("system", "folder", "content")},
        signature=signature(record["shapes"]),
        pip_requirements=[],
        mlflow_model=Model(run_id=run_id, model_id=model.model_id),
    )


def shapes(folder: Path) -> Shapes:
    """Shapes of a model's input and output as `model.json` gives them; empty where it does not."""
    path = folder / "model.json"
    described = json.loads(path.read_text()) if path.is_file() else {}
    return {end: described[f"{end}_shape"] for end in ("input", "output") if f"{end}_shape" in described}


def signature(shapes: Shapes) -> ModelSignature | None:
    """Signature of these shapes; none unless both are known."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec
    from numpy import dtype

    if len(shapes) < 2:
        return None
    sizes = ([-1 if size is None else size for size in shapes[end]] for end in ("input", "output"))
    given, answered = (Schema([TensorSpec(dtype("float32"), shape)]) for shape in sizes)
    return ModelSignature(given, answered)
