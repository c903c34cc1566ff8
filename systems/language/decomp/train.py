"""train@decomp: the handlers, the writer of programs, and baselines of the same size, steps and characters.

python -m stages train decomp
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from pydantic import Field, model_validator

from systems.language.decomp import models, tasks
from systems.language.decomp.synthesize import SOURCES
from systems.parts.char_lm import CharLM, CharLMParams, Gaps, Packed, Vocabulary, Writing, pack
from systems.parts.errors import UserError
from systems.parts.run import Run, Strict, Training
from systems.parts.step_batches import StepBatches

Row = dict[str, str | int]


class Trained(Strict):
    """What one model learns."""

    sources: tuple[str, ...] = Field(min_length=1, description="kinds of training text, in equal shares")
    steps: int | None = Field(default=None, gt=0, description="optimiser steps, where they differ from the others'")
    seeds: tuple[int, ...] | None = Field(default=None, min_length=1, description="seeds, where they differ")


class Params(Strict):
    """Parameters of the training."""

    data: str = Field(description="data set, as decomp")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, description="seeds, a network each and model")
    network: CharLMParams = Field(default=CharLMParams(), description="size of every network")
    training: Training = Field(description="steps, and packed rows of a step")
    lr: float = Field(default=3e-3, gt=0, description="AdamW step size at its peak")
    warmup: int = Field(default=100, ge=0, description="steps of linear warm-up")
    gap: int = Field(default=32, ge=0, description="places left free at most between parts after the first answer")
    models: Mapping[str, Trained] = Field(min_length=1, description="models by name")

    @model_validator(mode="after")
    def _sources_are_known(self) -> Params:
        for name, trained in self.models.items():
            for source in trained.sources:
                if source not in SOURCES:
                    there = ", ".join(SOURCES)
                    raise UserError(f"parameter models.{name}.sources = {source!r}: one of {there} is wanted")
        return self


def train(run: Run[Params]) -> None:
    """Train every model with every seed."""
    params, vocabulary = run.params, Vocabulary(tasks.PIECES)
    texts = pq.read_table(run.inputs["data"] / "train.parquet")
    seeds = {name: trained.seeds or params.seeds for name, trained in params.models.items()}
    models.save(run.output, models.Saved(network=params.network, pieces=vocabulary.pieces, models=seeds))
    budget: list[Row] = []
    for name, trained in params.models.items():
        rows = rows_of(run, texts, trained, vocabulary)
        steps = trained.steps or params.training.steps
        for seed in seeds[name]:
            models.save_network(run.output, f"{name}-{seed}", fitted(run, f"{name}-{seed}", seed, rows, steps))
        budget.append(spent(name, steps, rows, params.training.batch))
    run.table("budget", pa.Table.from_pylist(budget))


def rows_of(run: Run[Params], texts: pa.Table, trained: Trained, vocabulary: Vocabulary) -> Packed:
    """The texts of a model's sources, mixed and packed."""
    parts = texts.filter(pc.is_in(texts["source"], pa.array(trained.sources)))["parts"].to_pylist()
    order = run.generator("order", *trained.sources).permutation(len(parts))
    encoded = ([(vocabulary.encode(part), place % 2 == 1) for place, part in enumerate(parts[n])] for n in order)
    gaps = Gaps(run.generator("gaps", *trained.sources), run.params.gap)
    return pack(run.track(encoded, "pack", len(parts)), run.params.network.window, gaps)


def fitted(run: Run[Params], label: str, seed: int, rows: Packed, steps: int) -> CharLM:
    """One network, trained."""
    params = run.params
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = CharLM(params.network, len(Vocabulary(tasks.PIECES)))
    module = Writing(network, params.lr, params.warmup, steps)
    training = params.training.model_copy(update={"steps": steps})
    run.fit(module, StepBatches(rows, training.batch, steps, seed), training, label)
    return network


def spent(name: str, steps: int, rows: Packed, batch: int) -> Row:
    """A row of the table that shows equal budgets: characters are counted as tokens, padding left out."""
    seen = steps * batch * rows["tokens"].shape[1]
    shares = {"tokens seen": rows["owner"] >= 0, "tokens to write": rows["weight"] > 0}
    return {
        "model": name,
        "steps": steps,
        **{what: round(seen * float(s.float().mean())) for what, s in shares.items()},
    }
