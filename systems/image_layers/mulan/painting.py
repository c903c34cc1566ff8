"""Inpainting by a diffusion model: `diffusers/stable-diffusion-xl-1.0-inpainting-0.1` from a local folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLInpaintPipeline
from PIL import Image

from systems.image_layers.mulan.providers import Mask, Picture

STEPS = 30
STRENGTH = 0.99
"""At 1 the model's first guess is a grey picture; its authors' card says so."""
GRAIN = 8


@dataclass(frozen=True)
class DiffusionInpainter:
    """Fills holes with what the caption says. The same hole in the same picture is always filled alike."""

    pipeline: Any
    side: int = 1024
    steps: int = STEPS

    @classmethod
    def load(cls, folder: Path, side: int = 1024, steps: int = STEPS) -> DiffusionInpainter:
        """From a folder."""
        precision = torch.float16 if torch.cuda.is_available() else torch.float32
        kind: Any = StableDiffusionXLInpaintPipeline
        pipeline = kind.from_pretrained(folder, dtype=precision, local_files_only=True, add_watermarker=False)
        pipeline.set_progress_bar_config(disable=True)
        return cls(pipeline.to("cuda" if torch.cuda.is_available() else "cpu"), side, steps)

    @torch.no_grad()
    def inpaint(self, image: Picture, region: Mask, caption: str) -> Picture:
        """Only the region changes."""
        if not region.any():
            return image
        scale = self.side / max(image.shape[:2])
        height, width = (max(1, round(length * scale / GRAIN)) * GRAIN for length in image.shape[:2])
        painted = self.pipeline(
            prompt=caption,
            image=Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS),
            mask_image=Image.fromarray(region).resize((width, height), Image.Resampling.NEAREST),
            height=height,
            width=width,
            strength=STRENGTH,
            num_inference_steps=self.steps,
            generator=torch.Generator().manual_seed(0),
        ).images[0]
        filled = np.asarray(painted.convert("RGB").resize(image.shape[1::-1], Image.Resampling.LANCZOS))
        return np.where(region[..., None], filled, image)
