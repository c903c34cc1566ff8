"""PSD, the format of Photoshop, with the flattened picture that viewers show.

Opacity has 256 steps. PSD knows no `additive` with alpha: Linear Dodge cuts at white before it mixes. So the colours of
such a layer are multiplied by its alpha and opacity, as artists keep flares on black: on an opaque ground the same
picture; on any other the layer is refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from psd_tools import PSDImage
from psd_tools.api.layers import Layer as StoredLayer
from psd_tools.constants import BlendMode, ColorMode

from systems.parts.errors import UserError
from systems.parts.layered_files.stack import Layer, Stack, flatten

MODES = {
    "over": BlendMode.NORMAL,
    "screen": BlendMode.SCREEN,
    "multiply": BlendMode.MULTIPLY,
    "additive": BlendMode.LINEAR_DODGE,
}


def write(stack: Stack, path: Path) -> None:
    """Write the file; its bytes depend on the stack alone."""
    picture = flatten(stack)
    file = PSDImage.frompil(Image.fromarray(picture))
    for layer in without_added_alpha(stack):
        left, top = layer.offset
        stored = file.create_pixel_layer(Image.fromarray(layer.rgba), top=top, left=left)
        stored.name, stored.opacity = layer.name, round(layer.opacity * 255)
        stored.blend_mode, stored.visible = MODES[layer.blend], layer.visible
    record = file._record  # `save` would flatten once more, slowly
    if info := record.layer_and_mask_information.layer_info:
        info.layer_count = -len(stack.layers)  # the flattened picture's alpha is its transparency
    with path.open("wb") as target:
        record.write(target)


def without_added_alpha(stack: Stack) -> list[Layer]:
    """The layers, each `additive` one with its alpha and opacity in its colours."""
    layers = list(stack.layers)
    for number, layer in enumerate(layers):
        if layer.blend == "additive":
            layers[number] = on_black(layer)
            if layer.visible and not lies_on_opaque(stack, number):
                raise UserError(f"layer {layer.name!r}: a PSD cannot add light to what is transparent below it")
    return layers


def on_black(layer: Layer) -> Layer:
    """The layer as light on black, opaque wherever it shines."""
    alpha = layer.rgba[..., 3:]
    light = np.rint(layer.rgba[..., :3] * (alpha * (layer.opacity / 255))).astype(np.uint8)
    return replace(layer, rgba=np.dstack((light, np.where(alpha > 0, 255, 0).astype(np.uint8))), opacity=1.0)


def lies_on_opaque(stack: Stack, number: int) -> bool:
    """Whether the layers below are opaque wherever this one is seen."""
    seen = replace(on_black(stack.layers[number]), blend="over")
    here = flatten(Stack(stack.size, (seen,)))[..., 3] > 0
    if number == 0:
        return not here.any()
    return bool((flatten(Stack(stack.size, stack.layers[:number]))[here][:, 3] == 255).all())


def read(path: Path) -> Stack:
    """The stack in a file of 8-bit RGB pixel layers; groups, masks, effects and other blends are refused."""
    file = PSDImage.open(path)
    if file.color_mode != ColorMode.RGB or file.depth != 8:
        raise ValueError(f"it has {file.depth} bits {file.color_mode.name}; 8 bits RGB are wanted")
    return Stack(file.size, tuple(_layer(layer) for layer in file))


def _layer(stored: StoredLayer) -> Layer:
    known = {mode: blend for blend, mode in MODES.items()}
    more = stored.has_mask() or stored.has_effects() or stored.clipping
    if stored.kind != "pixel" or more or stored.blend_mode not in known:
        modes = ", ".join(mode.name.lower() for mode in known)
        raise ValueError(
            f"{stored.kind} layer {stored.name!r}, {stored.blend_mode.name.lower()}; pixel layers without mask, effect "
            f"or clipping, blended by {modes}, are wanted"
        )
    picture = stored.topil(apply_icc=False)
    if picture is None:
        raise ValueError(f"layer {stored.name!r} has no pixels")
    shown = stored.opacity / 255, known[stored.blend_mode], stored.visible
    return Layer(stored.name, np.asarray(picture.convert("RGBA")), (stored.left, stored.top), *shown)
