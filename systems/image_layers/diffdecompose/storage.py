"""How trained decomposers are kept: safetensors beside one JSON that rebuilds the networks. Nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import Field, computed_field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from systems.image_layers.diffdecompose.flux_params import FluxParams
from systems.image_layers.diffdecompose.module import Decomposer
from systems.image_layers.diffdecompose.positions import Position
from systems.image_layers.diffdecompose.tiny import TinyBackbone, TinyParams
from systems.parts import lora
from systems.parts.conv_vae import ConvVAE
from systems.parts.errors import UserError
from systems.parts.run import Strict

if TYPE_CHECKING:
    from systems.image_layers.diffdecompose.flux import FluxAutoencoder, FluxBackbone

    Autoencoder: TypeAlias = ConvVAE | FluxAutoencoder


class SavedVariant(Strict):
    """What rebuilds one trained transformer."""

    position: Position = "cloned"
    regression: bool = False
    start: str = Field(default="", description="label of the weights the adapters belong to")
    rank: int | None = None


class Architecture(Strict):
    """Which backbone, and its size or where its weights lie."""

    backbone: Literal["tiny", "flux"] = Field(default="tiny", description="small networks of our own, or FLUX")
    tiny: TinyParams = Field(default=TinyParams(), description="the small backbone")
    flux: FluxParams = Field(default=FluxParams(), description="the large backbone")


class Saved(Architecture):
    """model.json: everything but the weights."""

    system: str = "diffdecompose"
    size: int = Field(gt=0, description="height and width of the training pictures, px")
    variants: dict[str, SavedVariant]
    best: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Batch of composites that `decompose.predict` takes: any number of RGBA pictures, channels last."""
        return None, self.size, self.size, 4

    @computed_field  # type: ignore[prop-decorator]
    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Batch that `decompose.predict` gives: foreground RGBA and background RGBA, channels last."""
        return None, self.size, self.size, 8


def variant_of(label: str) -> str:
    """The variant in a label `<variant>-<seed>`."""
    return label.rsplit("-", 1)[0]


def new_autoencoder(architecture: Architecture, channels: int) -> Autoencoder:
    """A fresh small autoencoder of `channels` channels, or the large one with its weights, which has four."""
    if architecture.backbone == "tiny":
        return ConvVAE(channels, architecture.tiny.vae_width, architecture.tiny.latents)
    from systems.image_layers.diffdecompose.flux import FluxAutoencoder, load_autoencoder

    return FluxAutoencoder(load_autoencoder(architecture.flux))


def rebuild(architecture: Architecture, autoencoder: nn.Module, variant: SavedVariant, folder: Path) -> Decomposer:
    """A decomposer as `variant` says: fresh or with the weights it starts from, with adapters where it has some.

    The large transformer has its pretrained weights and always adapters; a rank of the variant's own means new ones,
    on what it starts from.
    """
    backbone = _new_backbone(architecture, autoencoder, variant.position)
    decomposer = Decomposer(backbone, variant.regression)
    if variant.start:
        load_transformer(decomposer, folder / f"{variant.start}.safetensors")
    if variant.rank is not None:
        backbone.adapt(variant.rank)
    return decomposer


def _new_backbone(
    architecture: Architecture, autoencoder: nn.Module, position: Position
) -> TinyBackbone | FluxBackbone:
    if architecture.backbone == "tiny":
        small = TinyBackbone(architecture.tiny.model_copy(update={"position": position}))
        small.vae = autoencoder  # type: ignore[assignment]
        return small
    from systems.image_layers.diffdecompose.flux import FluxBackbone

    return FluxBackbone(architecture.flux, position, autoencoder)  # type: ignore[arg-type]


def save_transformer(decomposer: Decomposer, path: Path) -> None:
    """All weights but the autoencoder's or, where there are adapters, theirs alone."""
    save_file(_own_weights(decomposer), path)


def load_transformer(decomposer: Decomposer, path: Path) -> None:
    """The inverse of `save_transformer`."""
    own = set(_own_weights(decomposer))
    weights = read_weights(path)
    if set(weights) != own:
        raise UserError(f"weights {path}: not of this network ({len(set(weights) ^ own)} names differ)")
    decomposer.load_state_dict(weights, strict=False)


def _own_weights(decomposer: Decomposer) -> dict[str, Tensor]:
    adapters = lora.state_dict(decomposer)
    return adapters or {
        name: value.contiguous() for name, value in decomposer.state_dict().items() if ".vae." not in name
    }


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, or one line on what is wrong with it."""
    try:
        weights: dict[str, Tensor] = load_file(path)
        return weights
    except (OSError, SafetensorError) as error:
        raise UserError(f"weights {path}: cannot be read as safetensors ({error})") from error


def save(folder: Path, saved: Saved, autoencoder: nn.Module) -> None:
    """model.json and the autoencoder."""
    (folder / "model.json").write_text(json.dumps(saved.model_dump(mode="json"), indent=1) + "\n")
    save_file(autoencoder.state_dict(), folder / "autoencoder.safetensors")


def read_saved(folder: Path) -> Saved:
    """model.json, checked."""
    path = folder / "model.json"
    if not path.is_file():
        raise UserError(f"model {folder}: no model.json; train it first or name another folder")
    try:
        described = json.loads(path.read_text())
        return Saved.model_validate({key: described[key] for key in Saved.model_fields})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"model {path}: not a diffdecompose model ({str(error).splitlines()[0]})") from error


def load(folder: Path, label: str = "") -> tuple[Decomposer, Saved]:
    """A trained decomposer, ready to sample; the best one where no label is given."""
    saved = read_saved(folder)
    label = label or saved.best
    if label not in saved.variants:
        raise UserError(f"model {folder}: no variant {label}; there are {', '.join(saved.variants)}")
    autoencoder = new_autoencoder(saved, channels=4)
    autoencoder.load_state_dict(read_weights(folder / "autoencoder.safetensors"))
    decomposer = rebuild(saved, autoencoder, saved.variants[label], folder)
    load_transformer(decomposer, folder / f"{label}.safetensors")
    return decomposer.eval().requires_grad_(False), saved
