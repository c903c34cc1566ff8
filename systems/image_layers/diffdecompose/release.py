"""Copies the best variant of a trained model, all that decomposing a picture needs, to a folder that is kept in Git.

python -m systems.image_layers.diffdecompose.release models/diffdecompose models/released/diffdecompose
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from systems.image_layers.diffdecompose import storage
from systems.parts.whole import whole


def release(model: Path, target: Path) -> None:
    """Write model.json with the one variant, its weights, those it starts from, and the autoencoder."""
    saved = storage.read_saved(model)
    best = saved.variants[saved.best]
    alone = saved.model_copy(update={"variants": {saved.best: best}})
    with whole(target) as (growing,):
        growing.mkdir()
        for name in filter(None, ("autoencoder", best.start, saved.best)):
            shutil.copyfile(model / f"{name}.safetensors", growing / f"{name}.safetensors")
        (growing / "model.json").write_text(json.dumps(alone.model_dump(mode="json"), indent=1) + "\n")


if __name__ == "__main__":
    release(Path(sys.argv[1]), Path(sys.argv[2]))
