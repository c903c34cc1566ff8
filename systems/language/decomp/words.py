"""Made-up words, lists and facts: what the questions are about, drawn from small lists of this file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def _listed(text: str) -> list[str]:
    return text.split()


ONSETS = _listed("b c d f g h j k l m n p r s t v w y z br cl dr gr pl st tr")
VOWELS = _listed("a e i o u")
CODAS = _listed("l m n r s t d k x")

NOUNS = _listed(
    "apple arm bag ball bank bath bed bell bird boat book bowl box bread brick bus cake car cat chair clock coat coin "
    "cup desk dog door drum egg fan fish fork glove hat house jar key lamp leaf map milk nail pen plate ring shoe tree"
)
"""47 nouns, as many as the paper's lists are made of."""

FIRST = _listed("Ada Boris Cleo Dario Edda Falk Gita Hugo Ines Jaro Kaya Levin Mira Nils Oda Piet Rosa Sven Tilda Uwe")
LAST = _listed("Abend Brandt Corvo Dahl Eklund Farkas Grau Holt Ivers Jonas Kern Lund Moreau Novak Orsini Pohl")
COLOURS = _listed("Amber Broken Crimson Distant Empty Frozen Golden Hidden Iron Lonely Silent Velvet")
PLACES = _listed("Harbor Mountain Garden River Station Orchard Window Bridge Island Mirror Valley Lantern")
AWARDS = _listed("Aster Beacon Cobalt Drachma Ember Fjord Gravel Heron")


def word(rng: np.random.Generator, length: int) -> str:
    """A word of `length` letters out of syllables."""
    text = ""
    while len(text) < length:
        text += _one(rng, ONSETS) + _one(rng, VOWELS) + (_one(rng, CODAS) if rng.random() < 0.5 else "")
    return text[:length]


def words(rng: np.random.Generator, count: int, shortest: int, longest: int) -> list[str]:
    """Words of `shortest` to `longest` letters."""
    return [word(rng, int(rng.integers(shortest, longest + 1))) for _ in range(count)]


def nouns(rng: np.random.Generator, count: int) -> list[str]:
    """Nouns, none twice."""
    return [NOUNS[place] for place in rng.permutation(len(NOUNS))[:count]]


def _one(rng: np.random.Generator, choices: list[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


@dataclass(frozen=True)
class Facts:
    """An invented world: who directed which films, who acted in them, who won what."""

    directed: dict[str, list[str]]
    acted: dict[str, list[str]]
    awarded: dict[str, list[str]]

    def sentences(self) -> list[str]:
        """The facts in words, one each."""
        return [
            *(f"{person} directed {film}." for person, films in self.directed.items() for film in films),
            *(f"{person} acted in {film}." for film, people in self.acted.items() for person in people),
            *(f"{who} won the {award} prize." for who, awards in self.awarded.items() for award in awards),
        ]


def facts(rng: np.random.Generator, films: int, people: int) -> Facts:
    """A world of so many films and people: each film has a director, one or two actors and perhaps a prize."""
    titles = _distinct(rng, COLOURS, PLACES, films)
    names = _distinct(rng, FIRST, LAST, people)
    directors, actors = names[: max(2, people // 3)], names[max(2, people // 3) :]
    directed: dict[str, list[str]] = {name: [] for name in directors}
    for place, title in enumerate(titles):
        directed[directors[place % len(directors)]].append(title)
    acted = {title: [actors[i] for i in rng.permutation(len(actors))[: rng.integers(1, 3)]] for title in titles}
    winners = [*titles, *actors]
    awarded = {who: [_one(rng, AWARDS)] for who in winners if rng.random() < 0.6}
    return Facts(directed, acted, awarded)


def _distinct(rng: np.random.Generator, first: list[str], second: list[str], count: int) -> list[str]:
    places = rng.permutation(len(first) * len(second))[:count]
    return [f"{first[place // len(second)]} {second[place % len(second)]}" for place in places]
