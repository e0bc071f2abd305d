"""Whole pipelines of diffusers, tiny and random, made here: they sample, edit, and bring no code along."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from miaobi import models
from miaobi.errors import Unsupported
from miaobi.generation import generate
from miaobi.pretrained._pipelines import Pipeline

diffusers = pytest.importorskip("diffusers", reason="the extra pipelines is absent")
transformers = pytest.importorskip("transformers", reason="the extra pipelines is absent")

SIDE = 32


def vocabulary(folder):
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz")]
    words = {token: index for index, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Stable Diffusion of 32 by 32 pixels."""
    place = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=SIDE // 2,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, sample_size=SIDE,
    )  # fmt: skip
    words = vocabulary(place)
    config = transformers.CLIPTextConfig(
        hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1, vocab_size=len(words),
        max_position_embeddings=16, bos_token_id=52, eos_token_id=53, pad_token_id=53,
    )  # fmt: skip
    made = diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=transformers.CLIPTextModel(config),
        tokenizer=words,
        unet=unet,
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.save_pretrained(place / "model", safe_serialization=True)
    return place / "model"


@pytest.fixture(scope="module")
def model(folder):
    return models.load(folder)


QUICK = {"steps": 2, "guidance": 2.0}


def test_a_folder_of_a_pipeline_is_a_model_of_images(model):
    assert isinstance(model.family, Pipeline)
    assert model.family.target.space == (SIDE, SIDE)
    assert list(model.conditions) == ["prompt"]


def test_the_same_seed_gives_the_same_picture_in_any_company(model, tmp_path):
    made = generate(model, prompt="a cat", n=2, seed=3, controls=QUICK, out=tmp_path)
    again = generate(model, prompt="a cat", n=1, seed=3, controls=QUICK)
    other = generate(model, prompt="a dog", n=1, seed=3, controls=QUICK)
    with Image.open(made[0].path) as picture:
        assert picture.size == (SIDE, SIDE)
    assert np.array_equal(made[0].item, again[0].item)
    assert not np.array_equal(made[0].item, made[1].item)
    assert not np.array_equal(made[0].item, other[0].item)


def test_it_is_the_librarys_own_picture(model, folder):
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    from miaobi.sampling.noise import seeds_of

    seed = int(seeds_of(5, range(1))[0])
    wanted = pipeline(
        prompt="a cat", negative_prompt="", num_inference_steps=2, guidance_scale=2.0, output_type="pt",
        height=SIDE, width=SIDE, generator=torch.Generator().manual_seed(seed),
    ).images  # fmt: skip
    made = generate(model, prompt="a cat", n=1, seed=5, controls=QUICK)[0].item
    assert np.abs(made.astype(int) - (wanted[0].permute(1, 2, 0) * 255).round().numpy().astype(int)).max() <= 1


def test_an_image_is_changed_and_a_mask_keeps_the_rest(model, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[:, : SIDE // 2] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    controls = {**QUICK, "strength": 1.0}
    told = {"prompt": "a cat", "controls": controls, "edit": tmp_path / "a.png"}
    whole = generate(model, **told)[0].item
    half = generate(model, **told, mask=tmp_path / "m.png")[0].item
    assert not np.array_equal(whole, picture)
    assert np.array_equal(half[:, SIDE // 2 :], picture[:, SIDE // 2 :])
    assert not np.array_equal(half[:, : SIDE // 2], picture[:, : SIDE // 2])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"_class_name": ["mine", "MyPipeline"]}, "code of its own"),
        ({"unet": ["mine", "Evil"]}, "library that is not known"),
    ],
)
def test_a_pipeline_with_code_of_its_own_is_refused(folder, tmp_path, change, match):
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    index = json.loads((folder / "model_index.json").read_text())
    (tmp_path / "copy" / "model_index.json").write_text(json.dumps({**index, **change}))
    with pytest.raises(Unsupported, match=match):
        models.load(tmp_path / "copy")


def test_code_beside_the_weights_is_refused(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "unet" / "modeling.py").write_text("raise SystemExit")
    with pytest.raises(Unsupported, match="not run"):
        models.load(tmp_path / "copy")


def test_pickled_weights_are_refused(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    with pytest.raises(Unsupported, match="unpickled"):
        models.load(tmp_path / "copy")
