"""train@mulan: for every seed a network that cuts out, one that sees depth, and one that sees which mask hides which.

python -m stages train mulan
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn

from systems.image_layers.mulan import eye, masks
from systems.image_layers.mulan.examples import (
    Cuts,
    Maps,
    Pairs,
    as_box,
    cuts_of,
    known,
    maps_of,
    pairs_of,
    scene_pairs,
    with_crossings,
)
from systems.image_layers.mulan.fitting import Optimisation, OrderTraining, SceneTraining, SegmenterTraining, Small
from systems.image_layers.mulan.networks import Architecture, OrderNet, SceneNet, Segmenter
from systems.image_layers.mulan.rehearsal import found_in, seen_depth
from systems.image_layers.mulan.scenes import Scene, read_scenes
from systems.image_layers.mulan.small import EYE, HALF, Networks, PairOrder, Saved, TeleaInpainter, UNetProvider, load
from systems.image_layers.mulan.views import View, album
from systems.parts.errors import UserError
from systems.parts.grids import grid
from systems.parts.run import Run, Strict, Training
from systems.parts.step_batches import StepBatches

SHOWN = 8
COLOURS = ((228, 26, 28), (55, 126, 184), (77, 175, 74), (152, 78, 163), (255, 127, 0), (255, 255, 51))


class Params(Strict):
    """Parameters of the training."""

    data: str = Field(description="data set of scenes, as mulan")
    weights: str = Field(default="", description="fetched networks, of which EfficientNet-lite0 is the eye, as weights")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, description="seeds, all networks for each")
    architecture: Architecture = Field(default=Architecture(), description="sizes of the networks")
    optimisation: Optimisation = Field(default=Optimisation(), description="optimiser of all")
    segment: Training = Field(description="training of the network that cuts out")
    scene: Training = Field(description="training of the network that sees depth and things")
    order: Training = Field(description="training of the comparison")
    crossed: float = Field(default=0.2, ge=0, le=1, description="share of the scenes crossed anew for the comparison")
    held_out: int = Field(default=100, gt=0, description="test scenes measured")


@dataclass(frozen=True)
class Examples:
    """What is learnt from; the album holds the scenes, then those uncovered, then those with crossings made anew."""

    album: View
    cuts: Cuts
    maps: Maps
    scenes: Sequence[Scene]
    pictures: Sequence[int]


def train(run: Run[Params]) -> None:
    """Fit and save the networks of every seed, and look at them on held-out scenes."""
    params = run.params
    scenes = read_scenes(run.inputs["data"], "train")
    saved = Saved(side=scenes[0].image.shape[0], architecture=params.architecture, seeds=params.seeds)
    (run.output / "model.json").write_text(json.dumps(saved.model_dump(mode="json"), indent=1) + "\n")
    looking = pretrained_eye(run)
    save(run.output / EYE, looking)
    examples = examples_of(scenes, looking, params)
    held_out = read_scenes(run.inputs["data"], "test", params.held_out)
    for seed in params.seeds:
        fit(run, examples, seed)
        measure(run, load(run.output, seed), held_out, seed)
    figures(run, load(run.output, params.seeds[0]), held_out[:SHOWN])


def pretrained_eye(run: Run[Params]) -> eye.Eye:
    """The fetched one, or random filters where there is none."""
    path = run.inputs.get("weights", Path()) / eye.FILE
    run.metric("pretrained eye", float(path.is_file()))
    return eye.Eye.read(path) if path.is_file() else eye.Eye.random()


def examples_of(scenes: Sequence[Scene], looking: eye.Eye, params: Params) -> Examples:
    """Everything that does not depend on a seed."""
    side, architecture = scenes[0].image.shape[0], params.architecture
    if side % architecture.grain:
        raise UserError(f"scenes of {side} px: multiples of {architecture.grain} are wanted by the networks")
    cuts, uncovered = cuts_of(scenes, TeleaInpainter())
    crossed = with_crossings(scenes, params.crossed)
    pictures = [scene.image for scene in scenes] + uncovered + [scene.image for scene in crossed]
    numbers = [*range(len(scenes)), *range(len(pictures) - len(crossed), len(pictures))]
    seen = album(pictures, looking, side, architecture.sharpness, architecture.grain)
    return Examples(seen, cuts, maps_of(scenes), [*scenes, *crossed], numbers)


def fit(run: Run[Params], examples: Examples, seed: int) -> None:
    """All networks of one seed, and the comparison last: it learns from what the others find."""
    params, album = run.params, examples.album
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        segmenter, scene = Segmenter(params.architecture), SceneNet(params.architecture)
        order = OrderNet(params.architecture)

    def settle(name: str, module: Small, network: nn.Module, count: int, how: Training) -> None:
        run.fit(module, StepBatches({"row": torch.arange(count)}, how.batch, how.steps, seed), how, f"{name}-{seed}")
        save(run.output / f"{name}-{seed}.safetensors", network)

    how, cuts, maps = params.optimisation, examples.cuts, examples.maps
    cutting = SegmenterTraining(segmenter, album, cuts, how, params.segment.steps, seed)
    settle("segment", cutting, segmenter, len(cuts.pictures), params.segment)
    seeing = SceneTraining(scene, album, maps, how, params.scene.steps, seed)
    settle("scene", seeing, scene, len(maps.depth), params.scene)
    depth = seen_depth(album, scene)
    pairs = pairs_to_learn(examples, segmenter, depth, seed)
    comparing = OrderTraining(order, album, pairs, how, params.order.steps, seed)
    settle("order", comparing, order, len(pairs.facts), params.order)


def pairs_to_learn(examples: Examples, segmenter: Segmenter, depth: Tensor, seed: int) -> Pairs:
    """Pairs of true masks, and of those that are found."""
    scenes, pictures = examples.scenes, examples.pictures
    found = found_in(scenes, pictures, examples.album, depth, segmenter, seed)
    truth = [known(one) for one in scenes]
    depths = [depth[picture].float().numpy() for picture in pictures]
    return pairs_of([*scenes, *scenes], [*truth, *found], [*depths, *depths])


def save(path: Path, network: nn.Module) -> None:
    """Weights as safetensors."""
    save_file({name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}, path)


def measure(run: Run[Params], networks: Networks, scenes: Sequence[Scene], seed: int) -> None:
    """Mean IoU of visible and of completed masks, order of depth, and right answers about pairs, on held-out scenes."""
    run.metric(f"seed {seed}/IoU of visible masks", visible_iou(networks, scenes))
    one_way, mutual = pair_accuracy(networks, scenes)
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


def pair_accuracy(networks: Networks, scenes: Sequence[Scene]) -> tuple[float, float]:
    """Of true masks: share of one-way pairs whose surer answer is right, of mutual ones with both yes; 0 if none."""
    order, right, mutual = PairOrder(networks), [], []
    for scene in scenes:
        for (first, second), (there, back) in scene_pairs(scene, known(scene)):
            forth, reverse = order.occludes(scene.image, first, second)
            if there and back:
                mutual.append(min(forth, reverse) > HALF)
            elif there or back:
                right.append((forth > reverse) == there)
    return mean_of(right), mean_of(mutual)


def mean_of(answers: Sequence[bool]) -> float:
    """Share of true answers, 0 where none was asked for."""
    return float(np.mean(answers)) if answers else 0.0


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
