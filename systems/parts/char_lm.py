"""A small decoder-only language model over characters, trained on packed texts and decoded many prompts at once.

Template phrases, which hold no information letter by letter, are one token each (`Vocabulary.pieces`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

import lightning
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from systems.parts.dit import rotary_angles, rotate
from systems.parts.errors import UserError
from systems.parts.run import Strict

PAD, STOP = 0, "\n"
"""Token of nothing, and the character that ends what the model writes."""
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 .,;:?!'\"#()[]{}_-\\\n"
MASKED = -1e9
BASE = 1000.0
"""Slowest turn of the rotary positions, in tokens a radian."""
Cache = list[tuple[Tensor, Tensor]]


class CharLMParams(Strict):
    """Size of a network."""

    width: int = Field(default=64, gt=0, description="channels of a token")
    depth: int = Field(default=3, gt=0, description="blocks")
    heads: int = Field(default=4, gt=0, description="attention heads; they divide half the width")
    window: int = Field(default=160, gt=0, description="tokens of a training row")


class Vocabulary:
    """Characters, and pieces of text that count as one."""

    def __init__(self, pieces: Sequence[str], characters: str = CHARACTERS) -> None:
        self.pieces, self.characters = tuple(pieces), characters
        self.words = ("", *characters, *self.pieces)
        self.places = {word: place for place, word in enumerate(self.words)}
        longest = sorted(self.pieces, key=len, reverse=True)
        self.pattern = re.compile("|".join([*map(re.escape, longest), "."]), re.DOTALL)

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text; raises `UserError` naming a character that the vocabulary lacks."""
        found = self.pattern.findall(text)
        unknown = next((word for word in found if word not in self.places), None)
        if unknown is not None:
            raise UserError(f"text {text[:60]!r}: the character model has no {unknown!r}")
        return [self.places[word] for word in found]

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of tokens."""
        return "".join(self.words[token] for token in tokens)


class Block(nn.Module):
    """Causal attention with rotary positions and feed-forward, both after a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_in, self.feed_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self,
        x: Float[Tensor, "b m c"],
        angles: Float[Tensor, "#b 1 m half"],
        mask: Bool[Tensor, "b m n"],
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "b m c"], tuple[Tensor, Tensor]]:
        """Residual stream of `m` tokens that see those of `n`, `past` ones first, where the mask is true."""
        b, m, c = x.shape
        q, k, v = self.to_qkv(self.norm1(x)).view(b, m, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, angles) * q.shape[-1] ** -0.5, rotate(k, angles)
        if past is not None:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        seen = (q @ k.transpose(-1, -2)).masked_fill(~mask[:, None], MASKED).softmax(dim=-1)
        x = x + self.to_out((seen @ v).transpose(1, 2).reshape(b, m, c))
        return x + self.feed_out(F.gelu(self.feed_in(self.norm2(x)))), (k, v)


class CharLM(nn.Module):
    """Tokens to scores of the next one. Positions are relative, so that a text may stand anywhere."""

    def __init__(self, params: CharLMParams, words: int) -> None:
        super().__init__()
        if params.width % (2 * params.heads):
            raise UserError(f"parameter heads = {params.heads}: a divisor of half the width, {params.width}, is wanted")
        self.params = params
        self.tokens = nn.Embedding(words, params.width)
        self.blocks = nn.ModuleList(Block(params.width, params.heads) for _ in range(params.depth))
        self.norm = nn.LayerNorm(params.width)
        nn.init.normal_(self.tokens.weight, std=0.05)

    def forward(
        self,
        tokens: Int[Tensor, "b m"],
        mask: Bool[Tensor, "b m n"],
        past: Cache | None = None,
        places: Int[Tensor, "#b m"] | None = None,
    ) -> tuple[Float[Tensor, "b m v"], Cache]:
        """Scores of the token after each, and keys and values to go on from; without `places` the mask's last ones."""
        x = self.tokens(tokens)
        if places is None:
            places = torch.arange(mask.shape[2] - tokens.shape[1], mask.shape[2], device=x.device)[None]
        turned = rotary_angles(places.reshape(-1, 1).float(), [self.params.width // self.params.heads], BASE)
        angles = turned.view(len(places), 1, tokens.shape[1], -1)
        kept: Cache = []
        for number, block in enumerate(self.blocks):
            x, own = block(x, angles, mask, past[number] if past else None)
            kept.append(own)
        return self.norm(x) @ self.tokens.weight.T, kept

    @torch.no_grad()
    def write(self, prompts: Sequence[Sequence[int]], stop: int, most: int) -> list[list[int]]:
        """Greedy continuations of prompts by at most `most` tokens, without the `stop` that ends them.

        All prompts go forward together: they stand to the left of a common end, so that each step adds one column of
        keys.
        """
        longest = max(map(len, prompts))
        tokens = torch.tensor([[PAD] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        columns = torch.arange(longest + most)
        real = columns >= torch.tensor([longest - len(prompt) for prompt in prompts])[:, None]
        mask = real[:, None, :longest] & (columns[:longest, None] >= columns[:longest])
        written: list[list[int]] = [[] for _ in prompts]
        going = torch.ones(len(prompts), dtype=torch.bool)
        past: Cache | None = None
        for column in range(longest, longest + most):
            scores, past = self(tokens, mask, past)
            tokens = scores[:, -1:].argmax(-1)
            going &= tokens[:, 0] != stop
            if not going.any():
                break
            for row in going.nonzero()[:, 0].tolist():
                written[row].append(int(tokens[row, 0]))
            mask = real[:, None, : column + 1]
        return written


def no_gaps(parts: int) -> Sequence[int]:
    """Parts of a text that follow each other at once."""
    return [0] * parts


class Gaps:
    """Random gaps between the parts of a text from its first answer on, as if its history were longer.

    So far look-ups are trained too. Their scale differs between texts: some have hardly any.
    """

    def __init__(self, rng: np.random.Generator, most: int) -> None:
        self.rng, self.most = rng, most

    def __call__(self, parts: int) -> Sequence[int]:
        """One gap a part, none in front of the first two: a question and what is written next stay together."""
        largest = int(self.rng.integers(self.most + 1))
        later = self.rng.integers(largest + 1, size=max(0, parts - 2))
        return [0] * min(parts, 2) + [int(gap) for gap in later]


Packed = dict[str, Tensor]
"""Texts in rows of one length [rows, window]: `tokens`, `owner` (number of the text), `weight` in the loss, `place`."""


def pack(
    texts: Iterable[Sequence[tuple[Sequence[int], bool]]], window: int, gaps: Callable[[int], Sequence[int]] = no_gaps
) -> Packed:
    """Fill rows of `window` tokens with whole texts; each text is a sequence of (tokens, to be written?).

    What is given has no weight; each token of n to be written has n ** -0.5, or long answers would hide short ones.
    Places are counted from the start of a text; `gaps` of so many parts are left empty in front of each.
    """
    rows: list[list[tuple[int, int, float, int]]] = []
    for number, text in enumerate(texts):
        whole: list[tuple[int, int, float, int]] = []
        shift = 0
        for (part, write), gap in zip(text, gaps(len(text)), strict=True):
            shift += gap
            weight = len(part) ** -0.5 if write else 0.0
            whole += [(token, number, weight, shift + place) for place, token in enumerate(part, len(whole))]
        if len(whole) > window:
            raise UserError(f"parameter window = {window}: a text of {len(whole)} tokens does not fit")
        if not rows or len(rows[-1]) + len(whole) > window:
            rows.append([])
        rows[-1].extend(whole)
    filled = [row + [(PAD, -1, 0.0, 0)] * (window - len(row)) for row in rows]
    names = ("tokens", "owner", "weight", "place")
    return {name: torch.tensor([[entry[n] for entry in row] for row in filled]) for n, name in enumerate(names)}


def cosine_with_warmup(optimizer: torch.optim.Optimizer, warmup: int, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Step size factor: linear up to 1 over `warmup` steps, then half a cosine down to 0 at `steps`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


class Writing(lightning.LightningModule):
    """Trains a `CharLM` in place on batches of packed rows; the loss counts what is to be written alone."""

    def __init__(self, network: CharLM, lr: float, warmup: int, steps: int) -> None:
        super().__init__()
        self.network, self.lr, self.warmup, self.steps = network, lr, warmup, steps

    def training_step(self, batch: dict[str, Tensor], _: int) -> Float[Tensor, ""]:
        """Weighted mean of the cross-entropy."""
        tokens, owner = batch["tokens"], batch["owner"]
        window = tokens.shape[1]
        causal = torch.ones(window, window, dtype=torch.bool, device=tokens.device).tril()
        mask = causal & (owner[:, :, None] == owner[:, None, :])
        scores, _kept = self.network(tokens, mask, places=batch["place"])
        weight, wanted = batch["weight"][:, 1:], batch["weight"][:, 1:] > 0
        losses = F.cross_entropy(scores[:, :-1][wanted].float(), tokens[:, 1:][wanted], reduction="none")
        loss: Tensor = (losses * weight[wanted]).sum() / weight.sum()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with warm-up and cosine."""
        optimizer = torch.optim.AdamW(self.parameters(), self.lr, betas=(0.9, 0.98), weight_decay=0.01, foreach=True)
        schedule = cosine_with_warmup(optimizer, self.warmup, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
