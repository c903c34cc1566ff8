"""Parameters of the large backbone, apart from it so that naming them does not import diffusers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from systems.parts import lora
from systems.parts.run import Strict


class FluxParams(Strict):
    """Where the large backbone's weights lie and how it is adapted."""

    model: str = Field(default="black-forest-labs/FLUX.1-dev", description="folder or hub name, in diffusers' layout")
    vae: str = Field(default="o0o0o00o0/AlphaVAE", description="RGBA autoencoder; empty: the model's own, widened")
    vae_folder: str = Field(default="", description="folder inside `vae` that holds the autoencoder")
    download: bool = Field(default=False, description="fetch what is missing from the hub instead of refusing to start")
    dtype: Literal["float32", "bfloat16"] = Field(default="bfloat16", description="type of all but VAE and adapters")
    rank: int = Field(default=128, description="rank of the adapters, and their alpha")
    checkpointing: bool = Field(default=True, description="recompute activations in the backward pass to save memory")
    guidance: float = Field(default=3.5, ge=0, description="guidance input when sampling; 1 in training")
    prompt_tokens: int = Field(default=512, gt=0, description="T5 tokens a prompt is padded or cut to")

    @field_validator("rank")
    @classmethod
    def _rank_is_positive(cls, rank: int) -> int:
        lora.check_rank(rank)
        return rank
