"""Low-rank adapters (LoRA) on the linear layers of any network, through peft.

Adapters start at no effect: A from a Gaussian, B zero. They are float32 whatever the type of the adapted weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from systems.parts.errors import UserError

MARK = ".lora_"


def check_rank(rank: int) -> None:
    """Refuse a rank that is no rank, with the parameter's name."""
    if rank <= 0:
        raise UserError(f"parameter rank = {rank}: adapters need a rank of at least 1")


def add(network: nn.Module, layers: Sequence[str] | str, rank: int, alpha: float | None = None) -> None:
    """Put adapters on linear layers in place and freeze every other weight.

    `layers` are ends of layer names as `attn.to_q`, or one regular expression of the whole name. `alpha / rank` scales
    the adapters' output; `alpha` is `rank` where it is not given. No layer of such a name is a `ValueError`.
    """
    check_rank(rank)
    # peft draws in transformers; parameters are checked far more often than adapters are made.
    from peft import LoraConfig, inject_adapter_in_model

    targets = layers if isinstance(layers, str) else list(layers)
    config = LoraConfig(r=rank, lora_alpha=alpha or rank, init_lora_weights="gaussian", target_modules=targets)  # type: ignore[arg-type]
    inject_adapter_in_model(config, network)
    for name, weight in network.named_parameters():
        adapter = MARK in name
        weight.requires_grad_(adapter)
        if adapter:
            weight.data = weight.data.float()


def parameters(network: nn.Module) -> list[nn.Parameter]:
    """The adapters' weights, all that is trained."""
    return [weight for name, weight in network.named_parameters() if MARK in name]


def state_dict(network: nn.Module) -> dict[str, Tensor]:
    """The adapters' weights by name, and no other."""
    return {name: value.contiguous() for name, value in network.state_dict().items() if MARK in name}


def load_state_dict(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """The inverse of `state_dict`, on a network with adapters on the same layers; other names are a `ValueError`."""
    names = set(state_dict(network))
    if names != set(state):
        raise ValueError(f"{len(names ^ set(state))} adapter names differ, as {min(names ^ set(state))}")
    network.load_state_dict(state, strict=False)


def merge(network: nn.Module) -> None:
    """Add the adapters to the weights they adapt and take them off, in place: a plain network again."""
    from peft.tuners.lora import LoraLayer

    adapted = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, LoraLayer)]
    for name, layer in adapted:
        layer.merge()
        network.set_submodule(name, layer.get_base_layer())
    vars(network).pop("peft_config", None)  # or peft would warn of a second adapter when others are put on
