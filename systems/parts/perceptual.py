"""Measures with pretrained networks: ST-LPIPS between two pictures, a Fréchet distance between two sets of pictures.

The networks are rebuilt here in plain torch for the weights that `python -m stages fetch weights` brings. Both
figures have names of their own: this is neither LPIPS (Zhang et al. 2018) nor FID over Inception features.
ST-LPIPS: Ghildyal and Liu, "Shift-tolerant perceptual similarity metric", ECCV 2022. EfficientNet-lite0: Tan and Le,
"EfficientNet", ICML 2019, without squeeze-excitation and with ReLU6.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST = 64  # pixels a side; ST-LPIPS's trunk needs that many to have something left in its last layers
FEATURES = 1280


class Pretrained(nn.Module):
    """A frozen network whose weights stand in a folder as `<NAME>.safetensors`."""

    NAME: str

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The network with the weights in `folder`; raises `FileNotFoundError` if they are not there."""
        path = folder / f"{cls.NAME}.safetensors"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no weights; run `python -m stages fetch weights`")
        network = cls()
        network.load_state_dict(load_file(path))
        return network.eval().requires_grad_(requires_grad=False)


class BlurPool(nn.Module):
    """Halves the size after a fixed 3x3 binomial blur, which makes the trunk tolerant of small shifts."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", torch.outer(line, line).expand(channels, 1, 3, 3).clone())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Blur and subsample by two."""
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self.filt, stride=2, groups=x.shape[1])


class AlexNetTrunk(nn.Module):
    """The convolutions of the shift-tolerant AlexNet; gives the five activations that are compared."""

    def __init__(self) -> None:
        super().__init__()
        self.slice1 = _named({0: nn.Conv2d(3, 64, 11, padding=2), 1: BlurPool(64), 2: nn.ReLU()})
        self.slice2 = _named(
            {3: nn.MaxPool2d(3, 1), 4: BlurPool(64), 5: nn.Conv2d(64, 192, 5, padding=2), 6: nn.ReLU()}
        )
        pool = {7: nn.MaxPool2d(3, 1), 8: BlurPool(192)}
        self.slice3 = _named({**pool, 9: nn.Conv2d(192, 384, 3, padding=1), 10: nn.ReLU()})
        self.slice4 = _named({11: nn.Conv2d(384, 256, 3, padding=1), 12: nn.ReLU()})
        self.slice5 = _named({13: nn.Conv2d(256, 256, 3, padding=1), 14: nn.ReLU()})

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Iterator[Float[Tensor, "b c h2 w2"]]:
        """Activations from the finest to the coarsest."""
        for part in (self.slice1, self.slice2, self.slice3, self.slice4, self.slice5):
            x = part(x)
            yield x


def _named(layers: dict[int, nn.Module]) -> nn.Sequential:
    """A sequence whose layers carry the numbers of the published state dict."""
    sequence = nn.Sequential()
    for number, layer in layers.items():
        sequence.add_module(str(number), layer)
    return sequence


class Head(nn.Module):
    """Weights one layer's channel differences; `model.1` is the published name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = _named({1: nn.Conv2d(channels, 1, 1, bias=False)})

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Weighted sum over channels, mean over places."""
        weighted: Tensor = self.model(x)
        return weighted.mean(dim=(1, 2, 3))


class Scaling(nn.Module):
    """Brings pictures in -1..1 to the range AlexNet was trained on."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None])
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[None, :, None, None])


class STLPIPS(Pretrained):
    """Shift-tolerant perceptual distance; 0 for equal pictures, about 0.7 for one blurred beyond recognition."""

    NAME = "stlpips_alex"

    def __init__(self) -> None:
        super().__init__()
        self.scaling_layer = Scaling()
        self.net = AlexNetTrunk()
        for index, channels in enumerate((64, 192, 384, 256, 256)):
            self.add_module(f"lin{index}", Head(channels))

    def forward(self, a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Distance of each pair of pictures in 0..1; small ones are first enlarged to 64 pixels a side."""
        pairs = zip(self._features(a), self._features(b), strict=True)
        heads = (self.get_submodule(f"lin{index}") for index in range(5))
        return torch.stack([head((x - y) ** 2) for head, (x, y) in zip(heads, pairs, strict=True)]).sum(dim=0)

    def _features(self, x: Float[Tensor, "b 3 h w"]) -> Iterator[Float[Tensor, "b c h2 w2"]]:
        """Activations of unit length at every place."""
        height, width = x.shape[-2:]
        if min(height, width) < SMALLEST:
            size = (max(height, SMALLEST), max(width, SMALLEST))
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        scaled = (2 * x - 1 - self.scaling_layer.shift) / self.scaling_layer.scale
        for y in self.net(scaled):
            yield y / (y.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


class SameConv(nn.Conv2d):
    """Convolution padded as TensorFlow's SAME does: an odd pixel goes to the right and the bottom."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:  # noqa: A002 - the parent's name
        """Pad to ceil(size / stride) outputs, then convolve."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        sides = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in input.shape[-2:]]
        high, wide = sides
        return super().forward(F.pad(input, (wide // 2, wide - wide // 2, high // 2, high - high // 2)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; attribute names are those of the published state dict."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inner * expand
        if expand > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(inner, wide, 1, bias=False), _norm(wide)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv, self._bn2 = nn.Conv2d(wide, outer, 1, bias=False), _norm(outer)
        self.expands, self.skips = expand > 1, stride == 1 and inner == outer

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """The block, with its skip where sizes agree."""
        wide = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        filtered = F.relu6(self._bn1(self._depthwise_conv(wide)))
        y: Tensor = self._bn2(self._project_conv(filtered))
        return x + y if self.skips else y


class EfficientNetLite0Features(Pretrained):
    """The 1280 pooled features of EfficientNet-lite0, with its ImageNet classifier as `classify`."""

    NAME = "efficientnet_lite0"
    # repeats, kernel, first stride, expansion, channels out
    STAGES = (
        *((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80)),
        *((3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)),
    )
    SIDE = 224  # pixels

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2, bias=False), _norm(32)
        self._blocks = nn.ModuleList()
        inner = 32
        for repeats, kernel, stride, expand, outer in self.STAGES:
            for index in range(repeats):
                self._blocks.append(InvertedResidual(inner, outer, kernel, stride if index == 0 else 1, expand))
                inner = outer
        self._conv_head, self._bn1 = nn.Conv2d(inner, FEATURES, 1, bias=False), _norm(FEATURES)
        self._fc = nn.Linear(FEATURES, 1000)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1280"]:
        """Features of pictures in 0..1, which are first brought to 224 pixels a side."""
        x = F.interpolate(x, size=(self.SIDE, self.SIDE), mode="bicubic", align_corners=False, antialias=True)
        x = F.relu6(self._bn0(self._conv_stem((x.clamp(0, 1) - 0.498) / 0.502)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))

    def classify(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1000"]:
        """Logits of the ImageNet classes."""
        logits: Tensor = self._fc(self(x))
        return logits


def frechet_distance(a: Float[np.ndarray, "n f"], b: Float[np.ndarray, "m f"], shrinkage: float = 0.1) -> float:
    """Fréchet distance of two Gaussians fitted to the features of two sets of pictures.

    With fewer samples than features the covariances are singular and the distance is biased upwards, so each is
    shrunk: (1 - shrinkage) S + shrinkage mean(diag S) I. The figure is therefore only to be compared with others of
    the same number of samples and the same shrinkage. Raises `ValueError` below two samples a set.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"sets of {len(a)} and {len(b)} features: at least 2 each are wanted")
    first, second = _shrunk(a, shrinkage), _shrunk(b, shrinkage)
    # The trace of the root of S1 S2 through the symmetric root of S1, which stays real and needs no general sqrtm.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(min=0)).sum()
    gap = a.mean(axis=0) - b.mean(axis=0)
    return float(max(gap @ gap + np.trace(first) + np.trace(second) - 2 * cross, 0.0))


def _shrunk(features: Float[np.ndarray, "n f"], shrinkage: float) -> Float[np.ndarray, "f f"]:
    covariance = np.atleast_2d(np.cov(features.astype(np.float64), rowvar=False))
    level = np.trace(covariance) / len(covariance)
    shrunk: np.ndarray = (1 - shrinkage) * covariance + shrinkage * level * np.eye(len(covariance))
    return shrunk
