import copy

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from systems.parts import lora
from systems.parts.errors import UserError


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_out, self.norm = nn.Linear(6, 8), nn.Linear(8, 6), nn.LayerNorm(6)

    def forward(self, x):
        return x + self.to_out(self.to_q(self.norm(x)).tanh())


@pytest.fixture
def network():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return nn.Sequential(Block(), Block())


def adapted(network: nn.Module, rank: int = 2) -> nn.Module:
    """The network with adapters that have an effect."""
    lora.add(network, ("to_q",), rank)
    for weight in lora.parameters(network):
        nn.init.normal_(weight)
    return network


@pytest.mark.parametrize("rank", [0, -3])
def test_holds_4_7_rank_of_zero_or_less_is_refused(network, rank):
    with pytest.raises(UserError, match=f"parameter rank = {rank}:"):
        lora.add(network, ("to_q",), rank)
    assert not lora.parameters(network)


def test_only_named_layers_are_adapted_and_only_adapters_train(network):
    lora.add(network, ("to_q",), 2)
    names = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert names == {f"{block}.to_q.lora_{side}.default.weight" for block in (0, 1) for side in "AB"}
    assert len(lora.parameters(network)) == len(names)


def test_fresh_adapters_change_nothing_and_start_gaussian(network):
    x = torch.randn(3, 6)
    before = network(x)
    lora.add(network, ("to_q", "to_out"), 64)
    assert torch.equal(network(x), before)
    first = network[0].to_q.lora_A["default"].weight.detach()
    assert first.mean().abs() < 0.3 / 64
    assert first.std() == pytest.approx(1 / 64, rel=0.2)


@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (8.0, 4.0)])
def test_output_is_the_low_rank_update_scaled_by_alpha_over_rank(network, alpha, scale):
    layer = copy.deepcopy(network[0].to_q)
    lora.add(network, ("to_q",), 2, alpha)
    down, up = (network[0].to_q.get_submodule(f"lora_{side}.default").weight for side in "AB")
    nn.init.normal_(up)
    x = torch.randn(3, 6)
    assert torch.allclose(network[0].to_q(x), layer(x) + scale * x @ down.T @ up.T, atol=1e-5)


def test_layers_may_be_a_regular_expression(network):
    lora.add(network, r"1\.to_(q|out)", 2)
    assert {name.split(".lora_")[0] for name in lora.state_dict(network)} == {"1.to_q", "1.to_out"}


def test_unknown_layer_is_refused(network):
    with pytest.raises(ValueError, match="to_nowhere"):
        lora.add(network, ("to_nowhere",), 2)


def test_adapters_of_bfloat16_weights_are_float32(network):
    lora.add(network.bfloat16(), ("to_q",), 2)
    assert {weight.dtype for weight in lora.parameters(network)} == {torch.float32}
    assert network(torch.randn(3, 6).bfloat16()).dtype == torch.bfloat16


def test_saved_adapters_give_the_same_network(network, tmp_path):
    fresh = copy.deepcopy(network)
    adapted(network)
    save_file(lora.state_dict(network), tmp_path / "adapters.safetensors")

    lora.add(fresh, ("to_q",), 2)
    lora.load_state_dict(fresh, load_file(tmp_path / "adapters.safetensors"))

    x = torch.randn(3, 6)
    assert torch.equal(fresh(x), network(x))
    with pytest.raises(ValueError, match="names differ"):
        lora.load_state_dict(fresh, {})


def test_merging_gives_a_plain_network_of_the_same_output(network):
    names = set(network.state_dict())
    adapted(network)
    x = torch.randn(3, 6)
    before = network(x)
    lora.merge(network)
    assert set(network.state_dict()) == names
    assert torch.allclose(network(x), before, atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_adapters_may_follow_merged_ones(network):
    adapted(network)
    lora.merge(network)
    lora.merge(network)
    x = torch.randn(3, 6)
    before = network(x)
    lora.add(network, ("to_out",), 1)
    assert torch.equal(network(x), before)
    assert {name.split(".lora_")[0] for name in lora.state_dict(network)} == {"0.to_out", "1.to_out"}
