"""Copies the networks of one seed, all that taking a picture apart needs, to a folder that is kept in Git.

python -m systems.image_layers.mulan.release models/mulan models/released/mulan
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from systems.image_layers.mulan.small import read_saved
from systems.parts.whole import whole


def release(model: Path, target: Path) -> None:
    """Write model.json with the first seed alone, the weights of its networks, and those that all seeds share."""
    saved = read_saved(model)
    seed = saved.seeds[0]
    with whole(target) as (growing,):
        growing.mkdir()
        for path in sorted(model.glob("*.safetensors")):
            if not any(path.stem.endswith(f"-{other}") for other in saved.seeds[1:]):
                shutil.copyfile(path, growing / path.name)
        alone = saved.model_copy(update={"seeds": (seed,)})
        (growing / "model.json").write_text(json.dumps(alone.model_dump(mode="json"), indent=1) + "\n")


if __name__ == "__main__":
    release(Path(sys.argv[1]), Path(sys.argv[2]))
