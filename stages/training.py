"""The Lightning trainer behind `Run.fit`: checkpoints outside the outputs, exact resume, progress, sample pictures."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from PIL import Image

from systems.parts.run import Training

if TYPE_CHECKING:
    from stages.run import StageRun

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", module="lightning.pytorch", message=".*does not have many workers.*")

LOG_EVERY = 20


class Curves(Callback):
    """Hands what a module logs to the run, and carries the curves through checkpoints for a resumed run.

    Not a logger: Lightning calls those after it has saved a checkpoint, in which the last point would be missing.
    """

    def __init__(self, run: StageRun[Any], label: str) -> None:
        self.run, self.label = run, label

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Pass every metric, its mean over all devices, on as a point of `<label>/<metric>`, every so many steps."""
        if trainer.global_step % LOG_EVERY == 0:
            for key, value in trainer.logged_metrics.items():
                mean = trainer.strategy.reduce(value, reduce_op="mean")
                self.run.metric(f"{self.label}/{key}", float(mean), trainer.global_step - 1)

    def state_dict(self) -> dict[str, Any]:
        """Points so far of this fit's curves."""
        return {key: [list(point) for point in points] for key, points in self.run.curves.items() if self._mine(key)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Points of the curves before the interruption."""
        for key, points in state.items():
            self.run.curves[key] = [(int(step), float(value)) for step, value in points]

    def _mine(self, key: str) -> bool:
        return key.startswith(f"{self.label}/")


class SamplePictures(Callback):
    """Saves `module.sample_picture()`, an RGB uint8 array, every so many steps, and gives it to the run."""

    def __init__(self, run: StageRun[Any], label: str, folder: Path, every: int) -> None:
        self.run, self.label, self.folder, self.every = run, label, folder, every

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        """Draw at the chosen steps."""
        step = trainer.global_step
        if (step % self.every and step != trainer.max_steps) or not trainer.is_global_zero:
            return
        draw: Callable[[], Any] | None = getattr(module, "sample_picture", None)
        if draw is not None:
            module.eval()
            picture = draw()
            module.train()
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{step:07d}.png"
            Image.fromarray(picture).save(path)
            self.run.tracker.artifact(path, f"samples/{self.label}")


def fit(run: StageRun[Any], module: lightning.LightningModule, data: Any, training: Training, label: str) -> None:
    """Train `module` in place; a run that was killed goes on from its last checkpoint and ends with the same weights.

    Checkpoints lie in the run's work folder, which goes when the stage has ended well.
    """
    folder = run.work / label.replace("/", "_")
    trainer = lightning.Trainer(
        max_steps=training.steps,
        accelerator=training.accelerator,
        devices=training.devices,
        num_nodes=training.num_nodes,
        strategy=training.strategy,
        precision=training.precision,
        gradient_clip_val=training.clip or None,
        deterministic=True,
        logger=False,
        enable_model_summary=False,
        enable_checkpointing=True,
        use_distributed_sampler=False,
        default_root_dir=folder,
        callbacks=_callbacks(run, training, label, folder),
    )
    last = folder / "last.ckpt"
    trainer.fit(module, data, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    for picture in sorted((folder / "samples").glob("*.png")) if trainer.is_global_zero else ():
        target = run.plots / label / picture.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, target)


def _callbacks(run: StageRun[Any], training: Training, label: str, folder: Path) -> list[Callback]:
    return [
        ModelCheckpoint(
            dirpath=folder,
            filename="last",
            every_n_train_steps=min(training.checkpoint_every, training.steps),
            save_top_k=1,
            enable_version_counter=False,
        ),
        Curves(run, label),
        SamplePictures(run, label, folder / "samples", training.sample_every),
        TQDMProgressBar(refresh_rate=max(1, training.steps // 100)),
    ]
