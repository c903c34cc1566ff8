"""SmolLM2-135M-Instruct as a handler and decomposer: prompted, on this machine, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from systems.language.decomp.prompts import examples, one_line
from systems.parts.errors import UserError

EXAMPLES = 2
"""Worked examples a prompt: its reading costs more than its answer."""
MOST_TOKENS = 48


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
        """The line with which the model goes on from each text; it sees them as plain text, without roles."""
        shown = examples(handler, self.prompt_set, EXAMPLES)
        prompts = [f"{shown}\n{text.rstrip()}" for text in texts]
        read = self.tokenizer(prompts, return_tensors="pt", padding=True)
        fixed = {"do_sample": False, "max_new_tokens": MOST_TOKENS, "pad_token_id": self.tokenizer.pad_token_id}
        written = self.network.generate(**read, **fixed, eos_token_id=self.stops)
        answers = self.tokenizer.batch_decode(written[:, read["input_ids"].shape[1] :], skip_special_tokens=True)
        return [one_line(answer, text) for answer, text in zip(answers, texts, strict=True)]
