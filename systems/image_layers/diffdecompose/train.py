"""train@diffdecompose: the RGBA autoencoder once, then every variant of the transformer for every seed.

python -m stages train diffdecompose
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field, model_validator

from systems.image_layers.diffdecompose import storage
from systems.image_layers.diffdecompose.autoencoder import Autoencoder, AutoencoderParams
from systems.image_layers.diffdecompose.backbone import Backbone
from systems.image_layers.diffdecompose.module import Decomposer, InContextDecomposition, Optimisation
from systems.image_layers.diffdecompose.positions import Position
from systems.parts import lora
from systems.parts.conv_vae import ConvVAE
from systems.parts.errors import UserError
from systems.parts.perceptual import STLPIPS
from systems.parts.run import Run, Strict, Training
from systems.parts.step_batches import StepBatches
from systems.parts.stored_pictures import Pictures, joined
from systems.parts.tensors import pieces
from systems.parts.triplets import Triplets, read_triplets

SHOWN = 8
CHUNK = 512
COLUMNS = {"z": "comp", "x": "fg", "y": "bg"}


class Variant(Strict):
    """One way to train the transformer."""

    position: Position = Field(default="cloned", description="position codes of the layers")
    regression: bool = Field(default=False, description="the same network without noise, as an honest baseline")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="seeds, a network each")
    steps: int | None = Field(default=None, gt=0, description="optimiser steps, where they differ from the others'")
    subtasks: tuple[str, ...] = Field(default=(), description="sub-tasks to train on; all where empty")
    start: str = Field(default="", description="variant whose weights this one starts from")
    rank: int | None = Field(default=None, description="train low-rank adapters of this rank instead of all weights")

    @model_validator(mode="after")
    def _rank_is_positive(self) -> Variant:
        if self.rank is not None:
            lora.check_rank(self.rank)
        return self


class Params(storage.Architecture):
    """Parameters of the training."""

    data: str = Field(description="data set, as alphablend")
    weights: str = Field(default="", description="fetched networks, of which the autoencoder's perceptual term has one")
    seed: int = Field(default=0, ge=0, description="seed of the autoencoder; the transformers have their own")
    autoencoder: AutoencoderParams = Field(description="training of the autoencoder")
    transformer: Training = Field(description="training of every variant of the transformer")
    optimisation: Optimisation = Field(description="optimiser of the transformers")
    cache_latents: bool = Field(default=True, description="keep all latents in memory instead of encoding every batch")
    unnamed: float = Field(default=0.2, ge=0, le=1, description="share of samples whose sub-task is not told")
    variants: Mapping[str, Variant] = Field(min_length=1, description="ways to train the transformer, by name")
    best: str = Field(default="cloned-0", description="variant that decompose uses for a person's own pictures")

    @model_validator(mode="after")
    def _variants_fit_together(self) -> Params:
        whole: list[str] = []
        for name, variant in self.variants.items():
            if variant.start and variant.start not in whole:
                there = ", ".join(whole) or "none"
                raise UserError(
                    f"parameter variants.{name}.start = {variant.start}: a variant that is trained earlier, with "
                    f"neither start nor rank, is wanted ({there})"
                )
            if self.backbone == "flux" and variant.position == "additive":
                raise UserError(f"parameter variants.{name}.position = additive: FLUX takes cloned or permuted")
            if not variant.start and variant.rank is None:
                whole += [f"{name}-{seed}" for seed in variant.seeds]
        labels = saved_variants(self)
        if self.best not in labels:
            raise UserError(f"parameter best = {self.best}: one of {', '.join(labels)} is wanted")
        return self

    @model_validator(mode="after")
    def _perceptual_has_its_network(self) -> Params:
        if self.autoencoder.perceptual > 0 and not self.weights:
            raise UserError("parameter weights is empty: autoencoder.perceptual needs fetched networks")
        return self


def train(run: Run[Params]) -> None:
    """Train and save everything that `decompose` and `evaluate` compare."""
    params = run.params
    data = read_triplets(run.inputs["data"], "train")
    vae = train_autoencoder(run, data)
    architecture = {name: getattr(params, name) for name in storage.Architecture.model_fields}
    saved = storage.Saved(size=data.size, variants=saved_variants(params), best=params.best, **architecture)
    storage.save(run.output, saved, vae)
    pictures: Mapping[str, Pictures] = {}
    for name, variant in params.variants.items():
        for seed in variant.seeds:
            label = f"{name}-{seed}"
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                decomposer = storage.rebuild(params, vae, saved.variants[label], run.output)
            pictures = pictures or training_pictures(run, decomposer.backbone, data)
            fit_variant(run, label, variant, decomposer, data, pictures, seed)
            storage.save_transformer(decomposer, run.output / f"{label}.safetensors")
            del decomposer  # or the next one, as large, would be made beside it


def saved_variants(params: Params) -> dict[str, storage.SavedVariant]:
    """What model.json says of every variant and seed."""
    return {
        f"{name}-{seed}": storage.SavedVariant(
            position=variant.position, regression=variant.regression, start=variant.start, rank=variant.rank
        )
        for name, variant in params.variants.items()
        for seed in variant.seeds
    }


def train_autoencoder(run: Run[Params], data: Triplets) -> storage.Autoencoder:
    """Part B: RGB first, then widened and trained on foregrounds and, as opaque pictures, on the others.

    The large autoencoder comes with its RGB training done.
    """
    params = run.params
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        vae = storage.new_autoencoder(params, channels=3).requires_grad_(True)
    if isinstance(vae, ConvVAE):
        rgb = joined([data.pictures["bg"], data.pictures["comp"]])
        fit_autoencoder(run, vae, rgb, params.autoencoder.rgb, "autoencoder_rgb")
        vae.widen()
    rgba = joined([data.layer(layer) for layer in ("fg", "bg", "comp")])
    fit_autoencoder(run, vae, rgba, params.autoencoder.rgba, "autoencoder_rgba")
    if isinstance(vae, ConvVAE):
        vae.calibrate(rgba[:: max(1, len(rgba) // 4096)].float() / 127.5 - 1)
    return vae.requires_grad_(False).eval()


def fit_autoencoder(
    run: Run[Params], vae: storage.Autoencoder, pictures: Pictures, training: Training, label: str
) -> None:
    """One phase of part B on uint8 pictures [n, c, h, w]."""
    seed = run.params.seed
    show = pictures[:: max(1, len(pictures) // SHOWN)][:SHOWN]
    lpips = perceptual(run) if show.shape[1] == 4 else None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Autoencoder(vae, run.params.autoencoder, training.steps, seed, show, lpips)
    run.fit(module, StepBatches({"picture": pictures}, training.batch, training.steps, seed), training, label)


def perceptual(run: Run[Params]) -> STLPIPS | None:
    """The network of the autoencoder's perceptual term, where it has a weight."""
    weight = run.params.autoencoder.perceptual
    try:
        return STLPIPS.load(run.inputs["weights"]) if weight > 0 else None
    except FileNotFoundError as error:
        raise UserError(f"parameter autoencoder.perceptual = {weight}: {error}") from error


@torch.no_grad()
def training_pictures(run: Run[Params], backbone: Backbone, data: Triplets) -> Mapping[str, Pictures]:
    """The training triplets as packed latents, so that no step pays for the frozen autoencoder, or as RGBA pictures."""
    if not run.params.cache_latents:
        return {layer: data.layer(column) for layer, column in COLUMNS.items()}
    latents = {}
    for layer, column in COLUMNS.items():
        pictures, rows = data.layer(column), list(pieces(len(data.table), data.size, CHUNK))
        shown = (pictures[some].float() / 255 for some in run.track(rows, f"encode {column}"))
        latents[layer] = torch.cat([backbone.pack(backbone.encode(piece)) for piece in shown])
    return latents


def fit_variant(
    run: Run[Params],
    label: str,
    variant: Variant,
    decomposer: Decomposer,
    data: Triplets,
    pictures: Mapping[str, Pictures],
    seed: int,
) -> None:
    """Part C: train one variant with one seed."""
    rows = torch.from_numpy(data.rows_of(variant.subtasks))
    training = run.params.transformer.model_copy(update={"steps": variant.steps or run.params.transformer.steps})
    samples = {**pictures, "row": torch.arange(len(data.table))}
    shown = rows[:: max(1, len(rows) // SHOWN)][:SHOWN]
    module = InContextDecomposition(
        decomposer,
        run.params.optimisation,
        training.steps,
        seed,
        subtasks=named(data.strings("subtask"), run.params.unnamed, run.generator(label)),
        prompts=data.strings("prompt"),
        show={column: pictures[shown] for column, pictures in data.pictures.items()},
    )
    run.fit(module, StepBatches(samples, training.batch, training.steps, seed, rows), training, label)


def named(subtasks: list[str], unnamed: float, generator: np.random.Generator) -> list[str]:
    """Sub-tasks with a share of them replaced by `any`, so that pictures of unknown blend can be asked for too."""
    hidden = generator.random(len(subtasks)) < unnamed
    return ["any" if hide else subtask for subtask, hide in zip(subtasks, hidden, strict=True)]
