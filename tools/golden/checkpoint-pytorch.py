"""Golden fixtures of @aligntok/checkpoint: a file that torch.save wrote, and the same tensors as safetensors.

    python tools/golden/checkpoint-pytorch.py packages/checkpoint/test/fixtures
    (PyTorch 2.13)
"""
import pathlib
import sys
from collections import OrderedDict

import torch
from safetensors.torch import save_file

out = pathlib.Path(sys.argv[1])
torch.manual_seed(3)
base = torch.randn(4, 6)
tensors = OrderedDict(
    float32=base,
    tied=base,
    transposed=base.t(),
    part=base[1:3, 2:5],
    expanded=torch.randn(1, 3).expand(2, 3),
    parameter=torch.nn.Parameter(torch.randn(5)),
    float64=torch.randn(3, dtype=torch.float64),
    float16=torch.randn(3).half(),
    bfloat16=torch.randn(3).bfloat16(),
    int64=torch.tensor([-(2**40), 7]),
    int32=torch.tensor([-5, 6], dtype=torch.int32),
    int16=torch.tensor([-5, 6], dtype=torch.int16),
    int8=torch.tensor([-5, 6], dtype=torch.int8),
    uint8=torch.tensor([250, 6], dtype=torch.uint8),
    bool=torch.tensor([True, False]),
    scalar=torch.tensor(2.5),
    empty=torch.zeros(0, 3),
)
content = {"model": tensors, "epoch": 7, "lr": 1e-3, "list": [torch.ones(2)]}
torch.save(content, out / "pytorch.pth")
torch.save(content, out / "pytorch-legacy.pth", _use_new_zipfile_serialization=False)
same = {f"model.{name}": value.detach().contiguous().clone() for name, value in tensors.items()}
save_file({**same, "list.0": torch.ones(2)}, out / "pytorch.safetensors")


class Unknown:
    pass


torch.save({"object": Unknown()}, out / "pytorch-object.pth")
