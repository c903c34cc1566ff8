"""What decompose leaves: `layers.json`, `memory.bin` (levels 1 and 2, most popular first), `caches/<segment>.bin`

(level 3), `packed/<batch>.bin` (level 4), `samples/<batch>.safetensors` (nodes and blocks) and, for each batch too,
`places/<batch>.safetensors` (where its rows are).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError
from safetensors import safe_open
from safetensors.numpy import save_file

from systems.graph.diskgnn.plan import Placement
from systems.parts.errors import UserError
from systems.parts.graph_sampling import Block, Nodes, Sample
from systems.parts.run import Strict

MEMORY = "memory.bin"
FIELDS = ("memory_at", "memory_slot", "cache_at", "cache_row", "packed_at")


class Saved(Strict):
    """layers.json: what the batches were sampled and packed with."""

    system: str = "diskgnn"
    nodes: int = Field(gt=0)
    dim: int = Field(gt=0, description="floats a feature row")
    batch: int = Field(gt=0, description="seeds a batch")
    fanouts: tuple[int, ...] = Field(description="neighbours a node, hop by hop from the seeds")
    seed: int = Field(ge=0, description="of the sampling")
    batches: int = Field(gt=0, description="stored batches, an epoch")
    segment: int = Field(gt=0, description="consecutive batches that share a disk cache")
    memory: int = Field(ge=0, description="rows in levels 1 and 2")
    accelerated: int = Field(ge=0, description="of these, rows in level 1")
    cache_rows: tuple[int, ...] = Field(description="rows of the disk cache of each segment")
    blowup: float
    ranges: int = Field(gt=0, description="pieces in which the raw file was streamed")


@dataclass(frozen=True)
class Layers:
    """An opened result of decompose."""

    folder: Path
    saved: Saved

    def sample(self, batch: int) -> Sample:
        """Nodes and blocks of a batch."""
        with safe_open(sample_path(self.folder, batch), framework="np") as file:
            blocks = tuple(
                Block(file.get_tensor(f"sources_{i}"), file.get_tensor(f"offsets_{i}"))
                for i in range(len(self.saved.fanouts))
            )
            return Sample(file.get_tensor("nodes"), blocks)

    def nodes(self, batch: int) -> Nodes:
        """The node list of a batch."""
        with safe_open(sample_path(self.folder, batch), framework="np") as file:
            nodes: Nodes = file.get_tensor("nodes")
            return nodes

    def placement(self, batch: int) -> Placement:
        """Where the rows of a batch are."""
        with safe_open(placement_path(self.folder, batch), framework="np") as file:
            return Placement(*(file.get_tensor(name) for name in FIELDS))

    def packed(self, batch: int) -> Path:
        """The batch's own file."""
        return packed_path(self.folder, batch)

    def cache(self, batch: int) -> Path:
        """The disk cache of the batch's segment."""
        return cache_path(self.folder, batch // self.saved.segment)


def sample_path(folder: Path, batch: int) -> Path:
    """Nodes and blocks of a batch."""
    return folder / "samples" / f"{batch:05d}.safetensors"


def placement_path(folder: Path, batch: int) -> Path:
    """Positions and slots of a batch."""
    return folder / "places" / f"{batch:05d}.safetensors"


def packed_path(folder: Path, batch: int) -> Path:
    """Packed rows of a batch."""
    return folder / "packed" / f"{batch:05d}.bin"


def cache_path(folder: Path, segment: int) -> Path:
    """Disk cache of a segment."""
    return folder / "caches" / f"{segment:05d}.bin"


def write_sample(folder: Path, batch: int, sample: Sample) -> None:
    """Keep a sample."""
    arrays = {"nodes": sample.nodes}
    for i, block in enumerate(sample.blocks):
        arrays |= {f"sources_{i}": block.sources, f"offsets_{i}": block.offsets}
    _write(sample_path(folder, batch), arrays)


def write_placement(folder: Path, batch: int, placement: Placement) -> None:
    """Keep where the rows of a batch are."""
    _write(placement_path(folder, batch), {name: getattr(placement, name) for name in FIELDS})


def _write(path: Path, arrays: Mapping[str, Nodes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array, "<i8") for name, array in arrays.items()}, path)


def write_saved(folder: Path, saved: Saved) -> None:
    """layers.json."""
    (folder / "layers.json").write_text(json.dumps(saved.model_dump(mode="json"), indent=1) + "\n")


def open_layers(folder: Path) -> Layers:
    """The result of decompose in a folder; one line where it is none."""
    try:
        return Layers(folder, Saved.model_validate_json((folder / "layers.json").read_text()))
    except (OSError, ValidationError) as error:
        raise UserError(f"layers {folder}: not packed by diskgnn ({str(error).splitlines()[0]})") from error
