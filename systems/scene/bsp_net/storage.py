"""How trained networks are kept: a safetensors file each beside one JSON that rebuilds them. Nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from systems.parts.errors import UserError
from systems.parts.run import Strict
from systems.scene.bsp_net.network import Architecture, BSPNet
from systems.scene.bsp_net.shapes import Family
from systems.scene.bsp_net.views import SingleView, ViewEncoder


class SavedNetwork(Strict):
    """What rebuilds one network; the file is named `<family>-<seed>-phase<phase>.safetensors`."""

    family: Family
    seed: int
    phase: int
    architecture: Architecture
    single_view: SingleView | None = None

    @property
    def label(self) -> str:
        """Name of the file, without its ending."""
        return label(self.family, self.seed, self.phase)

    @property
    def view_label(self) -> str:
        """Name of the file of its encoder of pictures, if it has one."""
        return f"{self.label}-view"


class Saved(Strict):
    """model.json: everything but the weights."""

    system: str = "bsp_net"
    networks: tuple[SavedNetwork, ...]


def label(family: str, seed: int, phase: int) -> str:
    """Name of one trained network."""
    return f"{family}-{seed}-phase{phase}"


def save_weights(net: nn.Module, path: Path) -> None:
    """Weights of a network; those of all phases have the two matrices among them."""
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)


def save(folder: Path, saved: Saved) -> None:
    """Write model.json."""
    (folder / "model.json").write_text(json.dumps(saved.model_dump(mode="json"), indent=1) + "\n")


def read_saved(folder: Path) -> Saved:
    """model.json, checked."""
    path = folder / "model.json"
    if not path.is_file():
        raise UserError(f"model {folder}: no model.json; train it first or name another folder")
    try:
        return Saved.model_validate(json.loads(path.read_text()))
    except ValueError as error:
        raise UserError(f"model {path}: not a bsp_net model ({str(error).splitlines()[0]})") from error


def load(folder: Path, saved: SavedNetwork) -> BSPNet:
    """A trained network, ready to be asked."""
    net = BSPNet(saved.architecture, saved.phase)
    load_weights(net, folder / f"{saved.label}.safetensors")
    return net.eval().requires_grad_(False)


def load_view(folder: Path, saved: SavedNetwork) -> ViewEncoder:
    """A network's encoder of pictures, ready to be asked."""
    encoder = ViewEncoder(saved.architecture)
    load_weights(encoder, folder / f"{saved.view_label}.safetensors")
    return encoder.eval().requires_grad_(False)


def load_weights(net: nn.Module, path: Path) -> None:
    """Put stored weights into a network; a discrete phase begins with those of phase 0."""
    if not path.is_file():
        raise UserError(f"weights {path}: not there; a discrete phase starts from a checkpoint of phase 0")
    try:
        net.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"weights {path}: not of this network ({str(error).splitlines()[0]})") from error


def by_family(saved: Saved) -> Mapping[str, list[SavedNetwork]]:
    """The networks of each family."""
    found: dict[str, list[SavedNetwork]] = {}
    for network in saved.networks:
        found.setdefault(network.family, []).append(network)
    return found
