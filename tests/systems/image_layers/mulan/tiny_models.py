"""Tiny random checkpoints of the classes that the full scale loads, in the folders it reads."""

# ruff: noqa: S106 - tokens are words here

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLInpaintPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    DPTConfig,
    DPTForDepthEstimation,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    OPTConfig,
    PreTrainedTokenizerFast,
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
    SwinConfig,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<image>", ".", "?", "dog", "cat", "a", "USER", ":"]
IMAGE = WORDS.index("<image>")


def tokenizer(folder: Path) -> None:
    """A tokenizer of a dozen words, with the marks of BERT."""
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)


def grounding_dino(folder: Path) -> None:
    """Two layers of everything."""
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=5,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        d_model=32,
        num_feature_levels=4,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer(folder)


def sam(folder: Path) -> None:
    """64 px instead of 1024."""
    vision = SamVisionConfig(
        hidden_size=16,
        output_channels=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
        mlp_dim=16,
        window_size=2,
        global_attn_indexes=[0],
        num_pos_feats=8,
    )
    prompts = SamPromptEncoderConfig(hidden_size=16, image_size=64, patch_size=16, mask_input_channels=4)
    decoder = SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
    )
    SamModel(
        SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    ).save_pretrained(folder)


def dpt(folder: Path) -> None:
    """Four layers of which every one is read."""
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    DPTForDepthEstimation(config).save_pretrained(folder)


def vision_of(kind: Any) -> Any:
    """A picture encoder of four patches."""
    return kind(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    )


def blip2(folder: Path) -> None:
    """Three query tokens."""
    config = Blip2Config(
        vision_config=vision_of(Blip2VisionConfig),
        qformer_config=Blip2QFormerConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            encoder_hidden_size=16,
        ),
        text_config=OPTConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            ffn_dim=16,
            word_embed_proj_dim=16,
            max_position_embeddings=64,
        ),
        num_query_tokens=3,
        image_token_index=IMAGE,
    )
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer(folder)


def llava(folder: Path) -> None:
    """Four picture tokens."""
    text = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    config = LlavaConfig(
        vision_config=vision_of(CLIPVisionConfig), text_config=text, image_token_index=IMAGE, vision_feature_layer=-2
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    tokenizer(folder)


def text_of(end: int, size: int = 16) -> CLIPTextConfig:
    """A text encoder of a layer or two."""
    return CLIPTextConfig(
        vocab_size=1000,
        hidden_size=size,
        intermediate_size=size,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=size,
        bos_token_id=0,
        eos_token_id=end,
        pad_token_id=1,
    )


def clip(folder: Path) -> None:
    """Both towers."""
    config = CLIPConfig(
        text_config=text_of(WORDS.index("[SEP]")).to_dict(),
        vision_config=vision_of(CLIPVisionConfig).to_dict(),
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer(folder)


def sdxl(folder: Path) -> None:
    """The pipeline with 32-channel networks."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=9,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        norm_num_groups=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64,
        transformer_layers_per_block=(1, 1),
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
    )
    words = folder.parent / "words"
    words.mkdir()
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    (words / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(vocabulary)}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    speech = CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=77)
    StableDiffusionXLInpaintPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text_of(1)),
        text_encoder_2=CLIPTextModelWithProjection(text_of(1)),
        tokenizer=speech,
        tokenizer_2=speech,
        unet=unet,
        scheduler=EulerDiscreteScheduler(),
        add_watermarker=False,
    ).save_pretrained(folder)
