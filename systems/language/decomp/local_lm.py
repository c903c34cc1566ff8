"""SmolLM2-135M-Instruct as a handler and decomposer: prompted, on this machine, without a network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import torch

from systems.language.decomp.prompts import SYSTEM, one_line, worked
from systems.parts.errors import UserError

EXAMPLES = 8
"""Worked examples a prompt: with fewer the model does not even copy made-up words."""
PROGRAMS = 4
"""Worked programs a prompt, which are longer: its reading costs more than its answer."""
MOST_TOKENS = 48
WRITTEN = re.compile(r"(?<=QS: )(.+\n)")
"""A step of a draft that its decomposer wrote."""


def conversation(handler: str, prompt_set: int, text: str) -> list[dict[str, str]]:
    """Worked examples and a text to go on from, as turns of who asks and who answers: so the model was trained."""
    draft = text.startswith("QC: ")
    shown = worked(handler, prompt_set, PROGRAMS if draft else EXAMPLES)
    turns = [turn.strip() for parts in [*shown, WRITTEN.split(text)] for turn in parts]
    roles = ("system", *islice(cycle(("user", "assistant")), len(turns)))
    return [{"role": role, "content": turn} for role, turn in zip(roles, (SYSTEM, *turns), strict=True)]


class LocalModel:
    """The language model in a GGUF file of the fetched source, decoded greedily, many prompts at once."""

    def __init__(self, folder: Path, prompt_set: int = 0) -> None:
        """Raises `UserError` naming the folder where it holds no model."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        files = sorted(folder.glob("*.gguf"))
        if not files:
            raise UserError(f"parameter weights: {folder} holds no GGUF file; fetch the source with its model")
        named = {"gguf_file": files[0].name, "local_files_only": True}
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **named)
        self.network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **named)
        self.network.requires_grad_(False)
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self.prompt_set = prompt_set
        self.stops = [*{self.tokenizer.eos_token_id, *self.tokenizer.encode("\n", add_special_tokens=False)}]

    @torch.no_grad()
    def complete(self, handler: str, texts: Sequence[str]) -> list[str]:
        """The line with which the model answers each text."""
        prompts = [
            str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
            for turns in (conversation(handler, self.prompt_set, text) for text in texts)
        ]
        read = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        fixed = {"do_sample": False, "max_new_tokens": MOST_TOKENS, "pad_token_id": self.tokenizer.pad_token_id}
        written = self.network.generate(**read, **fixed, eos_token_id=self.stops)
        answers = self.tokenizer.batch_decode(written[:, read["input_ids"].shape[1] :], skip_special_tokens=True)
        return [one_line(answer, text) for answer, text in zip(answers, texts, strict=True)]
