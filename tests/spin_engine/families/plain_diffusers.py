"""What someone without Spindle does with its models. Run by test_training, in a process of its own."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler


def drawn(asked: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return the picture of a request, uint8 (side, side, 3)."""
    absent = {"text_encoder_3": None, "tokenizer_3": None} if asked["without_t5"] else {}
    pipeline = DiffusionPipeline.from_pretrained(asked["folder"], use_safetensors=True, **absent)
    if asked["adapter"]:
        pipeline.load_lora_weights(asked["adapter"], use_safetensors=True)
    flow = "Flow" in type(pipeline.scheduler).__name__
    if not flow:
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
            pipeline.scheduler.config, timestep_spacing="linspace"
        )
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline(
        "red circle",
        height=asked["side"],
        width=asked["side"],
        generator=torch.Generator().manual_seed(4),
        num_inference_steps=2,
        guidance_scale=1.0,
        **({"max_sequence_length": 256 if asked["without_t5"] else 20} if flow else {}),
    ).images[0]
    return np.asarray(picture)


if __name__ == "__main__":
    for line in json.loads(Path(sys.argv[1]).read_text()):
        np.save(line["out"], drawn(line))
    assert "spin_engine" not in sys.modules
