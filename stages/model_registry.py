"""Logs a finished model with its signature and registers it; the best one carries the alias `champion`.

The logged model is a few lines of code and the address of the folder: the weights stay in DVC.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient

CHAMPION = "champion"


def register(client: MlflowClient, run_id: str, record: dict[str, Any]) -> None:
    """Log and register the model of a run once; `record` names its system, folder and score (lower is better)."""
    name = record["system"]
    if not client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        _log(client, run_id, name, Path(record["folder"]))
    (version,) = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    score = record["score"]
    if score is None:
        return
    client.set_model_version_tag(name, version.version, "score", str(score))
    champion = client.get_registered_model(name).aliases.get(CHAMPION)
    best = client.get_model_version(name, champion).tags.get("score") if champion else None
    if best is None or score < float(best):
        client.set_registered_model_alias(name, CHAMPION, version.version)


def _log(client: MlflowClient, run_id: str, name: str, folder: Path) -> None:
    import mlflow

    from stages import served_model

    mlflow.set_tracking_uri(client.tracking_uri)
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        mlflow.pyfunc.log_model(
            name="model",
            python_model=served_model.__file__,
            model_config={"system": name, "folder": str(folder)},
            signature=signature(folder),
            pip_requirements=[],
            registered_model_name=name,
        )


def signature(folder: Path) -> ModelSignature | None:
    """Shapes of input and output as `model.json` gives them (`input_shape`, `output_shape`, null for any size)."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec
    from numpy import dtype

    path = folder / "model.json"
    described = json.loads(path.read_text()) if path.is_file() else {}
    if not {"input_shape", "output_shape"} <= described.keys():
        return None
    shapes = ([-1 if size is None else size for size in described[f"{end}_shape"]] for end in ("input", "output"))
    given, answered = (Schema([TensorSpec(dtype("float32"), shape)]) for shape in shapes)
    return ModelSignature(given, answered)
