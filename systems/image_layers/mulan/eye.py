"""What a network trained on ImageNet makes of a picture: maps of features, which our small networks look at too.

It is the front of EfficientNet-lite0 (Tan and Le, "EfficientNet", ICML 2019), frozen. Where its weights were not
fetched, as at smoke scale, random filters stand in for them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import relu6

from systems.parts.perceptual import EfficientNetLite0Features

STRIDES = (4, 8, 16)
"""Pixels a side of a cell of every map, the finest first."""
CHANNELS = (24, 40, 112)
ENDS = (2, 4, 10)
"""Blocks that answer with these maps."""
FILE = f"{EfficientNetLite0Features.NAME}.safetensors"


class Eye(nn.Module):
    """Pictures to maps; the attributes are called as in the published state dict."""

    def __init__(self) -> None:
        super().__init__()
        whole = EfficientNetLite0Features()
        self._conv_stem, self._bn0 = whole._conv_stem, whole._bn0
        self._blocks = whole._blocks[: ENDS[-1] + 1]

    @classmethod
    def read(cls, path: Path) -> Eye:
        """With the weights of a file, which may hold those of the whole network."""
        eye, state = cls(), load_file(path)
        eye.load_state_dict({name: state[name] for name in eye.state_dict()})
        return eye.eval().requires_grad_(requires_grad=False)

    @classmethod
    def random(cls) -> Eye:
        """With random filters, always the same."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            eye = cls()
            for weight in eye.parameters():
                if weight.dim() == 4:
                    nn.init.kaiming_normal_(weight)
        return eye.eval().requires_grad_(requires_grad=False)

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c h2 w2"]]:
        """Maps of pictures in 0..1 whose sides are multiples of the last stride."""
        scaled = ((pictures - 0.498) / 0.502).contiguous(memory_format=torch.channels_last)
        x, maps = relu6(self._bn0(self._conv_stem(scaled))), []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in ENDS:
                maps.append(x)
        return maps
