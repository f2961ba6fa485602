"""Golden values and gradients of the transformer primitives of @aligntok/jit, from PyTorch.

    python tools/golden/jit-primitives.py packages/jit/test/fixtures
    (PyTorch 2.13)

Every case is { inputs, y, cotangent, gradients }: arrays as { shape, data }, gradients of sum(y * cotangent).
"""
import json
import sys

import torch
import torch.nn.functional as F

torch.manual_seed(4)
cases = {}


def array(x):
    return {"shape": list(x.shape), "data": [float(f"{value:.7g}") for value in x.detach().flatten().tolist()]}


def case(name, function, **inputs):
    inputs = {key: value.clone().requires_grad_(value.is_floating_point()) for key, value in inputs.items()}
    y = function(**inputs)
    cotangent = torch.randn(y.shape)
    (y * cotangent).sum().backward()
    cases[name] = {
        "inputs": {key: array(value) for key, value in inputs.items()},
        "y": array(y),
        "cotangent": array(cotangent),
        "gradients": {key: array(value.grad) for key, value in inputs.items() if value.grad is not None},
    }


r = torch.randn
sdpa = F.scaled_dot_product_attention
qkv = {"q": r(2, 3, 5, 4), "k": r(2, 3, 6, 4), "v": r(2, 3, 6, 4)}
case("attention", lambda q, k, v: sdpa(q, k, v), **qkv)
case("attention scale", lambda q, k, v: sdpa(q, k, v, scale=0.3), **qkv)
case("attention causal", lambda q, k, v: sdpa(q, k, v, is_causal=True), **qkv)
case("attention bias", lambda q, k, v, bias: sdpa(q, k, v, attn_mask=bias), bias=r(3, 1, 6), **qkv)
keep = torch.tensor([[1, 1, 0, 1, 0, 1], [1, 0, 1, 1, 1, 0]], dtype=torch.bool)[:, None, None]
hidden = torch.zeros(2, 1, 1, 6).masked_fill(~keep, -torch.inf)
case("attention mask", lambda q, k, v: sdpa(q, k, v, attn_mask=keep), **qkv)
cases["attention mask"]["hidden"] = {"shape": list(hidden.shape), "data": [None if x < 0 else 0 for x in hidden.flatten().tolist()]}

x = r(3, 7) * 3
x[0, 0], x[0, 1], x[0, 2] = 0, 15, -15
case("gelu", lambda x: F.gelu(x), x=x)
case("gelu tanh", lambda x: F.gelu(x, approximate="tanh"), x=x)
case("silu", lambda x: F.silu(x), x=x)
case("layerNorm", lambda x, weight, bias: F.layer_norm(x, (6,), weight, bias, 1e-3), x=r(2, 3, 6) * 2 + 1, weight=r(6), bias=r(6))
case("rmsNorm", lambda x, weight: F.rms_norm(x, (6,), weight, 1e-3), x=r(2, 3, 6) * 2 + 1, weight=r(6))
case("rmsNorm plain", lambda x: F.rms_norm(x, (6,), None, 1e-3), x=r(2, 3, 6))
case("linear", lambda x, weight, bias: F.linear(x, weight, bias), x=r(2, 3, 5), weight=r(4, 5), bias=r(4))


def rotate_half(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    cos, sin = torch.cat([cos, cos], -1), torch.cat([sin, sin], -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def rotate_pairs(x, cos, sin):
    turned = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2)) * torch.complex(cos, sin)
    return torch.view_as_real(turned).flatten(-2)


angles = r(5, 4)
tables = {"cos": angles.cos(), "sin": angles.sin()}
case("rope", rotate_half, x=r(2, 3, 5, 8), **tables)
case("rope interleaved", rotate_pairs, x=r(2, 3, 5, 8), **tables)
case("swiglu", lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1], x=r(2, 3, 8))

logits, classes, probabilities = r(6, 5) * 4, torch.tensor([0, 4, 2, 2, 1, 3]), torch.rand(6, 5)
logits[0, 1] = 200
for reduction in ("none", "mean", "sum"):
    case(f"crossEntropy classes {reduction}", lambda x, target: F.cross_entropy(x, target, reduction=reduction), x=logits, target=classes)
case("crossEntropy classes smooth", lambda x, target: F.cross_entropy(x, target, label_smoothing=0.1), x=logits, target=classes)
case("crossEntropy probabilities", lambda x: F.cross_entropy(x, probabilities, label_smoothing=0.2, reduction="none"), x=logits)
cases["crossEntropy probabilities"]["target"] = array(probabilities)

with open(f"{sys.argv[1]}/primitives.json", "w") as file:
    json.dump(cases, file, separators=(",", ":"))
