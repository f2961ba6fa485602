"""Golden values and gradients of resizing images for packages/aligntok: torch's interpolate, not antialiased.

    python tools/golden/aligntok-resize.py packages/aligntok/test/fixtures

Shrunk by 14/16, as for a patch of 14 at a stride of 16, and enlarged by 16/14 and more. Needs torch and safetensors.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(0)
tensors = {}
for name, size, target in (("shrunk", (16, 24), (14, 21)), ("enlarged", (7, 5), (8, 13))):
    image = (torch.rand(2, 3, *size) * 2 - 1).requires_grad_()
    weight = torch.randn(2, 3, *target)  # gradient of the loss with respect to the output
    tensors |= {f"{name}.image": image.detach(), f"{name}.weight": weight}
    for mode in ("bilinear", "bicubic"):
        output = F.interpolate(image, size=target, mode=mode, align_corners=False)
        (gradient,) = torch.autograd.grad(output, image, weight)
        tensors |= {f"{name}.{mode}": output.detach(), f"{name}.{mode}.gradient": gradient}
save_file(tensors, Path(sys.argv[1]) / "resize.safetensors")
