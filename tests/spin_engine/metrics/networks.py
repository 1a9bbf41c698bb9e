"""The metrics' networks, tiny, of the real classes and with random weights, as folders of safetensors."""

import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    BertTokenizer,
    BlipTextConfig,
    BlipVisionConfig,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
)

from spin_engine.metrics.head import Head
from spin_engine.metrics.image_reward import Network
from tests.tiny import build_tokenizer

SIDE, VECTOR = 28, 12


def build_clip(folder: Path, *, scale: float = 2.5) -> CLIPModel:
    """Save a CLIPModel with its tokenizer; its logits are exp(``scale``) times the cosine."""
    folder.mkdir(parents=True)
    tokenizer = build_tokenizer(folder)
    tokenizer.save_pretrained(folder)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=20,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=7,
    )
    config = CLIPConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=VECTOR,
        logit_scale_init_value=scale,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPModel(config).eval()
        for value in model.parameters():
            if value.ndim == 1 and len(value) > 1:
                value.data += 0.1 * torch.randn_like(value)
    model.save_pretrained(folder, safe_serialization=True)
    return model


def open_clip_names(model: CLIPModel) -> dict[str, Tensor]:
    """Return the weights as open_clip names them, written down apart from ``metrics.open_clip``."""
    state = model.state_dict()
    given = {
        "logit_scale": state["logit_scale"],
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T.contiguous(),
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "text_projection": state["text_projection.weight"].T.contiguous(),
        "attn_mask": torch.zeros(16, 16),
    }
    for kind in ("weight", "bias"):
        given[f"visual.ln_pre.{kind}"] = state[f"vision_model.pre_layrnorm.{kind}"]
        given[f"visual.ln_post.{kind}"] = state[f"vision_model.post_layernorm.{kind}"]
        given[f"ln_final.{kind}"] = state[f"text_model.final_layer_norm.{kind}"]
        for side, prefix in (("vision_model", "visual."), ("text_model", "")):
            for layer in range(2):
                old, new = f"{side}.encoder.layers.{layer}", f"{prefix}transformer.resblocks.{layer}"
                fused = [state[f"{old}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
                given[f"{new}.attn.in_proj_{kind}"] = torch.cat(fused)
                given[f"{new}.attn.out_proj.{kind}"] = state[f"{old}.self_attn.out_proj.{kind}"]
                given[f"{new}.ln_1.{kind}"] = state[f"{old}.layer_norm1.{kind}"]
                given[f"{new}.ln_2.{kind}"] = state[f"{old}.layer_norm2.{kind}"]
                given[f"{new}.mlp.c_fc.{kind}"] = state[f"{old}.mlp.fc1.{kind}"]
                given[f"{new}.mlp.c_proj.{kind}"] = state[f"{old}.mlp.fc2.{kind}"]
    return given


def build_head(folder: Path, features: int = VECTOR) -> Head:
    """Save an aesthetic head under the names of the published one."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        head = Head(features).eval()
    save_file(head.state_dict(), folder / "model.safetensors")
    return head


def build_image_reward(folder: Path) -> Network:
    """Save an ImageReward under the names of ImageReward.pt, and BERT's tokenizer beside it."""
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789"]
    words += [f"##{letter}" for letter in words[5:]]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    vision = BlipVisionConfig(
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=1,
        image_size=SIDE,
        patch_size=7,
        layer_norm_eps=1e-6,
    )
    text = BlipTextConfig(
        vocab_size=len(words) + 2,
        hidden_size=128,
        encoder_hidden_size=64,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=40,
    )
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = Network(vision, text).eval()
    weights = {_published(name): value.clone() for name, value in network.state_dict().items()}
    weights |= {"blip.vision_proj.weight": torch.zeros(4, 64), "blip.text_proj.weight": torch.zeros(4, 128)}
    weights["blip.text_encoder.embeddings.position_ids"] = torch.arange(40)[None]
    save_file(weights, folder / "model.safetensors")
    return network


def _published(name: str) -> str:
    """Return the name of a weight in ImageReward.pt, written down apart from ``metrics.image_reward``."""
    if name.startswith("head."):
        return "mlp." + name.removeprefix("head.")
    if name.startswith("text."):
        return "blip.text_encoder." + name.removeprefix("text.")
    name = name.removeprefix("vision.")
    name = re.sub(r"^encoder\.layers\.(\d+)\.", r"blocks.\1.", name)
    for new, old in (
        ("embeddings.class_embedding", "cls_token"),
        ("embeddings.position_embedding", "pos_embed"),
        ("embeddings.patch_embedding", "patch_embed.proj"),
        ("layer_norm", "norm"),
        ("self_attn.projection", "attn.proj"),
        ("self_attn.qkv", "attn.qkv"),
        ("post_layernorm", "norm"),
    ):
        name = name.replace(new, old)
    return "blip.visual_encoder." + name
