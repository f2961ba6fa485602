"""Golden fixtures of @aligntok/encoders: what the image processors of transformers make of images of odd sizes.

    python tools/golden/encoders-preprocessing.py packages/encoders/test/fixtures
    (PyTorch 2.13, transformers 5.18 without torchvision, so that Pillow resizes)

Writes `preprocessing.json`, for each processor its `preprocessor_config.json`, in today's form and in that of files saved
before transformers 4.25, with a `config.json` of its family; and `preprocessing.safetensors` with `NAME/HxW`, the pixels
before normalisation as uint8 (3, h, w), `NAME/normalised`, one pixel of each colour after it, and `tokens/HxW`, the
output of the SigLIP beside it with images of 36 px, of which its patches of 8 leave the last 4 out. The images are the
first ones of encoders-vit.py.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from transformers import BitImageProcessor, CLIPImageProcessor, SiglipImageProcessor, SiglipVisionModel, ViTImageProcessor

out = pathlib.Path(sys.argv[1])
SIZES = [(45, 61), (61, 39), (33, 47)]
IMAGENET = dict(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
HALF = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3)
CLIP = dict(image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711])
STEPS = dict(do_resize=True, do_rescale=True, rescale_factor=1 / 255, do_normalize=True)

sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=40, image_size=32, patch_size=8)
square = dict(height=32, width=32)
processors = {
    "dinov2": (BitImageProcessor, "dinov2", dict(image_processor_type="BitImageProcessor", size=dict(shortest_edge=36), crop_size=square, do_center_crop=True, resample=3, **STEPS, **IMAGENET)),
    "clip": (CLIPImageProcessor, "clip_vision_model", dict(image_processor_type="CLIPImageProcessor", size=dict(shortest_edge=32), crop_size=square, do_center_crop=True, resample=3, **STEPS, **CLIP)),
    "clip-old": (CLIPImageProcessor, "clip_vision_model", dict(feature_extractor_type="CLIPFeatureExtractor", size=32, crop_size=32, do_center_crop=True, resample=3, **STEPS, **CLIP)),
    "siglip": (SiglipImageProcessor, "siglip_vision_model", dict(image_processor_type="SiglipImageProcessor", size=square, resample=3, **STEPS, **HALF)),
    "vit": (ViTImageProcessor, "vit", dict(image_processor_type="ViTImageProcessor", size=square, resample=2, **STEPS, **HALF)),
    "mae-old": (ViTImageProcessor, "vit_mae", dict(feature_extractor_type="ViTFeatureExtractor", size=32, resample=2, do_resize=True, do_normalize=True, **IMAGENET)),
}


def picture(height, width):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return Image.fromarray(((y * 37 + x * 91 + c * 13 + y * x * 5) % 256).astype(np.uint8))


golden = {}
described = {}
for name, (kind, model_type, preprocessor) in processors.items():
    processor = kind.from_dict(preprocessor)
    mean, std = (np.array(preprocessor[key])[:, None, None] for key in ("image_mean", "image_std"))
    for height, width in SIZES:
        values = processor(picture(height, width), return_tensors="np")["pixel_values"][0]
        levels = (values * std + mean) * 255
        assert np.abs(levels - levels.round()).max() < 1e-3
        golden[f"{name}/{height}x{width}"] = levels.round().astype(np.uint8)
        golden[f"{name}/normalised"] = np.ascontiguousarray(values[:, 0, 0]).astype(np.float32)
    described[name] = dict(config=dict(model_type=model_type, **sizes), preprocessor=preprocessor)

model = SiglipVisionModel.from_pretrained(out / "siglip-vision", image_size=36).eval()
processor = SiglipImageProcessor.from_dict(dict(size=dict(height=36, width=36), resample=3, **STEPS, **HALF))
with torch.no_grad():
    for height, width in SIZES[:1]:
        x = processor(picture(height, width), return_tensors="pt")
        golden[f"tokens/{height}x{width}"] = model(**x).last_hidden_state.numpy()

save_file(golden, str(out / "preprocessing.safetensors"))
(out / "preprocessing.json").write_text(json.dumps(described, indent=2) + "\n")
