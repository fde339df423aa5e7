"""CLIP against PyTorch, its parameter counts, and weights from files with Hugging Face's names."""

import math
import re

import numpy as np
import pytest
import reference_clip as reference
import torch
from safetensors.numpy import load_file, save_file

import minigrad as mg
from minigrad.files import CheckpointError
from models import CLIP, CLIPConfig, count
from models.clip import contrastive_loss, hugging_face_names, in_patches, load_hugging_face

SMALL = CLIPConfig(
    embed=10, picture=12, patch=4, vision_d=12, vision_layers=2, vision_heads=3,
    vocabulary_size=23, context=9, text_d=8, text_layers=2, text_heads=2,
)  # fmt: skip
END = SMALL.vocabulary_size - 1
# Numbers of a gradient are sums over at most 5 * 10 positions of products of two factors, each of
# which is a sum of at most 48 terms, in a chain of two blocks of some ten ops, twice for the two
# directions: relative to the greatest of a tensor, fewer than 50 * 48 * 2 * 20 * 2 roundings of
# 2.2e-16 with random signs; the scale, 14, goes into all of them.
TOLERANCE = 50 * 48 * 2 * 20 * 2 * 2.2e-16


def texts(rng, n, config=SMALL, longest=None):
    """n texts of different lengths, which end with the last id; what follows is padding."""
    longest = longest or config.context
    ids = rng.integers(1, config.vocabulary_size - 1, (n, longest))
    for row, end in zip(ids, rng.integers(1, longest, n), strict=True):
        row[end], row[end + 1 :] = config.vocabulary_size - 1, 0
    return ids


def twins(config=SMALL):
    """PyTorch's model in float64 with weights of any kind, and ours with the same."""
    theirs = reference.CLIPModel(config).double()
    for name, p in theirs.named_parameters():
        if "norm" in name and name.endswith("weight"):
            torch.nn.init.uniform_(p, 0.5, 1.5)
        elif name != "logit_scale":
            torch.nn.init.normal_(p, 0.0, 0.4)
    ours = CLIP(config).astype(np.float64)
    return ours, theirs


def write(path, theirs, **changes):
    state = {name: value.detach().numpy() for name, value in theirs.state_dict().items()}
    state |= changes
    save_file({name: v for name, v in state.items() if v is not None}, path)
    return path


def close(found, wanted, what):
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, what
    assert np.abs(found - wanted).max() <= TOLERANCE * max(1e-3, np.abs(wanted).max()), what


# --- beside PyTorch -------------------------------------------------------------------------------
def test_logits_loss_and_all_gradients_are_pytorchs(tmp_path, rng):
    ours, theirs = twins()
    load_hugging_face(write(tmp_path / "clip.safetensors", theirs), ours)
    pictures, ids = rng.standard_normal((5, 3, 12, 12)), texts(rng, 5)
    logits = ours(mg.tensor(pictures), mg.tensor(ids))
    wanted, images, captions = theirs(torch.tensor(pictures), torch.tensor(ids))
    close(logits.detach().numpy(), wanted.detach(), "logits")
    close(ours.embed_pictures(mg.tensor(pictures)).detach().numpy(), images.detach(), "pictures")
    close(ours.embed_texts(mg.tensor(ids)).detach().numpy(), captions.detach(), "texts")
    loss, expected = contrastive_loss(logits), reference.loss_of(wanted)
    close(loss.item(), expected.item(), "loss")
    loss.backward()
    expected.backward()
    gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    names = set()
    for name, p in ours.named_parameters():
        theirs_of_it = hugging_face_names(name)
        whole = np.concatenate([np.atleast_1d(gradients[each]) for each in theirs_of_it])
        close(p.grad.numpy(), whole.reshape(p.shape), name)
        names |= {*theirs_of_it}
    assert names == gradients.keys()


def test_the_shape_of_vit_b_32_agrees_with_pytorch(rng):
    """One picture and two texts in float32, with as many parameters as OpenAI's."""
    config = CLIPConfig()
    ours = CLIP(config)
    assert ours.count_parameters() == 151_277_313
    state = ours.state_dict()
    for value in state.values():
        if value.ndim == 1:  # norms and biases, which start at 1 and 0
            value += rng.normal(0.0, 0.1, value.shape).astype("float32")
    ours.load_state_dict(state)
    with torch.device("meta"):  # its own weights would take seconds to draw
        theirs = reference.CLIPModel(config)
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    parts = {
        name: torch.from_numpy(part).reshape(shapes[name])
        for ours_of_it, value in state.items()
        for names in [hugging_face_names(ours_of_it)]
        for name, part in zip(names, np.split(value, len(names)) if value.ndim else [value],
                              strict=True)
    }  # fmt: skip
    theirs.load_state_dict(parts, assign=True)
    pictures = rng.standard_normal((1, 3, 224, 224)).astype("float32")
    ids = texts(rng, 2, config, longest=16)
    with mg.no_grad(), torch.no_grad():
        logits = ours(mg.tensor(pictures), mg.tensor(ids)).numpy()
        wanted, *_ = theirs(torch.tensor(pictures), torch.tensor(ids))
    # a cosine of 512 terms, each from 12 blocks of ~10 ops with sums of up to 3,072 terms whose
    # roundings of 6e-8 have random signs: some √(12 * 10 * 3072) * 6e-8, times the scale, 14.3
    assert np.abs(logits - wanted.numpy()).max() < 14.3 * math.sqrt(12 * 10 * 3072) * 6e-8


def test_patches_times_kernels_are_a_convolution(rng):
    pictures, kernels = rng.standard_normal((2, 3, 12, 8)), rng.standard_normal((5, 3, 4, 4))
    found = mg.linear(in_patches(mg.tensor(pictures), 4), mg.tensor(kernels.reshape(5, -1)))
    wanted = torch.nn.functional.conv2d(torch.tensor(pictures), torch.tensor(kernels), stride=4)
    close(found.numpy(), wanted.flatten(2).transpose(1, 2), "patches")


def test_a_text_ends_with_its_end(rng):
    """What comes after it changes nothing, and what comes before it does."""
    ours, _ = twins()
    ids = texts(rng, 6)
    before = ours.embed_texts(mg.tensor(ids)).detach().numpy()
    after_end = np.arange(9) > ids.argmax(axis=1)[:, None]
    other = np.where(after_end, rng.integers(1, END, ids.shape), ids)
    np.testing.assert_array_equal(before, ours.embed_texts(mg.tensor(other)).detach().numpy())
    other = np.where(np.arange(9) == 0, ids % (END - 1) + 1, ids)
    other[ids == END] = END
    changed = np.abs(before - ours.embed_texts(mg.tensor(other)).detach().numpy()).max(axis=1)
    assert (changed > 1e-3).all()


def test_the_scale_starts_at_the_papers_and_ends_at_100():
    model = CLIP(SMALL)
    assert math.exp(model.log_scale.item()) == pytest.approx(1 / 0.07)  # float32
    model.limit_scale()
    assert math.exp(model.log_scale.item()) == pytest.approx(1 / 0.07)
    with mg.no_grad():
        model.log_scale.assign_(5.0)
    model.limit_scale()
    assert math.exp(model.log_scale.item()) == pytest.approx(100)
    assert model.log_scale.requires_grad


# --- counts ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("config", [SMALL, CLIPConfig(picture=8, patch=2, context=5, text_layers=1,
    vision_layers=3, vision_d=8, vision_heads=2, text_d=6, text_heads=1, embed=3,
    vocabulary_size=40)])  # fmt: skip
def test_the_count_of_any_size_is_that_of_the_formula(config):
    wanted = count.clip_vision(config) + count.clip_text(config) + 1
    assert CLIP(config).count_parameters() == wanted


def test_the_count_of_vit_b_32_is_derived(capsys):
    count.main(["--model", "clip"])
    text = capsys.readouterr().out
    assert all(number in text for number in ("151,277,313", "87,849,216", "63,428,096"))
    with pytest.raises(SystemExit) as stop:
        count.main(["--model", "clip", "--d", "64"])
    assert stop.value.code == 2
    assert "only the sizes of ViT-B/32 are derived" in capsys.readouterr().err


# --- files ----------------------------------------------------------------------------------------
def test_an_older_file_has_numbers_of_positions_beside_its_weights(tmp_path):
    ours, theirs = twins()
    numbers = {
        f"{tower}_model.embeddings.position_ids": np.arange(n)[None]
        for tower, n in (("text", 9), ("vision", 10))
    }
    load_hugging_face(write(tmp_path / "clip.safetensors", theirs, **numbers), ours)
    kernels = theirs.vision_model.embeddings.patch_embedding.weight.detach().numpy()
    np.testing.assert_array_equal(
        ours.vision.patches.weight.detach().numpy(), kernels.reshape(12, 48)
    )


def test_every_tensor_that_does_not_fit_is_named_and_nothing_changes(tmp_path):
    ours, theirs = twins()
    before = ours.state_dict()
    name = "vision_model.encoder.layers.1.self_attn.k_proj.weight"
    path = write(
        tmp_path / "clip.safetensors", theirs,
        **{
            name: None,
            "text_projection.weight": np.zeros((10, 9)),
            "vision_model.embeddings.patch_embedding.weight": np.zeros((12, 3, 4, 2)),
            "logit_scale": np.zeros((), np.float32),
            "visual_projection.bias": np.zeros(10),
        },
    )  # fmt: skip
    with pytest.raises(CheckpointError) as error:
        load_hugging_face(path, ours)
    lines = str(error.value).splitlines()
    assert lines[0] == f"{path}: 5 problem(s); nothing was changed"
    assert sorted(re.sub(" +", " ", line.strip()) for line in lines[1:]) == [
        "dtype: logit_scale expected float64, got float32",
        f"missing: {name}",
        "shape: text_projection.weight expected (10, 8), got (10, 9)",
        "shape: vision_model.embeddings.patch_embedding.weight expected (12, 3, 4, 4), "
        "got (12, 3, 4, 2)",
        "unexpected: visual_projection.bias",
    ]
    for key, value in ours.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_a_file_that_is_damaged_or_missing(tmp_path):
    ours, theirs = twins()
    path = write(tmp_path / "clip.safetensors", theirs)
    assert len(load_file(path)) == len(theirs.state_dict())
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_hugging_face(path, ours)
    with pytest.raises(FileNotFoundError):
        load_hugging_face(tmp_path / "nowhere", ours)


# --- sizes ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"embed": 0}, "embed: expected at least 1, got 0"),
        ({"patch": 30}, "picture: 224 cannot be cut into patches of 30"),
        ({"vision_d": 770}, "vision_d: 770 cannot be divided among 12 heads"),
        ({"text_heads": 3}, "text_d: 512 cannot be divided among 3 heads"),
    ],
)
def test_sizes_that_no_model_has(settings, text):
    with pytest.raises(ValueError, match=text):
        CLIPConfig(**settings)


@pytest.mark.parametrize("shape", [(3, 12, 12), (2, 1, 12, 12), (2, 3, 12, 11), (2, 12, 12, 3)])
def test_pictures_of_another_shape(shape):
    text = re.escape(f"CLIP: expected pictures (B, 3, 12, 12), got {shape}")
    with pytest.raises(ValueError, match=text):
        CLIP(SMALL).embed_pictures(mg.zeros(shape))


def test_a_text_longer_than_the_context():
    with pytest.raises(ValueError, match="T <= 9, got"):
        CLIP(SMALL).embed_texts(mg.tensor(np.full((1, 10), END)))
