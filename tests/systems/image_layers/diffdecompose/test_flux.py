import shutil
from unittest import mock

import lightning
import pytest
import torch
from diffusers import AutoencoderKL, FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from systems.image_layers.diffdecompose import flow
from systems.image_layers.diffdecompose.autoencoder import Autoencoder, AutoencoderParams
from systems.image_layers.diffdecompose.flux import UNNAMED, FluxAutoencoder, FluxBackbone
from systems.image_layers.diffdecompose.flux_params import FluxParams
from systems.image_layers.diffdecompose.module import Decomposer, InContextDecomposition, Optimisation
from systems.parts import lora
from systems.parts.errors import UserError
from systems.parts.rgba_vae import widen_autoencoder
from systems.parts.run import Training
from systems.parts.step_batches import StepBatches
from tests.systems.image_layers.diffdecompose.tiny_checkpoint import (
    LATENTS,
    autoencoder,
    transformer,
    write_tiny_checkpoint,
)

SIDE = 4
"""Height and width of the latents; a layer has (SIDE / 2)^2 tokens."""
TOKENS = (SIDE // 2) ** 2
WIDTH = 4 * LATENTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("flux")
    write_tiny_checkpoint(folder)
    return folder


def load(folder, **changes) -> FluxBackbone:
    settings = {"model": str(folder), "vae": "", "rank": 2, "dtype": "float32", "prompt_tokens": 16, **changes}
    torch.manual_seed(0)
    return FluxBackbone(FluxParams(**settings))


@pytest.fixture
def backbone(folder) -> FluxBackbone:
    return load(folder)


def with_effect(backbone: FluxBackbone) -> FluxBackbone:
    """Adapters that change the output."""
    for weight in lora.parameters(backbone.transformer):
        torch.nn.init.normal_(weight)
    return backbone


def triplet(count: int = 2) -> dict[str, Tensor]:
    return {layer: torch.randn(count, TOKENS, WIDTH) for layer in "zxy"}


def ids_of(backbone: FluxBackbone, layers: str = "zxy") -> Tensor:
    return torch.cat([backbone.position_ids(layer, SIDE, SIDE) for layer in layers])


def text_of(backbone: FluxBackbone, count: int = 2):
    return backbone.condition(["a cat behind glass"] * count, ["glassware"] * count)


def adapters(backbone: FluxBackbone) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in lora.state_dict(backbone.transformer).items()}


@given(rows=st.integers(1, 4), columns=st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_packing_equals_diffusers_and_unpacking_inverts_it(folder, rows, columns):
    pack, unpack = FluxBackbone.pack, FluxBackbone.unpack
    lh, lw = 2 * rows, 2 * columns
    latents = torch.randn(2, LATENTS, lh, lw)
    tokens = pack(FluxBackbone, latents)
    assert torch.equal(tokens, FluxPipeline._pack_latents(latents, 2, LATENTS, lh, lw))
    assert torch.equal(unpack(FluxBackbone, tokens, lh, lw), latents)
    assert torch.equal(FluxPipeline._unpack_latents(tokens, 8 * lh, 8 * lw, 8), latents)


def test_ids_are_those_of_flux_for_z_and_y_and_a_layer_of_their_own_for_x(backbone):
    ids = {layer: backbone.position_ids(layer, 6, 8) for layer in "zxy"}
    theirs = FluxPipeline._prepare_latent_image_ids(1, 3, 4, torch.device("cpu"), torch.float32)
    assert torch.equal(ids["z"], theirs)
    assert torch.equal(ids["y"], theirs)
    assert torch.equal(ids["x"] - theirs, torch.tensor([1.0, 0.0, 0.0]).expand(12, 3))


def test_same_content_at_same_ids_gives_same_output(backbone):
    with_effect(backbone)
    content = torch.randn(1, TOKENS, WIDTH)
    with torch.no_grad():
        out = backbone.predict(
            content.repeat(1, 3, 1), ids_of(backbone), text_of(backbone, 1), torch.full((1,), 0.5)
        ).chunk(3, dim=1)
    assert torch.allclose(out[0], out[2], atol=1e-5)
    assert not torch.allclose(out[0], out[1], atol=1e-3)


def test_latents_are_shifted_and_scaled_and_decode_undoes_it(backbone, folder):
    rgba = torch.rand(2, 4, 2 * SIDE, 2 * SIDE)
    plain = AutoencoderKL.from_pretrained(folder / "vae")
    with torch.no_grad():
        mean = plain.encode(2 * rgba[:, :3] - 1).latent_dist.mean
        colours = ((plain.decode(mean).sample + 1) / 2).clamp(0, 1)
        latents = backbone.encode(rgba)
        out = backbone.decode(latents)
    assert torch.allclose(latents, (mean - 0.1159) * 0.3611, atol=1e-5)
    assert torch.allclose(out[:, :3], colours, atol=1e-5)
    assert torch.allclose(out[:, 3], torch.ones(2, 2 * SIDE, 2 * SIDE), atol=1e-5)


def test_an_rgba_autoencoder_is_taken_as_it_is(folder, tmp_path):
    wide = autoencoder(4)
    wide.save_pretrained(tmp_path / "finetuned")
    backbone = load(folder, vae=str(tmp_path), vae_folder="finetuned")
    assert torch.equal(backbone.vae.net.decoder.conv_out.weight, wide.decoder.conv_out.weight)


def test_adapted_layers_are_the_attention_of_all_blocks_and_the_double_streams_feed_forwards(backbone):
    double = ["attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.to_add_out"]
    double += ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"]
    double += ["ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"]
    single = ["attn.to_q", "attn.to_k", "attn.to_v"]
    wanted = {f"transformer_blocks.{block}.{layer}" for block in range(2) for layer in double}
    wanted |= {f"single_transformer_blocks.{block}.{layer}" for block in range(3) for layer in single}
    assert {name.split(".lora_")[0] for name in adapters(backbone)} == wanted
    assert len(wanted) == 2 * 12 + 3 * 3


def masked_loss(backbone: FluxBackbone, clean: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Velocity loss over x and y alone, computed token by token, and the output it was computed from."""
    torch.manual_seed(1)
    noise = {layer: torch.randn(2, TOKENS, WIDTH) for layer in "xy"}
    sigma = torch.tensor([0.3, 0.8])
    noised = [(1 - sigma[:, None, None]) * clean[k] + sigma[:, None, None] * noise[k] for k in "xy"]
    out = backbone.predict(torch.cat([clean["z"], *noised], 1), ids_of(backbone), text_of(backbone), sigma)
    out.retain_grad()
    errors = [out.split(TOKENS, 1)[k + 1] - (noise[layer] - clean[layer]) for k, layer in enumerate("xy")]
    return torch.cat(errors, 1).square().mean(), out


def test_one_step_moves_the_adapters_alone_and_z_carries_no_loss(backbone):
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    loss, out = masked_loss(backbone, triplet())
    loss.backward()
    assert loss.isfinite()
    assert out.grad[:, :TOKENS].eq(0).all()
    assert out.grad[:, TOKENS:].ne(0).any()
    assert {name for name, weight in backbone.named_parameters() if weight.grad is not None} == {
        f"transformer.{name}" for name in adapters(backbone)
    }
    torch.optim.AdamW([weight for weight in backbone.parameters() if weight.requires_grad], 1e-2).step()
    moved = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {f"transformer.{name}" for name in adapters(backbone)}


def test_the_systems_loss_is_the_masked_velocity_loss(backbone):
    with_effect(backbone)
    clean = triplet()
    expected, _ = masked_loss(backbone, clean)
    torch.manual_seed(1)
    noise = torch.cat([torch.randn(2, TOKENS, WIDTH) for _ in "xy"], 1)
    loss = flow.flow_loss(backbone, clean, ("x", "y"), noise, torch.tensor([0.3, 0.8]), text_of(backbone))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_checkpointing_changes_memory_not_gradients(folder):
    gradients, calls = [], []
    clean = triplet()
    for checkpointing in (True, False):
        backbone = with_effect(load(folder, checkpointing=checkpointing)).train()
        block = backbone.transformer.transformer_blocks[0]
        with mock.patch.object(block, "forward", wraps=block.forward) as forward:
            masked_loss(backbone, clean)[0].backward()
        calls.append(forward.call_count)
        gradients.append([weight.grad for weight in lora.parameters(backbone.transformer)])
    assert calls == [2, 1]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def one_step_trainer(folder) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def test_lightning_takes_one_step_on_the_widened_autoencoder(tmp_path):
    torch.manual_seed(0)
    narrow, wide = autoencoder(3), autoencoder(3)
    wide.load_state_dict(narrow.state_dict())
    widen_autoencoder(wide)
    before = {name: value.clone() for name, value in wide.state_dict().items()}
    training = Training(steps=1, batch=2)
    pictures = torch.randint(0, 256, (4, 4, 8, 8), dtype=torch.uint8)
    params = AutoencoderParams(rgb=training, rgba=training, warmup=0, kl_reference=1.0)
    module = Autoencoder(FluxAutoencoder(wide), params, 1, 0, pictures)
    trainer = one_step_trainer(tmp_path)
    trainer.fit(module, StepBatches({"picture": pictures}, 2, 1, 0))
    assert trainer.callback_metrics["loss"].isfinite()
    assert all(not torch.equal(value, before[name]) for name, value in wide.state_dict().items() if "conv_" in name)


def test_lightning_takes_one_step_on_the_adapters(backbone, tmp_path):
    before = adapters(backbone)
    tensors = {**triplet(4), "row": torch.arange(4)}
    module = InContextDecomposition(
        Decomposer(backbone, regression=False),
        Optimisation(lr=1e-2, warmup=0, constant=True),
        steps=1,
        seed=0,
        subtasks=["cells", "any", "xray", "flare"],
        prompts=["cells on a leaf"] * 4,
        show={},
    )
    trainer = one_step_trainer(tmp_path)
    trainer.fit(module, StepBatches(tensors, 2, 1, 0))
    assert trainer.callback_metrics["loss"].isfinite()
    assert any(not torch.equal(value, before[name]) for name, value in adapters(backbone).items())


def test_sampling_keeps_z_clean_bit_for_bit(backbone):
    with_effect(backbone)
    z, noise = torch.randn(2, TOKENS, WIDTH), torch.randn(2, 2 * TOKENS, WIDTH)
    sigmas, seen = backbone.sigmas(2, 3 * TOKENS), []
    out = flow.sample(backbone, z, ("x", "y"), sigmas, text_of(backbone), noise, watch=lambda s: seen.append(s.clone()))
    assert len(seen) == 2
    assert all(torch.equal(tokens[:, :TOKENS], z) for tokens in seen)
    first = torch.cat([z, noise], 1)
    with torch.no_grad():
        speed = backbone.predict(first, ids_of(backbone), text_of(backbone), torch.ones(2))
    assert torch.allclose(seen[0][:, TOKENS:], (first + (sigmas[1] - 1) * speed)[:, TOKENS:], atol=1e-5)
    assert torch.equal(torch.cat([out["x"], out["y"]], 1), seen[1][:, TOKENS:])


@pytest.mark.parametrize("tokens", [256, 3 * 1024, 4096])
def test_sigmas_are_shifted_by_the_count_of_all_tokens(backbone, tokens):
    levels = backbone.sigmas(28, tokens)
    shift = torch.tensor(calculate_shift(tokens)).exp()
    even = torch.linspace(1, 1 / 28, 28)
    assert torch.allclose(torch.tensor(levels[:-1]), shift / (shift + 1 / even - 1), atol=1e-5)
    assert levels[-1] == 0
    assert len(levels) == 29


def test_training_levels_are_the_schedulers(folder):
    levels = load(folder).scheduler.sigmas
    drawn = flow.uniform_sigma(5000, torch.Generator().manual_seed(0))
    assert (drawn[:, None] - levels).abs().amin(1).max() < 1e-6
    assert len(drawn.unique()) > 0.95 * len(levels)


def test_guidance_is_one_in_training_and_the_parameter_in_sampling(backbone):
    tokens, ids, text, sigma = torch.randn(2, TOKENS, WIDTH), ids_of(backbone, "z"), text_of(backbone), torch.ones(2)
    with mock.patch.object(backbone.transformer, "forward", wraps=backbone.transformer.forward) as forward:
        backbone.predict(tokens, ids, text, sigma)
        with torch.no_grad():
            backbone.predict(tokens, ids, text, sigma)
    assert [call.kwargs["guidance"].tolist() for call in forward.call_args_list] == [[1.0, 1.0], [3.5, 3.5]]


def test_text_encoders_stay_frozen_in_training(backbone):
    first, second = (text_of(backbone.train()) for _ in range(2))
    assert torch.equal(first.tokens, second.tokens)
    assert not first.tokens.requires_grad
    assert first.tokens.shape == (2, 16, 16)
    assert first.pooled.shape == (2, 16)


def test_text_tells_prompts_apart_and_any_means_the_general_one(backbone):
    text = backbone.condition(["a cat", "a dog", "a cat", UNNAMED], ["cells", "cells", "any", "cells"])
    assert not torch.allclose(text.tokens[0], text.tokens[1])
    assert not torch.allclose(text.pooled[0], text.pooled[1])
    assert torch.allclose(text.tokens[2], text.tokens[3])


def test_saved_adapters_give_the_same_velocity(folder, backbone, tmp_path):
    with_effect(backbone)
    save_file(lora.state_dict(backbone.transformer), tmp_path / "adapters.safetensors")
    other = load(folder)
    lora.load_state_dict(other.transformer, load_file(tmp_path / "adapters.safetensors"))
    tokens, ids, text, sigma = torch.randn(2, TOKENS, WIDTH), ids_of(backbone, "z"), text_of(backbone), torch.ones(2)
    assert torch.equal(
        other.predict(tokens, ids, text, sigma),
        backbone.predict(tokens, ids, text, sigma),
    )


def test_bfloat16_holds_the_base_and_not_the_adapters(folder):
    backbone = load(folder, dtype="bfloat16")
    assert backbone.transformer.x_embedder.weight.dtype == torch.bfloat16
    assert backbone.text.t5.dtype == torch.bfloat16
    assert backbone.vae.net.dtype == torch.float32
    assert {value.dtype for value in adapters(backbone).values()} == {torch.float32}
    loss, out = masked_loss(backbone, triplet())
    loss.backward()
    assert out.dtype == torch.float32
    assert loss.isfinite()


def test_a_model_without_guidance_gets_none(folder, tmp_path):
    for part in folder.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "transformer").unlink()
    config = {**transformer().config, "guidance_embeds": False}
    type(transformer()).from_config(config).save_pretrained(tmp_path / "transformer")
    assert masked_loss(load(tmp_path), triplet())[0].isfinite()


PARTS = ("transformer", "scheduler", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(folder, tmp_path, part):
    for present in folder.iterdir():
        if present.name != part:
            (tmp_path / present.name).symlink_to(present)
    with pytest.raises(UserError, match=rf"parameter flux.model = {tmp_path}: no readable \w+ in {part} ") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "text_encoder_2"])
def test_truncated_weights_are_named(folder, tmp_path, part):
    for present in folder.iterdir():
        (tmp_path / present.name).symlink_to(present)
    (tmp_path / part).unlink()
    shutil.copytree(folder / part, tmp_path / part)
    (weights,) = (tmp_path / part).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(UserError, match=rf"no readable \w+ in {part} "):
        load(tmp_path)


@pytest.mark.parametrize(("field", "name"), [("model", "nobody/flux"), ("vae", "nobody/vae"), ("vae", "not a name!")])
def test_without_downloads_an_unknown_name_is_refused(folder, field, name):
    with pytest.raises(UserError, match=rf"parameter flux.{field} = {name}: .*flux.download"):
        load(folder, **{field: name})


@pytest.mark.parametrize("rank", [0, -1])
def test_holds_4_7_rank_of_zero_or_less_is_refused(rank):
    with pytest.raises(UserError, match=f"parameter rank = {rank}:"):
        FluxParams(rank=rank)
