"""Golden distances and gradients of LPIPS for packages/lpips, by a plain PyTorch implementation.

    python tools/golden/lpips-distance.py packages/lpips/test/fixtures

Reduced widths, random weights; images of an odd size, so that pooling drops or completes windows.
Needs torch and safetensors.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(0)
out = Path(sys.argv[1])

SHIFT = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
SCALE = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)


class Fire(torch.nn.Module):
    def __init__(self, inputs, squeeze, expand):
        super().__init__()
        self.squeeze = torch.nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = torch.nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = torch.nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


def vgg():
    widths = [3, 4, 4, "M", 5, 5, "M", 6, 6, 6, "M", 7, 7, 7, "M", 8, 8, 8]
    layers, channels = [], 3
    for width in widths[1:]:
        if width == "M":
            layers.append(torch.nn.MaxPool2d(2, 2))
        else:
            layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU()]
            channels = width
    return torch.nn.Sequential(*layers), [3, 8, 15, 22, 29], [4, 5, 6, 7, 8]


def alex():
    return (
        torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 11, 4, 2), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2),
            torch.nn.Conv2d(4, 6, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2),
            torch.nn.Conv2d(6, 7, 3, padding=1), torch.nn.ReLU(),
            torch.nn.Conv2d(7, 5, 3, padding=1), torch.nn.ReLU(),
            torch.nn.Conv2d(5, 5, 3, padding=1), torch.nn.ReLU(),
        ),
        [1, 4, 7, 9, 11],
        [4, 6, 7, 5, 5],
    )


def squeeze():
    pool = lambda: torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    return (
        torch.nn.Sequential(
            torch.nn.Conv2d(3, 5, 3, 2), torch.nn.ReLU(), pool(),
            Fire(5, 2, 3), Fire(6, 2, 3), pool(),
            Fire(6, 3, 4), Fire(8, 3, 4), pool(),
            Fire(8, 3, 4), Fire(8, 3, 4), Fire(8, 3, 5), Fire(10, 3, 5),
        ),
        [1, 4, 7, 9, 10, 11, 12],
        [5, 6, 8, 8, 8, 10, 10],
    )


def normalize(x):
    return x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)


def distance(network, taps, heads, x, y):
    total = 0
    a, b = (x - SHIFT) / SCALE, (y - SHIFT) / SCALE
    for index, layer in enumerate(network):
        a, b = layer(a), layer(b)
        if index in taps:
            difference = (normalize(a) - normalize(b)) ** 2
            total = total + F.conv2d(difference, heads[taps.index(index)]).mean((1, 2, 3))
    return total


for name, build in (("vgg", vgg), ("alex", alex), ("squeeze", squeeze)):
    network, taps, widths = build()
    for parameter in network.parameters():  # positive biases keep positions alive: no NaN in the reference
        torch.nn.init.normal_(parameter, std=0.3)
        if parameter.dim() == 1:
            parameter.data.abs_()
    heads = [torch.rand(1, width, 1, 1) for width in widths]
    shape = (2, 3, 21, 27) if name == "vgg" else (1, 3, 43, 52)
    x = torch.rand(shape) * 2 - 1
    y = (x + 0.2 * torch.randn_like(x)).clamp(-1, 1).requires_grad_()
    value = distance(network, taps, heads, x, y)
    value.sum().backward()
    tensors = {f"features.{key}": weight.detach() for key, weight in network.state_dict().items()}
    tensors |= {f"lin{k}.model.1.weight": head for k, head in enumerate(heads)}
    tensors |= {"x": x, "y": y.detach(), "distance": value.detach(), "gradient": y.grad}
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, out / f"{name}.safetensors")
