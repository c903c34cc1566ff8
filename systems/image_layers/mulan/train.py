"""train@mulan: for every seed a U-Net that segments and sees depth, and a network that sees which mask hides which.

python -m stages train mulan
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from pydantic import Field
from safetensors.torch import save_file
from torch import nn

from systems.image_layers.mulan import masks
from systems.image_layers.mulan.examples import Cuts, Pairs, as_box, cuts_of, pairs_of
from systems.image_layers.mulan.fitting import Optimisation, OrderTraining, UNetTraining
from systems.image_layers.mulan.networks import Architecture, OrderNet, UNet
from systems.image_layers.mulan.scenes import Scene, read_scenes
from systems.image_layers.mulan.small import Networks, Saved, TeleaInpainter, UNetProvider, load
from systems.parts.grids import grid
from systems.parts.run import Run, Strict, Training
from systems.parts.step_batches import StepBatches

SHOWN = 8
COLOURS = ((228, 26, 28), (55, 126, 184), (77, 175, 74), (152, 78, 163), (255, 127, 0), (255, 255, 51))


class Params(Strict):
    """Parameters of the training."""

    data: str = Field(description="data set of scenes, as mulan")
    weights: str = Field(default="", description="fetched networks; not used")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, description="seeds, both networks for each")
    architecture: Architecture = Field(default=Architecture(), description="sizes of the networks")
    optimisation: Optimisation = Field(default=Optimisation(), description="optimiser of both")
    unet: Training = Field(description="training of the U-Net")
    order: Training = Field(description="training of the comparison")
    crossed: int = Field(default=2, ge=0, description="mutual occlusions made anew of every scene, for the comparison")
    held_out: int = Field(default=100, gt=0, description="test scenes measured")


@dataclass(frozen=True)
class Examples:
    """What is learnt from."""

    cuts: Cuts
    pairs: Pairs


def train(run: Run[Params]) -> None:
    """Fit and save both networks of every seed, and look at them on held-out scenes."""
    params = run.params
    scenes = read_scenes(run.inputs["data"], "train")
    saved = Saved(side=scenes[0].image.shape[0], architecture=params.architecture, seeds=params.seeds)
    (run.output / "model.json").write_text(json.dumps(saved.model_dump(mode="json"), indent=1) + "\n")
    examples = Examples(
        cuts_of(scenes, TeleaInpainter()), pairs_of(scenes, params.architecture.crop, crossed=params.crossed)
    )
    held_out = read_scenes(run.inputs["data"], "test", params.held_out)
    for seed in params.seeds:
        fit(run, examples, seed)
        measure(run, load(run.output, seed), held_out, seed)
    figures(run, load(run.output, params.seeds[0]), held_out[:SHOWN])


def fit(run: Run[Params], examples: Examples, seed: int) -> None:
    """Both networks of one seed."""
    params = run.params
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet(params.architecture.widths)
        order = OrderNet(params.architecture.order_widths)
    rows = {"row": torch.arange(len(examples.cuts.cuts))}
    module = UNetTraining(unet, examples.cuts, params.optimisation, params.unet.steps, seed)
    run.fit(module, StepBatches(rows, params.unet.batch, params.unet.steps, seed), params.unet, f"unet-{seed}")
    rows = {"row": torch.arange(len(examples.pairs.crops))}
    comparison = OrderTraining(order, examples.pairs, params.optimisation, params.order.steps, seed)
    run.fit(comparison, StepBatches(rows, params.order.batch, params.order.steps, seed), params.order, f"order-{seed}")
    save(run, f"unet-{seed}", unet)
    save(run, f"order-{seed}", order)


def save(run: Run[Params], label: str, network: nn.Module) -> None:
    """Weights as safetensors."""
    state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, run.output / f"{label}.safetensors")


def measure(run: Run[Params], networks: Networks, scenes: Sequence[Scene], seed: int) -> None:
    """Mean IoU of visible and of completed masks, order of depth, and right answers about pairs, on held-out scenes."""
    run.metric(f"seed {seed}/IoU of visible masks", visible_iou(networks, scenes))
    one_way, mutual = pair_accuracy(networks, pairs_of(scenes, networks.saved.architecture.crop))
    run.metric(f"seed {seed}/pairs in the right order", one_way)
    run.metric(f"seed {seed}/mutual pairs found", mutual)


def visible_iou(networks: Networks, scenes: Sequence[Scene]) -> float:
    """Mean over all instances, from their true boxes."""
    provider = UNetProvider(networks)
    return float(
        np.mean(
            [
                masks.iou(provider.segment(scene.image, as_box(box), None), mask)
                for scene in scenes
                for box, mask in zip(scene.boxes[1:], scene.visible[1:], strict=True)
            ]
        )
    )


@torch.no_grad()
def pair_accuracy(networks: Networks, pairs: Pairs) -> tuple[float, float]:
    """Share of one-way pairs whose surer answer is right, and share of mutual ones with both answers yes; 0 if none."""
    answers = networks.order.both_ways(pairs.crops.float() / 255)
    there, back = pairs.occludes.bool().unbind(1)
    one_way, mutual = there ^ back, there & back
    right = (answers[:, 0] > answers[:, 1]) == there
    return mean_of(right[one_way]), mean_of((answers > 0).all(1)[mutual])


def mean_of(answers: torch.Tensor) -> float:
    """Share of true answers, 0 where none was asked for."""
    return float(answers.float().mean()) if len(answers) else 0.0


def figures(run: Run[Params], networks: Networks, scenes: Sequence[Scene]) -> None:
    """Scenes, what is seen of every instance in truth and by the network, depth in truth and by the network."""
    provider = UNetProvider(networks)
    rows = [[scene.image for scene in scenes]]
    rows.append([coloured(scene.visible[1:]) for scene in scenes])
    rows.append(
        [
            coloured(np.stack([provider.segment(scene.image, as_box(box), None) for box in scene.boxes[1:]]))
            for scene in scenes
        ]
    )
    rows.append([grey((scene.visible * scene.depth[:, None, None]).sum(0)) for scene in scenes])
    rows.append([grey(provider.depth(scene.image)) for scene in scenes])
    caption = "Held-out scenes; visible masks, true and found in the true boxes; depth, true and seen, far is bright."
    run.figure("held-out", grid([np.stack(row) for row in rows], scale=1), caption)


def coloured(found: Bool[np.ndarray, "n h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Masks in colours, the last on top."""
    picture = np.zeros((*found.shape[1:], 3), np.uint8)
    for number, mask in enumerate(found):
        picture[mask] = COLOURS[number % len(COLOURS)]
    return picture


def grey(plane: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """0..1 as black to white."""
    return np.repeat((255 * plane.clip(0, 1)).round().astype(np.uint8)[..., None], 3, axis=-1)
