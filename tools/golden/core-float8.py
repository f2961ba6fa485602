"""Golden values of @aligntok/core: the 256 patterns of each float8 format as PyTorch reads them.

    python tools/golden/core-float8.py packages/core/test/fixtures
"""

import json
import sys

import torch

bits = torch.arange(256, dtype=torch.int32).to(torch.uint8)
names = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]
values = {name: [str(x) for x in bits.view(getattr(torch, name)).float().tolist()] for name in names}
json.dump(values, open(f"{sys.argv[1]}/float8.json", "w"))
