"""The code that MLflow logs for every model: it hands a batch to the system's own `predict(folder, batch)`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from stages import discover, lineage
from systems.parts.errors import UserError


class Served(PythonModel):
    """A system's model, read from the folder that DVC keeps."""

    def load_context(self, context: Any) -> None:
        """Refuse a folder that by now holds another model than the one registered."""
        folder, content = Path(context.model_config["folder"]), context.model_config["content"]
        if (found := lineage.dvc_hash(folder)) != content:
            raise UserError(f"model {folder}: holds {found}, registered was {content}; check out its commit with DVC")

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> np.ndarray:  # noqa: ARG002
        """Answer of the system for a batch of shape `input_shape`."""
        name, folder = context.model_config["system"], Path(context.model_config["folder"])
        module = importlib.import_module(discover.walk()[name].module_for("decompose"))
        predict = getattr(module, "predict", None)
        if predict is None:
            raise UserError(f"system '{name}' has no predict(folder, batch): it cannot be served")
        return np.asarray(predict(folder, model_input))


set_model(Served())
