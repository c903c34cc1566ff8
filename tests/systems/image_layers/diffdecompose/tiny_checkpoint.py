"""A FLUX checkpoint of the true classes with tiny random weights, in diffusers' folder layout."""

import string
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

LETTERS = (*string.ascii_lowercase, *string.digits, ".", ",")
LATENTS = 4
WIDTH = 16


def write_tiny_checkpoint(folder: Path, seed: int = 0) -> None:
    """Write transformer, scheduler, RGB autoencoder, text encoders and tokenizers under `folder`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer().save_pretrained(folder / "transformer")
        autoencoder(3).save_pretrained(folder / "vae")
        FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True).save_pretrained(folder / "scheduler")
        write_clip(folder)
        write_t5(folder)


def transformer() -> FluxTransformer2DModel:
    """Two double-stream and three single-stream blocks of two heads."""
    return FluxTransformer2DModel(
        in_channels=4 * LATENTS,
        num_layers=2,
        num_single_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )


def autoencoder(channels: int) -> AutoencoderKL:
    """Twice down, four latent channels; FLUX's shift and scale, and like FLUX's without quantisation convolutions."""
    return AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=LATENTS,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def write_clip(folder: Path) -> None:
    """CLIP's text model over single letters."""
    pieces = ("<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS))
    tokenizer = CLIPTokenizer({piece: k for k, piece in enumerate(pieces)}, [], model_max_length=12)
    tokenizer.save_pretrained(folder / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")


def write_t5(folder: Path) -> None:
    """T5's encoder over single letters."""
    pieces = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")] + [(piece, -2.0) for piece in ("▁", *LETTERS)]
    tokenizer = T5Tokenizer(pieces, extra_ids=0)
    tokenizer.save_pretrained(folder / "tokenizer_2")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=2, dropout_rate=0.5
    )
    T5EncoderModel(config).save_pretrained(folder / "text_encoder_2")
