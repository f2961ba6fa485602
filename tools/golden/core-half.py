"""Golden values of @aligntok/core: float16 and bfloat16 conversions from NumPy and PyTorch.

    python tools/golden/core-half.py packages/core/test/fixtures
"""

import hashlib
import json
import sys

import numpy as np
import torch

bits = np.arange(65536, dtype=np.uint16)
half = bits.view(np.float16).astype(np.float32)
half[np.isnan(half)] = 0  # NaN payloads are not compared
brain = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float().numpy().copy()
brain[np.isnan(brain)] = 0

# Ties, neighbours of ties, subnormals, overflow and a spread of magnitudes, as float32 bit patterns.
rng = np.random.default_rng(0)
finite = half[np.isfinite(half)]
ties = ((finite[:-1].astype(np.float64) + finite[1:]) / 2).astype(np.float32)
pick = rng.choice(ties, 300)
values = np.concatenate([
    pick, np.nextafter(pick, np.float32(np.inf)), np.nextafter(pick, np.float32(-np.inf)),
    np.float32([0, -0.0, 65504, 65519.996, 65520, -65520, 1e30, -1e30, np.inf, -np.inf, 2**-25, 2**-24, 6e-8, 1e-40]),
    (rng.standard_normal(300) * 10.0 ** rng.integers(-9, 9, 300)).astype(np.float32),
]).astype(np.float32)
# Ties of bfloat16: the lower half of the bit pattern is exactly one half.
brain_ties = ((rng.integers(0, 0x7F80, 200).astype(np.uint32) << 16) | 0x8000).view(np.float32)
values = np.concatenate([values, brain_ties])

with np.errstate(over="ignore"):
    to_half = values.astype(np.float16).view(np.uint16)
to_brain = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)

json.dump({
    "float16Sha256": hashlib.sha256(half.tobytes()).hexdigest(),
    "bfloat16Sha256": hashlib.sha256(brain.tobytes()).hexdigest(),
    "float32Bits": values.view(np.uint32).tolist(),
    "float16Bits": to_half.tolist(),
    "bfloat16Bits": to_brain.tolist(),
}, open(f"{sys.argv[1]}/half.json", "w"))
