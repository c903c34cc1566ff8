"""Captions: BLIP-2 and LLaVA each say what they see, CLIP chooses. All from local folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import (
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    CLIPModel,
    LlavaForConditionalGeneration,
)

from systems.image_layers.mulan.providers import Mask, Picture
from systems.image_layers.mulan.scenes import box_of

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Those of CLIP, by which all three standardise pictures."""
WORDS = 30
QUESTION = "USER: <image>\nName the main thing in this picture in a short phrase. ASSISTANT:"
MARGIN = 0.1


def device() -> torch.device:
    """The first GPU, or the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def read(kind: Any, folder: Path) -> Any:
    """A model of a class of transformers, ready to answer; nothing is downloaded."""
    return kind.from_pretrained(folder, local_files_only=True).eval().to(device())


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer that lies beside a model."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def looked_at(image: Picture, side: int) -> Float[Tensor, "1 3 s s"]:
    """A picture as the three were trained to see one."""
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    plain = (small - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return torch.from_numpy(np.ascontiguousarray(plain.transpose(2, 0, 1)))[None]


@dataclass(frozen=True)
class Writer:
    """A model that writes about a picture: BLIP-2, or LLaVA where there is a question with a place for the picture."""

    model: Any
    tokenizer: Any
    tokens: int
    question: str = ""

    @classmethod
    def blip2(cls, folder: Path) -> Writer:
        """Salesforce/blip2-opt-2.7b."""
        model = read(Blip2ForConditionalGeneration, folder)
        return cls(model, read_tokenizer(folder), int(model.config.num_query_tokens))

    @classmethod
    def llava(cls, folder: Path) -> Writer:
        """llava-hf/llava-1.5-7b-hf."""
        model = read(LlavaForConditionalGeneration, folder)
        vision = model.config.vision_config
        return cls(model, read_tokenizer(folder), (vision.image_size // vision.patch_size) ** 2, QUESTION)

    @torch.no_grad()
    def write(self, image: Picture) -> str:
        """A phrase."""
        place = [int(self.model.config.image_token_id)] * self.tokens
        before, after = self.question.split("<image>") if self.question else ("", "")
        numbers = [*self._numbers(before, special=True), *place, *self._numbers(after, special=False)]
        ids = torch.tensor([numbers], device=self.model.device)
        pixels = looked_at(image, int(self.model.config.vision_config.image_size)).to(self.model.device)
        written = self.model.generate(
            pixel_values=pixels,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=WORDS,
            do_sample=False,
        )
        answer = written[0][ids.shape[1] :] if written.shape[1] > ids.shape[1] else written[0]
        return str(self.tokenizer.decode(answer, skip_special_tokens=True)).strip()

    def _numbers(self, text: str, special: bool) -> list[int]:
        numbers: list[int] = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        return numbers


@dataclass(frozen=True)
class Judge:
    """How well phrases fit a picture (openai/clip-vit-large-patch14)."""

    model: Any
    tokenizer: Any

    @classmethod
    def load(cls, folder: Path) -> Judge:
        """From a folder."""
        return cls(read(CLIPModel, folder), read_tokenizer(folder))

    @torch.no_grad()
    def best(self, image: Picture, phrases: Sequence[str]) -> str:
        """The phrase that fits best."""
        words = self.tokenizer(list(phrases), padding=True, truncation=True, return_tensors="pt").to(self.model.device)
        pixels = looked_at(image, int(self.model.config.vision_config.image_size)).to(self.model.device)
        fits = self.model(pixel_values=pixels, **words).logits_per_image[0]
        return phrases[int(fits.argmax())]


@dataclass(frozen=True)
class Describer:
    """The best of what the writers and the detector say."""

    writers: Sequence[Writer]
    judge: Judge

    @classmethod
    def load(cls, weights: Path) -> Describer:
        """From the folders blip2, llava and clip."""
        return cls((Writer.blip2(weights / "blip2"), Writer.llava(weights / "llava")), Judge.load(weights / "clip"))

    def caption(self, image: Picture, mask: Mask, label: str) -> str:
        """A phrase for what is in the mask, seen with a little of what is around it."""
        crop = around(image, mask)
        phrases = [phrase for phrase in (label, *(writer.write(crop) for writer in self.writers)) if phrase]
        return self.judge.best(crop, phrases) if phrases else label


def around(image: Picture, mask: Mask) -> Picture:
    """The part of a picture around a mask; all of it where the mask is empty."""
    left, top, right, bottom = box_of(mask)
    if right == left:
        return image
    across, down = round(MARGIN * (right - left)), round(MARGIN * (bottom - top))
    return image[max(0, top - down) : bottom + down, max(0, left - across) : right + across]
