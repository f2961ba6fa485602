"""From JPEG files to features: Pillow decodes and resizes, as torchvision's transforms do, and the network computes."""

import collections
import concurrent.futures
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

import encoders

MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)

NAMES = {
    "embeddings.cls_token": "cls",
    "embeddings.position_embeddings": "pos",
    "embeddings.patch_embeddings.projection.": "patch.",
    "layernorm.": "norm.",
    "encoder.layer.": "blocks.",
    ".attention.output.dense.": ".proj.",
    ".layer_scale1.lambda1": ".ls1",
    ".layer_scale2.lambda1": ".ls2",
    ".mlp.": ".",
}


def read_plan():
    with open(os.environ["ALIGNTOK_BENCH_PLAN"]) as file:
        return json.load(file)


def load(folder):
    """The weights of a folder in the plain model, with its query, key and value as one product."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    d, depth, heads = (config[key] for key in ["hidden_size", "num_hidden_layers", "num_attention_heads"])
    found = load_file(os.path.join(folder, "model.safetensors"))
    del found["embeddings.mask_token"]
    for name in [name for name in found if ".attention.attention.query." in name]:
        parts = [found.pop(name.replace("query", part)) for part in ["query", "key", "value"]]
        found[name.replace(".attention.attention.query.", ".qkv.")] = torch.cat(parts)
    renamed = {}
    for name, tensor in found.items():
        for old, new in NAMES.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    size = config["image_size"]
    with torch.device("meta"):
        model = encoders.ViT(d, depth, heads, config["patch_size"], size)
    model.load_state_dict(renamed, assign=True)
    model.requires_grad_(False).eval()
    parameters = sum(p.numel() for p in model.parameters())
    model.pos = torch.nn.Parameter(resample(model.pos, size // config["patch_size"], 16), requires_grad=False)
    return model, parameters


def resample(positions, stored, side):
    grid = positions[:, 1:].reshape(1, stored, stored, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def decode(path):
    image = Image.open(path).convert("RGB")
    width, height = image.size
    short = 256
    size = (short, short * height // width) if width < height else (short * width // height, short)
    image = image.resize(size, Image.BICUBIC)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def normalize(images):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return pixels.div_(255).sub_(MEAN).div_(STD)


def batches(paths, size, ahead):
    """Endless; `ahead` batches are decoded in a thread beside the network, where it is more than 0."""
    paths = itertools.cycle(paths)

    def take():
        return normalize(np.stack([decode(next(paths)) for _ in range(size)]))

    if ahead == 0:
        while True:
            yield take()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = collections.deque(pool.submit(take) for _ in range(ahead))
        while True:
            waiting.append(pool.submit(take))
            yield waiting.popleft().result()


def encode(variant):
    plan = read_plan()
    model, parameters = load(plan["folder"])
    network = torch.compile(model) if "compiled" in variant else model
    pixels = np.fromfile(plan["pixels"], np.uint8).reshape(2, 224, 224, 3)
    with torch.inference_mode():
        model(normalize(pixels)).numpy().tofile(plan["pixels"] + "-torch")
    size = plan["batchSize"]
    source = batches(plan["photographs"], size, 2 if "ahead" in variant else 0)

    @torch.inference_mode()
    def step():
        for _ in range(plan["count"] // size):
            features = network(next(source))
        return features

    return step, parameters, {"features": plan["pixels"] + "-torch"}


def start_cold(_):
    command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "cold_start.py")]
    threads = str(torch.get_num_threads())

    def step():
        subprocess.run([*command, threads], check=True, stdout=subprocess.DEVNULL)

    return step, 0, {"children": True}


VARIANTS = ["decoded ahead", "decoded in line", "compiled, decoded ahead", "compiled, decoded in line"]

ENCODE = ["vits14-encode-single", "vits14-encode-batch", "vitl14-encode-single", "vitl14-encode-batch"]

CASES = {
    **{name: (encode, VARIANTS) for name in ENCODE},
    "vitl14-cold-start": (start_cold, [""]),
}
