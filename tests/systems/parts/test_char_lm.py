"""The character model: its texts do not see each other, and what it writes does not depend on who writes beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from systems.parts.char_lm import PAD, STOP, CharLM, CharLMParams, Gaps, Vocabulary, Writing, pack
from systems.parts.errors import UserError

VOCABULARY = Vocabulary(("word one ", "word ", '["'))
SMALL = CharLMParams(width=16, depth=2, heads=2, window=32)


def network(seed: int = 0) -> CharLM:
    torch.manual_seed(seed)
    return CharLM(SMALL, len(VOCABULARY)).eval()


def forward(net: CharLM, tokens: list[int]) -> torch.Tensor:
    count = len(tokens)
    with torch.no_grad():
        return net(torch.tensor([tokens]), torch.ones(1, count, count, dtype=torch.bool).tril())[0][0]


def one_at_a_time(net: CharLM, prompt: list[int], stop: int, most: int) -> list[int]:
    """Greedy decoding without a cache and alone: the oracle of `write`."""
    tokens = list(prompt)
    for _ in range(most):
        best = int(forward(net, tokens)[-1].argmax())
        if best == stop:
            break
        tokens.append(best)
    return tokens[len(prompt) :]


@given(st.text('word neabc["', max_size=40))
def test_text_survives_its_tokens(text: str) -> None:
    assert VOCABULARY.decode(VOCABULARY.encode(text)) == text


def test_the_longest_piece_is_one_token_and_an_unknown_character_is_named() -> None:
    assert len(VOCABULARY.encode("word one word 1")) == 3
    with pytest.raises(UserError, match="the character model has no 'é'"):
        VOCABULARY.encode("café")


def test_prompts_of_any_length_together_are_continued_as_alone() -> None:
    for seed in range(6):
        net = network(seed)
        generator = torch.Generator().manual_seed(seed)
        prompts = [torch.randint(1, len(VOCABULARY), (n,), generator=generator).tolist() for n in (1, 9, 4, 14)]
        stop = one_at_a_time(net, prompts[1], -1, 6)[3]  # a token that one of them does write
        wanted = [one_at_a_time(net, prompt, stop, 10) for prompt in prompts]
        assert net.write(prompts, stop, 10) == wanted
        assert min(map(len, wanted)) < 10


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12), min_size=1, max_size=20)
)
def test_packing_keeps_every_text_whole(drawn: list[list[tuple[int, bool]]]) -> None:
    texts = [[([token] * token, write) for token, write in text][:3] for text in drawn]
    rows = pack(texts, 32)
    found = []
    for tokens, owner, weight in zip(rows["tokens"], rows["owner"], rows["weight"], strict=True):
        for number in [n for n in owner.unique().tolist() if n >= 0]:
            found.append((number, tokens[owner == number].tolist(), weight[owner == number]))
        assert (tokens[owner < 0] == PAD).all()
        assert (weight[owner < 0] == 0).all()
    assert [number for number, _, _ in sorted(found, key=lambda text: text[0])] == list(range(len(texts)))
    for number, tokens, weight in found:
        assert tokens == [token for part, _ in texts[number] for token in part]
        wanted = [len(part) ** -0.5 if write else 0.0 for part, write in texts[number] for _ in part]
        assert torch.allclose(weight, torch.tensor(wanted))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 9), st.integers(0, 99))
def test_gaps_stand_between_later_parts_alone(lengths: list[int], most: int, seed: int) -> None:
    rows = pack([[([1] * length, True) for length in lengths]], 32, Gaps(np.random.default_rng(seed), most))
    places = rows["place"][rows["owner"] == 0].tolist()
    gapped = {sum(lengths[:part]) for part in range(2, len(lengths))}
    assert places[0] == 0
    for number in range(1, len(places)):
        step = places[number] - places[number - 1]
        assert 1 <= step <= 1 + most if number in gapped else step == 1


def test_gaps_reach_their_most_and_scores_follow_them() -> None:
    rows = pack([[([1], False), ([2], True), ([3], False)]] * 400, 3, Gaps(np.random.default_rng(0), 5))
    assert set(rows["place"][:, 2].tolist()) == {2, 3, 4, 5, 6, 7}
    net, mask = network(), torch.ones(2, 2, 2, dtype=torch.bool).tril()
    tokens, places = torch.tensor([[3, 4], [3, 4]]), torch.tensor([[0, 1], [7, 8]])
    near, moved = net(tokens, mask, places=places)[0]
    far = net(tokens[:1], mask[:1], places=torch.tensor([[0, 6]]))[0][0]
    assert torch.allclose(near, moved, atol=1e-5)
    assert not torch.allclose(near, far, atol=1e-3)


def test_a_text_longer_than_a_row_is_refused() -> None:
    with pytest.raises(UserError, match="parameter window = 4: a text of 5 tokens does not fit"):
        pack([[([1] * 5, True)]], 4)


def test_the_loss_of_a_row_is_that_of_its_texts_alone() -> None:
    texts = [[([5, 6, 7], False), ([8, 9], True)], [([3], False), ([4, 5, 6, 7], True)], [([9, 9], False), ([2], True)]]
    net = network()
    module = Writing(net, lr=0.1, warmup=1, steps=1)
    module.log = lambda *_, **__: None  # type: ignore[method-assign, assignment] - there is no trainer
    together = module.training_step(dict(pack(texts, 32)), 0)
    total = weights = 0.0
    for (given_tokens, _), (wanted, _) in texts:
        scores = forward(net, [*given_tokens, *wanted]).log_softmax(-1)
        for place, token in enumerate(wanted, len(given_tokens) - 1):
            total -= float(scores[place, token]) * len(wanted) ** -0.5
            weights += len(wanted) ** -0.5
    assert float(together.detach()) == pytest.approx(total / weights, rel=1e-5)


def test_heads_that_do_not_divide_are_named() -> None:
    with pytest.raises(UserError, match="parameter heads = 3"):
        CharLM(CharLMParams(width=16, heads=3), 4)


def test_it_learns_to_copy() -> None:
    torch.manual_seed(0)
    net = CharLM(CharLMParams(width=32, depth=2, heads=2, window=64), len(VOCABULARY))
    module = Writing(net, lr=5e-3, warmup=10, steps=250)
    module.log = lambda *_, **__: None  # type: ignore[method-assign, assignment] - there is no trainer
    rng = torch.Generator().manual_seed(0)
    words = ["".join("abcdefgh"[i] for i in torch.randint(8, (4,), generator=rng)) for _ in range(400)]
    texts = [[(VOCABULARY.encode(f"{word}["), False), (VOCABULARY.encode(f"{word}{STOP}"), True)] for word in words]
    rows, settings = pack(texts, 64), module.configure_optimizers()
    optimizer = settings["optimizer"]  # type: ignore[index, call-overload]
    for step in range(250):
        picked = torch.randint(len(rows["tokens"]), (4,), generator=torch.Generator().manual_seed(step))
        loss = module.training_step({name: tensor[picked] for name, tensor in rows.items()}, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    written = net.eval().write([VOCABULARY.encode(f"{word}[") for word in words[:50]], VOCABULARY.places[STOP], 10)
    right = sum(VOCABULARY.decode(own) == word for own, word in zip(written, words, strict=False))
    assert right >= 45
