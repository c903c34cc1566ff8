"""The transformer core: where it starts, what positions, text and noise do to it, and attention by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from systems.parts.dit import Block, DiT, noise_embedding, rotary_angles, rotate

WIDTH, HEADS, CHANNELS = 24, 2, 5
AXES = (4, 4, 4)
SEEDS = st.integers(0, 1000)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def places(count: int, seed: int = 0) -> Tensor:
    """Positions on three axes."""
    return torch.randint(0, 9, (count, 3), generator=torch.Generator().manual_seed(seed)).double()


def fresh() -> DiT:
    torch.manual_seed(0)
    return DiT(CHANNELS, WIDTH, depth=2, heads=HEADS, widths=AXES, base=10.0).double()


@pytest.fixture
def dit() -> DiT:
    """A network with random weights everywhere, also where training starts from zero."""
    network = fresh()
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.2)
    return network


def call(dit: DiT, tokens: Tensor, ids: Tensor, text: Tensor | None = None, sigma: float = 0.5) -> Tensor:
    text = random(len(tokens), 1, WIDTH, seed=9) if text is None else text
    with torch.no_grad():
        out: Tensor = dit(tokens, ids, text, torch.full((len(tokens),), sigma, dtype=torch.float64))
    return out


def test_training_starts_from_zero_outputs_and_identical_blocks() -> None:
    network = fresh()
    tokens = random(2, 6, CHANNELS)
    assert torch.equal(call(network, tokens, places(6)), torch.zeros(2, 6, CHANNELS, dtype=torch.float64))
    x, condition = random(2, 6, WIDTH), random(2, WIDTH, seed=1)
    for block in network.blocks:
        assert torch.equal(block(x, condition, random(6, 6)), x)


def test_what_starts_at_zero_learns() -> None:
    network = fresh()
    out = network(random(2, 6, CHANNELS), places(6), random(2, 1, WIDTH), torch.full((2,), 0.5, dtype=torch.float64))
    (out - 1).square().sum().backward()
    assert network.leave.bias.grad.ne(0).all()


@given(SEEDS)
def test_angles_are_those_of_the_formula(seed: int) -> None:
    ids, widths, base = places(3, seed), (2, 6, 4), 100.0
    angles = rotary_angles(ids, widths, base)
    wanted = [
        [
            float(ids[token, axis]) * base ** (-2 * pair / width)
            for axis, width in enumerate(widths)
            for pair in range(width // 2)
        ]
        for token in range(3)
    ]
    assert torch.allclose(angles, torch.tensor(wanted, dtype=torch.float64), rtol=1e-5)


@given(SEEDS)
def test_rotating_is_multiplying_complex_numbers(seed: int) -> None:
    x, angles = random(2, 3, 4, 10, seed=seed), random(4, 5, seed=seed + 1)
    turned = rotate(x, angles)
    pairs = torch.view_as_complex(x.unflatten(-1, (5, 2)).contiguous())
    wanted = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    assert torch.allclose(turned, wanted)
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1))


def attention_by_hand(block: Block, x: Tensor, angles: Tensor) -> Tensor:
    """One token and head after the other."""
    b, m, c = x.shape
    size = c // block.heads
    out = torch.zeros_like(x)
    for sample in range(b):
        q, k, v = block.to_qkv(x[sample]).chunk(3, dim=-1)
        for head in range(block.heads):
            part = slice(head * size, (head + 1) * size)
            queries, keys = (rotate(value[None, None, :, part], angles)[0, 0] for value in (q, k))
            for token in range(m):
                scores = torch.stack([queries[token] @ keys[other] / math.sqrt(size) for other in range(m)])
                out[sample, token, part] = scores.softmax(0) @ v[:, part]
    return block.to_out(out)


@given(SEEDS)
def test_attention_is_the_textbooks(seed: int) -> None:
    torch.manual_seed(seed)
    block = Block(WIDTH, HEADS).double()
    x, angles = random(2, 4, WIDTH, seed=seed), random(4, WIDTH // HEADS // 2, seed=seed)
    with torch.no_grad():
        assert torch.allclose(block.attend(x, angles), attention_by_hand(block, x, angles))


@given(SEEDS)
def test_attention_sees_differences_of_positions_alone(seed: int) -> None:
    torch.manual_seed(seed)
    block = Block(WIDTH, HEADS).double()
    for weight in block.parameters():
        nn.init.normal_(weight, std=0.3)
    x, ids = random(1, 5, WIDTH, seed=seed), places(5, seed)

    def attend(ids: Tensor) -> Tensor:
        with torch.no_grad():
            return block.attend(x, rotary_angles(ids, AXES, 10.0))

    moved = ids + torch.tensor([[3.0, 1.0, 7.0]])
    one_moved = ids.clone()
    one_moved[0, 1] += 2
    assert torch.allclose(attend(moved), attend(ids), atol=1e-5)
    assert not torch.allclose(attend(one_moved), attend(ids), atol=1e-3)


@given(SEEDS)
def test_tokens_that_change_places_with_their_positions_change_their_outputs_alone(seed: int) -> None:
    network = fresh()
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.2)
    tokens, ids = random(2, 6, CHANNELS, seed=seed), places(6, seed)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(call(network, tokens[:, order], ids[order]), call(network, tokens, ids)[:, order])


def test_equal_tokens_are_told_apart_by_their_positions_alone(dit: DiT) -> None:
    tokens = random(1, 1, CHANNELS).expand(1, 3, -1)
    out = call(dit, tokens, torch.tensor([[0.0, 1, 2], [0, 1, 2], [1, 1, 2]], dtype=torch.float64))
    assert torch.allclose(out[:, 0], out[:, 1])
    assert not torch.allclose(out[:, 0], out[:, 2], atol=1e-4)


def test_every_token_reaches_every_other(dit: DiT) -> None:
    tokens, text = random(1, 4, CHANNELS).requires_grad_(), random(1, 2, WIDTH).requires_grad_()
    for place in range(4):
        out = dit(tokens, places(4), text, torch.full((1,), 0.5, dtype=torch.float64))
        gradients = torch.autograd.grad(out[0, place].sum(), (tokens, text))
        assert all(gradient.abs().sum(-1).gt(0).all() for gradient in gradients)


def test_text_matters_but_not_the_order_of_its_tokens(dit: DiT) -> None:
    tokens, ids, text = random(2, 4, CHANNELS), places(4), random(2, 3, WIDTH, seed=5)
    out = call(dit, tokens, ids, text)
    assert out.shape == tokens.shape
    assert torch.allclose(call(dit, tokens, ids, text.flip(1)), out)
    other, of_equal_mean = text.clone(), text.clone()
    other[0, 1] += 1
    of_equal_mean[0] += torch.tensor([[1.0], [-1.0], [0.0]]) * random(WIDTH, seed=7)
    for changed in (call(dit, tokens, ids, other), call(dit, tokens, ids, of_equal_mean)):
        assert not torch.allclose(changed[0], out[0], atol=1e-3)
        assert torch.allclose(changed[1], out[1])


def test_the_noise_level_matters(dit: DiT) -> None:
    tokens, ids = random(1, 4, CHANNELS), places(4)
    outs = [call(dit, tokens, ids, sigma=sigma) for sigma in (0.0, 0.3, 0.31, 1.0)]
    assert all(not torch.allclose(a, b, atol=1e-4) for k, a in enumerate(outs) for b in outs[:k])


def test_noise_levels_have_embeddings_of_their_own_and_near_ones_are_alike() -> None:
    sigma = torch.linspace(0, 1, 1001)
    codes = noise_embedding(sigma, 32)
    assert torch.allclose(codes.square().sum(1), torch.full((1001,), 16.0))
    apart = torch.cdist(codes, codes)
    assert (apart + 1e9 * torch.eye(1001)).min() > 0.3
    assert apart[500, 501] < apart[500, 510] < apart[500, 900]
    k = 3
    phase = 1000.0 * 0.25 * 10_000 ** (-k / 16)
    wanted = [math.cos(phase), math.sin(phase)]
    assert codes[250, [k, 16 + k]].tolist() == pytest.approx(wanted, abs=1e-3)


def test_codes_are_added_to_the_tokens(dit: DiT) -> None:
    tokens, shift, ids, text = random(2, 4, CHANNELS), random(4, CHANNELS, seed=3), places(4), random(2, 1, WIDTH)
    sigma = torch.full((2,), 0.5, dtype=torch.float64)
    with torch.no_grad():
        coded = dit(tokens, ids, text, sigma, shift @ dit.enter.weight.T)
        assert torch.allclose(coded, dit(tokens + shift, ids, text, sigma))
