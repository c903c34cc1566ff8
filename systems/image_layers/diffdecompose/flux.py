"""The paper's backbone: FLUX's transformer, scheduler and text encoders, an RGBA autoencoder, low-rank adapters.

Latents, tokens, ids, guidance and adapted layers are those of PhotoDoodle, the work DiffDecompose builds on; the
autoencoder is AlphaVAE's, or FLUX's own freshly widened. Weights are read as safetensors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

from systems.image_layers.diffdecompose import flow, packing, positions
from systems.image_layers.diffdecompose.backbone import Layer, Prediction
from systems.image_layers.diffdecompose.flux_params import FluxParams
from systems.parts import lora
from systems.parts.errors import UserError
from systems.parts.rgba_vae import widen_autoencoder

ADAPTED = (
    *(f"attn.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")),
    *(f"attn.{name}" for name in ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")),
    *(f"{stream}.{layer}" for stream in ("ff", "ff_context") for layer in ("net.0.proj", "net.2")),
)
"""Adapted layers: every block's attention projections and the double-stream blocks' two feed-forwards."""

UNNAMED = "Image 1 is a foreground with transparency, image 2 the background, image 3 the two blended into one picture."
"""The prompt of a picture whose blend nobody named, sub-task `any`."""

TRAINING_GUIDANCE = 1.0


@dataclass(frozen=True)
class Text:
    """A batch of prompts: T5's token vectors [b, t, c] and CLIP's pooled vector [b, p]."""

    tokens: Tensor
    pooled: Tensor


class FluxAutoencoder(nn.Module):
    """Diffusers' RGBA autoencoder with the face of `ConvVAE`, so that the same code trains both; always float32."""

    shift: Tensor
    scale: Tensor

    def __init__(self, vae: AutoencoderKL) -> None:
        """`vae` has four channels in and out."""
        super().__init__()
        self.net = vae
        self.register_buffer("shift", torch.tensor([vae.config["shift_factor"] or 0.0]))
        self.register_buffer("scale", torch.tensor([vae.config["scaling_factor"]]))

    def posterior(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b l lh lw"], Float[Tensor, "b l lh lw"]]:
        """Mean and logarithm of the variance of the latents of pictures in [-1, 1]."""
        gaussian = self.net.encode(x.to(self.net.dtype)).latent_dist
        return gaussian.mean.to(x), gaussian.logvar.to(x)

    def decode(self, latents: Float[Tensor, "b l lh lw"]) -> Float[Tensor, "b c h w"]:
        """Picture in [-1, 1] of unscaled latents."""
        out: Tensor = self.net.decode(latents.to(self.net.dtype)).sample
        return out.to(latents)

    @property
    def last_layer(self) -> Tensor:
        """Weights of the last convolution, where an adversarial loss is weighed."""
        weight: Tensor = self.net.decoder.conv_out.weight
        return weight


class TextEncoders(nn.Module):
    """FLUX's frozen T5 and CLIP with their tokenizers."""

    def __init__(self, params: FluxParams) -> None:
        """Load all four from the model's folders."""
        super().__init__()
        self.length = params.prompt_tokens
        dtype = getattr(torch, params.dtype)
        self.clip = _load(CLIPTextModel, params, "text_encoder", dtype=dtype, use_safetensors=True)
        self.t5 = _load(T5EncoderModel, params, "text_encoder_2", dtype=dtype, use_safetensors=True)
        # The tokenizers' own classes make up an empty vocabulary where files are missing; the automatic one refuses.
        self.clip_tokenizer = _load(AutoTokenizer, params, "tokenizer")
        self.t5_tokenizer = _load(AutoTokenizer, params, "tokenizer_2")

    @torch.no_grad()
    def forward(self, prompts: Sequence[str]) -> Text:
        """What the transformer's text stream takes."""
        long = self._ids(self.t5_tokenizer, prompts, self.length)
        short = self._ids(self.clip_tokenizer, prompts, self.clip_tokenizer.model_max_length)
        return Text(self.t5(long).last_hidden_state, self.clip(short).pooler_output)

    def _ids(self, tokenizer: Any, prompts: Sequence[str], length: int) -> Tensor:
        out = tokenizer(list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        ids: Tensor = out.input_ids
        return ids.to(self.t5.device)


class FluxBackbone(nn.Module):
    """`Backbone` at the paper's scale. Only the transformer's adapters ask for gradients."""

    prediction: Prediction = "velocity"
    patch = 2

    def __init__(
        self, params: FluxParams, position: positions.Position = "cloned", vae: FluxAutoencoder | None = None
    ) -> None:
        """Load every part, but for `vae` where given; one that is missing is a `UserError` that names the parameter."""
        super().__init__()
        if position == "additive":
            raise UserError(f"parameter position = {position}: FLUX takes rotary codes alone, cloned or permuted")
        self.params, self.position = params, position
        dtype = getattr(torch, params.dtype)
        self.transformer = _load(FluxTransformer2DModel, params, "transformer", torch_dtype=dtype, use_safetensors=True)
        self.scheduler = _load(FlowMatchEulerDiscreteScheduler, params, "scheduler")
        self.vae = FluxAutoencoder(load_autoencoder(params)) if vae is None else vae
        self.text = TextEncoders(params)
        self.requires_grad_(False)
        lora.add(self.transformer, ADAPTED, params.rank)
        if params.checkpointing:
            self.transformer.enable_gradient_checkpointing()

    def adapt(self, rank: int) -> None:
        """Make the adapters there are part of the weights, and put new ones of another rank on them."""
        lora.merge(self.transformer)
        lora.add(self.transformer, ADAPTED, rank)

    def train(self, mode: bool = True) -> FluxBackbone:
        """Training mode for the transformer alone: T5 would drop out words."""
        super().train(mode)
        self.text.eval()
        return self

    def encode(self, rgba: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b c lh lw"]:
        """Latents (mean - shift) * scale."""
        mean, _ = self.vae.posterior(2 * rgba - 1)
        return (mean - self.vae.shift) * self.vae.scale

    def decode(self, latents: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 4 h w"]:
        """Straight-alpha pictures in 0..1."""
        return ((self.vae.decode(latents / self.vae.scale + self.vae.shift) + 1) / 2).clamp(0, 1)

    def pack(self, latents: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b n d"]:
        """2 x 2 latent cells to one token, row by row."""
        return packing.pack(latents, self.patch)

    def unpack(self, tokens: Float[Tensor, "b n d"], lh: int, lw: int) -> Float[Tensor, "b c lh lw"]:
        """The inverse of `pack`."""
        return packing.unpack(tokens, lh, lw, self.patch)

    def position_ids(self, layer: Layer, lh: int, lw: int) -> Float[Tensor, "n 3"]:
        """(layer, row, column): FLUX's image ids, with the first slot, unused there, telling x from y and z."""
        return positions.position_ids(layer, lh // self.patch, lw // self.patch, self.position)

    def condition(self, prompts: Sequence[str], subtasks: Sequence[str]) -> Text:
        """Encoded prompts; the general one for the sub-task `any`."""
        pairs = zip(prompts, subtasks, strict=True)
        text: Text = self.text([UNNAMED if subtask == "any" else prompt for prompt, subtask in pairs])
        return text

    def levels(self, count: int, generator: torch.Generator) -> Float[Tensor, " b"]:
        """Noise levels of a training batch, uniform over the scheduler's."""
        return flow.uniform_sigma(count, generator, self.scheduler.config.num_train_timesteps)

    def sigmas(self, steps: int, tokens: int) -> list[float]:
        """Noise levels from 1 down to 0 for `steps` Euler steps, shifted by the count of all image tokens, z's too."""
        config = self.scheduler.config
        share = (tokens - config.base_image_seq_len) / (config.max_image_seq_len - config.base_image_seq_len)
        shift = config.base_shift + share * (config.max_shift - config.base_shift)
        self.scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps).tolist(), mu=shift)
        levels: list[float] = self.scheduler.sigmas.tolist()
        return levels

    def predict(
        self, tokens: Float[Tensor, "b m d"], ids: Float[Tensor, "m 3"], condition: Text, sigma: Float[Tensor, " b"]
    ) -> Float[Tensor, "b m d"]:
        """The velocity eps - s of every token; guidance 1 where gradients are wanted, the parameter's in sampling."""
        dtype = self.transformer.x_embedder.weight.dtype
        guidance = TRAINING_GUIDANCE if torch.is_grad_enabled() else self.params.guidance
        (out,) = self.transformer(
            hidden_states=tokens.to(dtype),
            timestep=sigma.to(dtype),
            guidance=torch.full_like(sigma, guidance) if self.transformer.config.guidance_embeds else None,
            encoder_hidden_states=condition.tokens.to(dtype),
            pooled_projections=condition.pooled.to(dtype),
            img_ids=ids.to(tokens.device),
            txt_ids=ids.new_zeros(condition.tokens.shape[1], 3).to(tokens.device),
            return_dict=False,
        )
        velocity: Tensor = out.to(tokens)
        return velocity


def load_autoencoder(params: FluxParams) -> AutoencoderKL:
    """The RGBA autoencoder; one of three channels is widened."""
    source = {"field": "vae", "name": params.vae} if params.vae else {}
    folder = params.vae_folder if params.vae else "vae"
    vae: AutoencoderKL = _load(AutoencoderKL, params, folder, **source, torch_dtype=torch.float32, use_safetensors=True)
    if vae.config["in_channels"] == 3:
        widen_autoencoder(vae)
    return vae


def _load(part: Any, params: FluxParams, folder: str, field: str = "model", name: str = "", **options: Any) -> Any:
    """`part` from a folder of the model (or of `name`), from the disk alone unless downloads are allowed."""
    name = name or params.model
    try:
        return part.from_pretrained(name, subfolder=folder, local_files_only=not params.download, **options)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"parameter flux.{field} = {name}: no readable {part.__name__} in {folder or 'it'} ({reason}); "
            "name a folder in diffusers' layout, or set flux.download to true to fetch it from the hub"
        ) from error
