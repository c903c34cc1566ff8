"""Models behind the one interface by which handlers and decomposers ask: a name, and texts to go on from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import Field
from safetensors.torch import load_file, save_file

from systems.language.decomp import tasks
from systems.parts.char_lm import STOP, CharLM, CharLMParams, Vocabulary
from systems.parts.errors import UserError
from systems.parts.interpreter import Decomposer, Draft, Guess, Handler
from systems.parts.run import Strict

BATCH = 256
"""Prompts a character model goes on from at once."""
MOST = 120
"""Tokens it writes at most."""


class Model(Protocol):
    """Whatever writes text: a character model, a chat endpoint, a local language model."""

    def complete(self, handler: str, texts: Sequence[str]) -> list[str]:
        """How `handler` goes on from each text, to the end of the line; questions end in "A: ", drafts in "QS: "."""


def handler(model: Model, name: str) -> Handler:
    """A model as the handler of a name."""
    return lambda questions: model.complete(name, [f"{question}\nA: " for question in questions])


def decomposer(model: Model, name: str) -> Decomposer:
    """A model as the decomposer of a name, decoded greedily."""

    def write(drafts: Sequence[Draft]) -> list[list[Guess]]:
        return [[Guess(text)] for text in model.complete(name, [draft.text() for draft in drafts])]

    return write


def concluded(answering: Handler) -> Handler:
    """A handler whose chain of thought is cut off before its answer."""
    return lambda questions: [text.rpartition(tasks.SO)[2] for text in answering(questions)]


class CharModel:
    """A trained character model; it knows each handler by its tag."""

    def __init__(self, network: CharLM, vocabulary: Vocabulary) -> None:
        self.network, self.vocabulary = network.eval(), vocabulary
        self.stop = vocabulary.places[STOP]

    def complete(self, handler: str, texts: Sequence[str]) -> list[str]:
        """Greedy continuations; a prompt with a character that no text of the training has is left as it is."""
        found = dict.fromkeys(texts, "")
        prompts = {text: tokens for text in found if (tokens := self._tokens(f"[{handler}] {text}"))}
        order = sorted(prompts, key=lambda text: len(prompts[text]))
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            written = self.network.write([prompts[text] for text in some], self.stop, MOST)
            found.update(zip(some, map(self.vocabulary.decode, written), strict=True))
        return [found[text] for text in texts]

    def _tokens(self, text: str) -> list[int]:
        try:
            return self.vocabulary.encode(text)
        except UserError:
            return []


class Saved(Strict):
    """model.json: what rebuilds the networks."""

    network: CharLMParams = Field(description="size of each")
    pieces: tuple[str, ...] = Field(description="phrases that are one token")
    models: Mapping[str, tuple[int, ...]] = Field(description="seeds by the name of the model")


def save(folder: Path, saved: Saved) -> None:
    """Write model.json."""
    (folder / "model.json").write_text(json.dumps(saved.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")


def read_saved(folder: Path) -> Saved:
    """model.json, checked."""
    path = folder / "model.json"
    try:
        return Saved.model_validate_json(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"model {path}: not a decomp model ({str(error).splitlines()[0]})") from error


def save_network(folder: Path, label: str, network: CharLM) -> None:
    """Write `<model>-<seed>.safetensors`."""
    save_file(network.state_dict(), folder / f"{label}.safetensors")


def load(folder: Path, saved: Saved, label: str) -> CharModel:
    """A trained model, ready to write."""
    vocabulary = Vocabulary(saved.pieces)
    network = CharLM(saved.network, len(vocabulary))
    network.load_state_dict(load_file(folder / f"{label}.safetensors"))
    return CharModel(network, vocabulary)


def seeds_of(saved: Saved, names: Iterable[str]) -> tuple[int, ...]:
    """Seeds with which all of the models were trained."""
    common = set.intersection(*(set(saved.models.get(name, ())) for name in names))
    return tuple(sorted(common))
