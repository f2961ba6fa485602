"""Golden fixtures of @aligntok/encoders: tiny random models of transformers of the families beyond encoders-vit.py.

    python tools/golden/encoders-families.py packages/encoders/test/fixtures
    (PyTorch 2.13, transformers 5.18)

Writes, for each model, a folder as `save_pretrained` writes it, with `golden.safetensors`: `tokens/HxW` after the final
LayerNorm, `layer<i>/HxW` after each block without it, and `embedding/HxW` where the model has one, for the
images of encoders-vit.py.
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTMAEConfig,
    ViTMAEForPreTraining,
)

out = pathlib.Path(sys.argv[1])
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALF = [0.5] * 3, [0.5] * 3
CLIP = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
SIZES = [(32, 32), (40, 40), (16, 24)]


def pixels(n, height, width, mean, std):
    i, y, x, c = torch.meshgrid(*(torch.arange(size) for size in (n, height, width, 3)), indexing="ij")
    images = ((y * 37 + x * 91 + c * 13 + i * 57 + y * x * 5) % 256).permute(0, 3, 1, 2) / 255
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def randomise(model):
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        scale = 0.4 if value.ndim < 2 else 1.5 / value[0].numel() ** 0.5
        value.copy_(torch.randn_like(value) * scale + (1 if value.ndim == 1 and name.endswith("weight") else 0))


def write(name, model, tower, norm, statistics, embed=None, **arguments):
    torch.manual_seed(7)
    randomise(model)
    model.eval()
    golden = {}
    with torch.no_grad():
        for height, width in SIZES:
            x = pixels(2, height, width, *statistics)
            own = {key: make(x) if callable(make) else make for key, make in arguments.items()}
            output = tower(x, output_hidden_states=True, **own)
            key = f"{height}x{width}"
            for i, hidden in enumerate(output.hidden_states[1:]):
                golden[f"layer{i}/{key}"] = hidden.contiguous()
            golden[f"tokens/{key}"] = norm(output.hidden_states[-1]).contiguous()
            if embed:
                golden[f"embedding/{key}"] = embed(output.pooler_output).contiguous()
    (out / name).mkdir(parents=True, exist_ok=True)
    save_file(golden, str(out / name / "golden.safetensors"))
    model.save_pretrained(out / name)


common = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, image_size=32, patch_size=8)
text = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=16, max_position_embeddings=4, bos_token_id=0, eos_token_id=1, pad_token_id=1)

for name, gated in [("dinov3", False), ("dinov3-gated", True)]:
    model = DINOv3ViTModel(DINOv3ViTConfig(**common, num_register_tokens=3, use_gated_mlp=gated, hidden_act="silu" if gated else "gelu", query_bias=not gated, value_bias=not gated))
    write(name, model, model, model.norm, IMAGENET)

model = SiglipVisionModel(SiglipVisionConfig(**common))
write("siglip-vision", model, model, model.post_layernorm, HALF, lambda pooled: pooled, interpolate_pos_encoding=True)
model = SiglipModel(SiglipConfig(text_config=text, vision_config=common))
vision = model.vision_model
write("siglip", model, vision, vision.post_layernorm, HALF, lambda pooled: pooled, interpolate_pos_encoding=True)

model = CLIPVisionModelWithProjection(CLIPVisionConfig(**common, projection_dim=12))
vision = model.vision_model
write("clip-vision", model, vision, vision.post_layernorm, CLIP, model.visual_projection, interpolate_pos_encoding=True)
model = CLIPModel(CLIPConfig(text_config=text, vision_config=common, projection_dim=12))
vision = model.vision_model
write("clip", model, vision, vision.post_layernorm, CLIP, model.visual_projection, interpolate_pos_encoding=True)

model = ViTMAEForPreTraining(ViTMAEConfig(**common, mask_ratio=0.0, decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=16))
# noise that rises keeps the order of the patches
order = lambda x: torch.arange(x.shape[2] * x.shape[3] // 64).float().repeat(len(x), 1)
write("mae", model, model.vit, model.vit.layernorm, IMAGENET, interpolate_pos_encoding=True, noise=order)
