"""Golden values and gradients of LightningDiT and its flow-matching loss, from a PyTorch implementation of its own.

Usage: python diffusion-lightningdit.py OUTPUT_FOLDER   (needs torch, numpy, safetensors)

Weights and inputs are not stored: both sides draw them from the same 32-bit linear congruential generator, one
stream a tensor, seeded by the position of its name in the sorted list of names.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

BASE = dict(
    inputSize=4, inChannels=4, classes=3, depth=2, width=16, heads=2, patchSize=1, mlpRatio=4,
    qkNorm=False, swiglu=True, rope=True, rmsNorm=True, woShift=False,
)
VARIANTS = {
    "default": BASE,
    "qknorm": {**BASE, "qkNorm": True, "depth": 1},
    "plain": {**BASE, "swiglu": False, "rope": False, "rmsNorm": False, "patchSize": 2, "depth": 1},
    "woshift": {**BASE, "woShift": True, "patchSize": 2, "depth": 1},
}


def draw(seed, shape):
    """Numbers in [-0.5, 0.5)."""
    state = (seed * 2654435761 + 12345) % 2**32
    values = np.empty(int(np.prod(shape)))
    for i in range(values.size):
        state = (state * 1664525 + 1013904223) % 2**32
        values[i] = state / 2**32 - 0.5
    return torch.tensor(values.reshape(shape), dtype=torch.float32)


def shapes(c):
    w, p, hd = c["width"], c["patchSize"], c["width"] // c["heads"]
    out = {}

    def linear(name, o, i):
        out[f"{name}.weight"] = (o, i)
        out[f"{name}.bias"] = (o,)

    out["x_embedder.proj.weight"] = (w, c["inChannels"], p, p)
    out["x_embedder.proj.bias"] = (w,)
    linear("t_embedder.mlp.0", w, 256)
    linear("t_embedder.mlp.2", w, w)
    out["y_embedder.embedding_table.weight"] = (c["classes"] + 1, w)
    hidden = int(w * c["mlpRatio"])
    for i in range(c["depth"]):
        b = f"blocks.{i}"
        if c["rmsNorm"]:
            out[f"{b}.norm1.weight"] = out[f"{b}.norm2.weight"] = (w,)
        linear(f"{b}.attn.qkv", 3 * w, w)
        linear(f"{b}.attn.proj", w, w)
        if c["qkNorm"]:
            out[f"{b}.attn.q_norm.weight"] = out[f"{b}.attn.k_norm.weight"] = (hd,)
        if c["swiglu"]:
            gated = int(2 / 3 * hidden)
            linear(f"{b}.mlp.w12", 2 * gated, w)
            linear(f"{b}.mlp.w3", w, gated)
        else:
            linear(f"{b}.mlp.fc1", hidden, w)
            linear(f"{b}.mlp.fc2", w, hidden)
        linear(f"{b}.adaLN_modulation.1", (4 if c["woShift"] else 6) * w, w)
    if c["rmsNorm"]:
        out["final_layer.norm_final.weight"] = (w,)
    linear("final_layer.linear", p * p * c["inChannels"], w)
    linear("final_layer.adaLN_modulation.1", 2 * w, w)
    return out


def axis_angles(positions, width):
    """Angles (positions, width / 2): one a pair of channels."""
    return positions[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)[None]


def position_table(side, width):
    rows, columns = np.divmod(np.arange(side * side), side)

    def one(positions):
        angles = axis_angles(positions, width // 2)
        return np.concatenate([np.sin(angles), np.cos(angles)], 1)

    return torch.tensor(np.concatenate([one(columns), one(rows)], 1), dtype=torch.float32)


def rotate(x, side):
    """Pairs of channels as complex numbers, turned by the angles of row and column."""
    rows, columns = np.divmod(np.arange(side * side), side)
    half = x.shape[-1] // 2
    angles = np.concatenate([axis_angles(rows, half), axis_angles(columns, half)], 1)
    turns = torch.polar(torch.ones(angles.shape, dtype=torch.float64), torch.tensor(angles))
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], half, 2))
    return torch.view_as_real(pairs * turns.to(torch.complex64)).flatten(-2)


def forward(c, P, x, t, y):
    side, w, hd = c["inputSize"] // c["patchSize"], c["width"], c["width"] // c["heads"]

    def affine(name, v):
        return F.linear(v, P[f"{name}.weight"], P[f"{name}.bias"])

    def norm(name, v):
        if not c["rmsNorm"]:
            return F.layer_norm(v, (v.shape[-1],), eps=1e-6)
        return F.rms_norm(v, (v.shape[-1],), P[f"{name}.weight"], eps=1e-6)

    h = F.conv2d(x, P["x_embedder.proj.weight"], P["x_embedder.proj.bias"], stride=c["patchSize"])
    h = h.flatten(2).mT + position_table(side, w)
    angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(128) / 128)[None]
    sinusoids = torch.cat([angles.cos(), angles.sin()], 1)
    cond = affine("t_embedder.mlp.2", F.silu(affine("t_embedder.mlp.0", sinusoids)))
    cond = cond + P["y_embedder.embedding_table.weight"][y]

    for i in range(c["depth"]):
        b = f"blocks.{i}"
        m = affine(f"{b}.adaLN_modulation.1", F.silu(cond))[:, None]
        if c["woShift"]:
            scale1, gate1, scale2, gate2 = m.chunk(4, -1)
            shift1 = shift2 = 0
        else:
            shift1, scale1, gate1, shift2, scale2, gate2 = m.chunk(6, -1)
        v = norm(f"{b}.norm1", h) * (1 + scale1) + shift1
        q, k, v = (
            part.unflatten(-1, (c["heads"], hd)).transpose(1, 2)
            for part in affine(f"{b}.attn.qkv", v).chunk(3, -1)
        )
        if c["qkNorm"]:
            q, k = norm(f"{b}.attn.q_norm", q), norm(f"{b}.attn.k_norm", k)
        if c["rope"]:
            q, k = rotate(q, side), rotate(k, side)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = h + gate1 * affine(f"{b}.attn.proj", mixed)
        v = norm(f"{b}.norm2", h) * (1 + scale2) + shift2
        if c["swiglu"]:
            a, g = affine(f"{b}.mlp.w12", v).chunk(2, -1)
            v = affine(f"{b}.mlp.w3", F.silu(a) * g)
        else:
            v = affine(f"{b}.mlp.fc2", F.gelu(affine(f"{b}.mlp.fc1", v), approximate="tanh"))
        h = h + gate2 * v

    shift, scale = affine("final_layer.adaLN_modulation.1", F.silu(cond))[:, None].chunk(2, -1)
    out = affine("final_layer.linear", norm("final_layer.norm_final", h) * (1 + scale) + shift)
    p = c["patchSize"]
    # tokens as columns of pixels, channel first, is what fold takes
    columns = out.unflatten(-1, (p * p, c["inChannels"])).permute(0, 3, 2, 1).flatten(1, 2)
    return F.fold(columns, (c["inputSize"],) * 2, kernel_size=p, stride=p)


def main(folder):
    for variant, c in VARIANTS.items():
        P = {}
        for i, (name, shape) in enumerate(sorted(shapes(c).items())):
            P[name] = draw(i, shape)
            if "norm" in name:
                P[name] = P[name] + 1
            P[name].requires_grad_()
        latent = (2, c["inChannels"], c["inputSize"], c["inputSize"])
        x1, x0 = 4 * draw(1001, latent), 4 * draw(1002, latent)
        t, y = torch.tensor([0.25, 0.8]), torch.tensor([1, c["classes"]])
        x1.requires_grad_()

        xt = t[:, None, None, None] * x1 + (1 - t)[:, None, None, None] * x0
        velocity = forward(c, P, xt, t, y)
        mse = (velocity - (x1 - x0)).square().mean()
        loss = mse + (1 - F.cosine_similarity(velocity, x1 - x0, dim=1)).mean()
        loss.backward()
        tensors = {f"grad.{name}": value.grad for name, value in P.items()}
        tensors |= {"grad.latents": x1.grad, "velocity": velocity, "mse": mse, "loss": loss}
        tensors |= {"pos_embed": position_table(c["inputSize"] // c["patchSize"], c["width"])}
        save_file(
            {name: value.detach().contiguous() for name, value in tensors.items()},
            Path(folder) / f"lightningdit-{variant}.safetensors",
            metadata={"config": json.dumps(c)},
        )


if __name__ == "__main__":
    main(sys.argv[1])
