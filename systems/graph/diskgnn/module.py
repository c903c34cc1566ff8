"""Step 8 of card 39 as a Lightning module: node classification on mini-batches, watched once an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from systems.graph.diskgnn.loader import MiniBatch
from systems.graph.diskgnn.networks import accuracy
from systems.parts.graph_networks import GraphNetwork
from systems.parts.step_batches import step_generator


class NodeClassification(lightning.LightningModule):
    """Trains a network in place; `accuracies` has one on the watched batches before each epoch of `epoch` steps."""

    def __init__(self, network: GraphNetwork, lr: float, seed: int, epoch: int, watched: Sequence[MiniBatch]) -> None:
        super().__init__()
        self.network, self.lr, self.seed, self.epoch, self.watched = network, lr, seed, epoch, watched
        self.accuracies: list[float] = []

    def training_step(self, batch: MiniBatch, _: int) -> Float[Tensor, ""]:
        """Cross-entropy on the seeds; what is dropped depends on seed and step alone."""
        if self.global_step % self.epoch == 0:
            self.accuracies.append(self.watch())
        generator = torch.Generator(self.device).manual_seed(step_generator(self.seed, self.global_step).initial_seed())
        loss = F.cross_entropy(self.network(batch.x, batch.blocks, generator), batch.labels)
        self.log("loss", loss)
        return loss

    def watch(self) -> float:
        """Accuracy of the network as it is."""
        device = next(self.network.parameters()).device
        return accuracy(self.network, (self.transfer_batch_to_device(batch, device, 0) for batch in self.watched))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.network.parameters(), self.lr)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was watched for a resumed run."""
        checkpoint["accuracies"] = list(self.accuracies)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What was watched before the interruption."""
        self.accuracies = list(checkpoint["accuracies"])
