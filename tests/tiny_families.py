"""The smallest real pipelines of each family: diffusers' and transformers' own classes, made in code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

SIDE = 32
WIDTH = 16
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?-'"


def clip_tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer that spells: one token for each letter, at the end of a word or not."""
    tokens = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[],
        model_max_length=16,
        pad_token="<|endoftext|>",
    )


def t5_tokenizer() -> T5TokenizerFast:
    """Return a T5 tokenizer that spells: a Unigram of letters."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(letter, -3.0) for letter in LETTERS]
    return T5TokenizerFast(vocab=special + letters, extra_ids=0, model_max_length=20)


def clip(model: Any, tokenizer: CLIPTokenizer, **changes: Any) -> Any:
    """Return an untrained CLIP text encoder of two layers."""
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "projection_dim": WIDTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return model(CLIPTextConfig(**(settings | changes)))


def t5(tokenizer: T5TokenizerFast, d_model: int) -> T5EncoderModel:
    """Return an untrained T5 encoder of one layer."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer), d_model=d_model, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
            feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip


def autoencoder(**changes: Any) -> AutoencoderKL:
    """Return an untrained autoencoder whose latents are a quarter of the picture each way."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=SIDE,
        **({"latent_channels": 4} | changes),
    )


def unet(**changes: Any) -> UNet2DConditionModel:
    """Return an untrained U-Net for latents of 4 x 8 x 8."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        **({"cross_attention_dim": WIDTH} | changes),
    )


def stable_diffusion(prediction: str, **text: Any) -> StableDiffusionPipeline:
    """Return a StableDiffusionPipeline; ``text`` changes the text encoder's config."""
    tokenizer = clip_tokenizer()
    scheduler = DDPMScheduler(
        beta_schedule="scaled_linear", clip_sample=False, steps_offset=1, prediction_type=prediction
    )
    return StableDiffusionPipeline(
        autoencoder(), clip(CLIPTextModel, tokenizer, **text), tokenizer, unet(), scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl(*, force_zeros: bool = True) -> StableDiffusionXLPipeline:
    """Return a StableDiffusionXLPipeline with both text encoders, of different widths."""
    one, two = clip_tokenizer(), clip_tokenizer()
    return StableDiffusionXLPipeline(
        vae=autoencoder(force_upcast=True, scaling_factor=0.13025),
        text_encoder=clip(CLIPTextModel, one),
        text_encoder_2=clip(CLIPTextModelWithProjection, two, hidden_size=24, projection_dim=12),
        tokenizer=one,
        tokenizer_2=two,
        unet=unet(
            cross_attention_dim=WIDTH + 24,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=12 + 6 * 8,
            use_linear_projection=True,
        ),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1),
        force_zeros_for_empty_prompt=force_zeros,
        add_watermarker=False,
    )


def sd3(*, with_t5: bool = True) -> StableDiffusion3Pipeline:
    """Return a StableDiffusion3Pipeline whose scheduler shifts by 3; with or without its T5."""
    tokenizers = clip_tokenizer(), clip_tokenizer()
    third = t5_tokenizer() if with_t5 else None
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=40, caption_projection_dim=16, pooled_projection_dim=28,
        pos_embed_max_size=8, qk_norm="rms_norm", dual_attention_layers=(0,),
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(
            scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=clip(CLIPTextModelWithProjection, tokenizers[0]),
        tokenizer=tokenizers[0],
        text_encoder_2=clip(CLIPTextModelWithProjection, tokenizers[1], projection_dim=12),
        tokenizer_2=tokenizers[1],
        text_encoder_3=None if third is None else t5(third, 40),
        tokenizer_3=third,
    )


def flux(*, dev: bool) -> FluxPipeline:
    """Return a FluxPipeline: "dev" with guidance and times shifted by size, or "schnell" with neither."""
    one, two = clip_tokenizer(), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=24, pooled_projection_dim=WIDTH, guidance_embeds=dev,
        axes_dims_rope=(2, 2, 4),
    )  # fmt: skip
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0 if dev else 1.0, use_dynamic_shifting=dev, base_shift=0.5, max_shift=1.15
        ),
        vae=autoencoder(
            scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=clip(CLIPTextModel, one),
        tokenizer=one,
        text_encoder_2=t5(two, 24),
        tokenizer_2=two,
        transformer=transformer,
    )


PIPELINES: dict[str, Callable[[], DiffusionPipeline]] = {
    "sd-epsilon": lambda: stable_diffusion("epsilon"),
    "sd-v": lambda: stable_diffusion("v_prediction"),
    "sdxl": sdxl,
    "sd3": sd3,
    "sd3-without-t5": lambda: sd3(with_t5=False),
    "flux-dev": lambda: flux(dev=True),
    "flux-schnell": lambda: flux(dev=False),
}


def build(name: str, path: Path) -> None:
    """Save the untrained pipeline of a name in ``PIPELINES``, always the same."""
    save(PIPELINES[name], path)


def save(make: Callable[[], DiffusionPipeline], path: Path) -> None:
    """Save a pipeline made with known random weights; zeros, which would hide mistakes, are filled."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = make()
        denoiser = pipeline.components.get("unet") or pipeline.components["transformer"]
        for value in denoiser.parameters():
            if not bool(value.any()):
                torch.nn.init.normal_(value, std=0.02)
    pipeline.save_pretrained(path, safe_serialization=True)
