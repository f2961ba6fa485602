"""Golden values and gradients of the layers of @aligntok/nn, from PyTorch.

    python tools/golden/nn-layers.py packages/nn/test/fixtures
    (PyTorch 2.13)

Every case is a set of tensors `case/x`, `case/<parameter>`, `case/y`, and the gradients of
sum(y * case/weight) as `case/grad/x` and `case/grad/<parameter>`.
"""
import math
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(1)
tensors = {}


def case(name, function, **inputs):
    inputs = {key: value.clone().requires_grad_(True) for key, value in inputs.items()}
    y = function(**{key.replace(".", "_"): value for key, value in inputs.items()})
    weight = torch.randn(y.shape)
    (y * weight).sum().backward()
    tensors[f"{name}/y"] = y.detach().contiguous()
    tensors[f"{name}/weight"] = weight
    for key, value in inputs.items():
        tensors[f"{name}/{key}"] = value.detach()
        tensors[f"{name}/grad/{key}"] = value.grad.contiguous()


r = torch.randn
case("linear", lambda x, p_weight, p_bias: F.linear(x, p_weight, p_bias), x=r(2, 3, 5), **{"p.weight": r(4, 5), "p.bias": r(4)})
case("layerNorm", lambda x, p_weight, p_bias: F.layer_norm(x, (6,), p_weight, p_bias, 1e-3), x=r(2, 3, 6), **{"p.weight": r(6), "p.bias": r(6)})
case("rmsNorm", lambda x, p_weight: F.rms_norm(x, (6,), p_weight, 1e-3), x=r(2, 3, 6), **{"p.weight": r(6)})
case("groupNorm", lambda x, p_weight, p_bias: F.group_norm(x, 2, p_weight, p_bias, 1e-3), x=r(2, 4, 3, 2), **{"p.weight": r(4), "p.bias": r(4)})
case("groupNormSilu", lambda x, p_weight, p_bias: F.silu(F.group_norm(x, 2, p_weight, p_bias, 1e-3)), x=r(2, 4, 3, 2), **{"p.weight": r(4), "p.bias": r(4)})
case("layerScale", lambda x, p_gamma: x * p_gamma, x=r(2, 3, 4), **{"p.gamma": r(4)})
case("conv2d", lambda x, p_weight, p_bias: F.conv2d(x, p_weight, p_bias, stride=2, padding=1), x=r(2, 3, 5, 6), **{"p.weight": r(4, 3, 3, 3), "p.bias": r(4)})
case("patchEmbed", lambda x, p_weight, p_bias: F.conv2d(x, p_weight, p_bias, stride=2).flatten(2).transpose(1, 2), x=r(2, 3, 4, 6), **{"p.weight": r(5, 3, 2, 2), "p.bias": r(5)})
case("pixelShuffle", lambda x: F.pixel_shuffle(x, 2), x=r(2, 8, 3, 2))
case("resizeBilinear", lambda x: F.interpolate(x, size=(7, 3), mode="bilinear", align_corners=False), x=r(1, 2, 4, 5))
case("mlp", lambda x, p_fc1_weight, p_fc1_bias, p_fc2_weight, p_fc2_bias: F.linear(F.gelu(F.linear(x, p_fc1_weight, p_fc1_bias)), p_fc2_weight, p_fc2_bias),
     x=r(2, 3, 4), **{"p.fc1.weight": r(8, 4), "p.fc1.bias": r(8), "p.fc2.weight": r(4, 8), "p.fc2.bias": r(4)})
case("mlpTanh", lambda x, p_fc1_weight, p_fc1_bias, p_fc2_weight, p_fc2_bias: F.linear(F.gelu(F.linear(x, p_fc1_weight, p_fc1_bias), approximate="tanh"), p_fc2_weight, p_fc2_bias),
     x=r(2, 3, 4), **{"p.fc1.weight": r(8, 4), "p.fc1.bias": r(8), "p.fc2.weight": r(4, 8), "p.fc2.bias": r(4)})


def swiglu(x, p_w12_weight, p_w12_bias, p_w3_weight, p_w3_bias):
    gate, value = F.linear(x, p_w12_weight, p_w12_bias).chunk(2, dim=-1)
    return F.linear(F.silu(gate) * value, p_w3_weight, p_w3_bias)


case("swiGlu", swiglu, x=r(2, 3, 4), **{"p.w12.weight": r(12, 4), "p.w12.bias": r(12), "p.w3.weight": r(4, 6), "p.w3.bias": r(4)})


def rotary_tables(rows, columns, head):
    axis = head // 2
    frequencies = 1.0 / (10000 ** (torch.arange(0, axis, 2).double() / axis))
    by_row = torch.arange(rows).double()[:, None] * frequencies
    by_column = torch.arange(columns).double()[:, None] * frequencies
    by_row = by_row.repeat_interleave(2, dim=-1)[:, None].expand(rows, columns, axis)
    by_column = by_column.repeat_interleave(2, dim=-1)[None].expand(rows, columns, axis)
    angles = torch.cat([by_row, by_column], dim=-1).reshape(rows * columns, head)
    return angles.cos().float(), angles.sin().float()


def rotate(x, cos, sin):
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    turned = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).reshape(x.shape)
    return x * cos + turned * sin


def self_attention(x, p_qkv_weight, p_qkv_bias, p_proj_weight, p_proj_bias, p_q_norm_weight=None, p_k_norm_weight=None, heads=2, tables=None):
    n, t, d = x.shape
    q, k, v = F.linear(x, p_qkv_weight, p_qkv_bias).reshape(n, t, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
    if p_q_norm_weight is not None:
        q, k = F.rms_norm(q, q.shape[-1:], p_q_norm_weight, 1e-6), F.rms_norm(k, k.shape[-1:], p_k_norm_weight, 1e-6)
    if tables:
        q, k = rotate(q, *tables), rotate(k, *tables)
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d)
    return F.linear(mixed, p_proj_weight, p_proj_bias)


def attention_weights(d):
    return {"p.qkv.weight": r(3 * d, d) / math.sqrt(d), "p.qkv.bias": r(3 * d), "p.proj.weight": r(d, d), "p.proj.bias": r(d)}


case("selfAttention", self_attention, x=r(2, 5, 8), **attention_weights(8))
tables = rotary_tables(2, 3, 8)
tensors["rotary/cos"], tensors["rotary/sin"] = tables
case("selfAttentionRotary", lambda **kw: self_attention(**kw, tables=tables), x=r(1, 6, 16), **attention_weights(16), **{"p.q_norm.weight": r(8), "p.k_norm.weight": r(8)})


def timestep(x):
    angles = x[:, None] * torch.exp(-math.log(10000) * torch.arange(4) / 4)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


case("timestepEmbedding", timestep, x=torch.rand(3))


def sincos(rows, columns, d):
    omega = 1.0 / 10000 ** (torch.arange(d // 4).double() / (d / 4))

    def line(positions):
        angles = positions.reshape(-1)[:, None] * omega
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    row, column = torch.meshgrid(torch.arange(rows).double(), torch.arange(columns).double(), indexing="ij")
    return torch.cat([line(column), line(row)], dim=1).float()  # the width goes first


tensors["sincos/y"] = sincos(2, 3, 16)
case("mlpQuick", lambda x, p_fc1_weight, p_fc1_bias, p_fc2_weight, p_fc2_bias: F.linear((h := F.linear(x, p_fc1_weight, p_fc1_bias)) * torch.sigmoid(1.702 * h), p_fc2_weight, p_fc2_bias),
     x=r(2, 3, 4), **{"p.fc1.weight": r(8, 4), "p.fc1.bias": r(8), "p.fc2.weight": r(4, 8), "p.fc2.bias": r(4)})
save_file(tensors, f"{sys.argv[1]}/layers.safetensors")
