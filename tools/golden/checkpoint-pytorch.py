"""Golden fixtures of @aligntok/checkpoint: files that torch.save and torch.jit.save wrote, and the same tensors as
safetensors.

    python tools/golden/checkpoint-pytorch.py packages/checkpoint/test/fixtures
    (PyTorch 2.13, NumPy 2.4)
"""
import argparse
import pathlib
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict

import numpy as np
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


# storages deflated, as others pack a zip anew; and as a big-endian machine writes them
with zipfile.ZipFile(out / "pytorch.pth") as source:
    parts = [(info.filename, source.read(info)) for info in source.infolist()]
with zipfile.ZipFile(out / "pytorch-deflated.pth", "w", zipfile.ZIP_DEFLATED) as file:
    for name, data in parts:
        file.writestr(name, data)
# PyTorch has no writer of the other byte order: swapped by hand
widths = {}
for value in [*tensors.values(), torch.ones(2)]:
    widths[value.untyped_storage().data_ptr()] = value.element_size()
order = list(widths.values())
with zipfile.ZipFile(out / "pytorch-big-endian.pth", "w") as file:
    for name, data in parts:
        if "/data/" in name:
            width = order[int(name.rsplit("/", 1)[1])]
            data = np.frombuffer(data, f"u{width}").byteswap().tobytes()
        file.writestr(name, b"big" if name.endswith("byteorder") else data)

# what else torch 2 keeps as data
wide = {
    "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
    "uint32": torch.tensor([1, 2**32 - 1], dtype=torch.uint32),
    "uint64": torch.tensor([1, 2**63], dtype=torch.uint64),
    "float8": torch.tensor([0.5, -3.0]).to(torch.float8_e4m3fn),
    "float8_slice": torch.arange(6.0).to(torch.float8_e5m2)[2:],
    "numpy": np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)),
    "numpy_big": np.arange(3, dtype=">i8"),
    "numpy_bool": np.array([True, False]),
}
subclass = torch.nn.Parameter(torch.ones(2))
subclass.note = "state"
others = {
    "scalar": np.float32(2.5),
    "integer": np.int64(-3),
    "text": np.array(["a", "b"]),
    "size": torch.Size([2, 3]),
    "device": torch.device("cuda", 1),
    "dtype": torch.bfloat16,
    "counter": Counter(a=2),
    "default": defaultdict(list, {"k": [1]}),
    "arguments": argparse.Namespace(lr=0.5, path=pathlib.PurePosixPath("a/b")),
    "set": {3},
    "bytes": b"\xff\x00",
    "bytearray": bytearray(b"ab"),
    "big": 2**70,
    "none": None,
    "parameter": subclass,
}
torch.save({"arrays": wide, **others}, out / "pytorch-data.pth")
torch.save({"arrays": wide, **others}, out / "pytorch-data-5.pth", pickle_protocol=5)
save_file(
    {
        f"arrays.{name}": (torch.from_numpy(np.ascontiguousarray(v.astype(v.dtype.newbyteorder("=")))) if isinstance(v, np.ndarray) else v.clone())
        for name, v in wide.items()
    },
    out / "pytorch-data.safetensors",
)

# wrappers of the field
net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
optimizer = torch.optim.AdamW(net.parameters())
net(torch.randn(4, 2)).sum().backward()
optimizer.step()
state = net.state_dict()
lightning = {
    "state_dict": {f"model.{name}": value for name, value in state.items()},
    "hyper_parameters": {"lr": 0.1, "backbone": Unknown(), "kind": Unknown},
    "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": ""}},
    "optimizer_states": [optimizer.state_dict()],
    "loops": None,
    "epoch": 3,
    "pytorch-lightning_version": "2.1.0",
}
torch.save(lightning, out / "wrapped-lightning.ckpt")
prefixes = {"model": "module.", "ema": "_orig_mod.", "opt": ""}
torch.save(
    {k: {p + n: v for n, v in state.items()} for k, p in prefixes.items()}, out / "wrapped-ema.pt"
)
torch.save(net, out / "wrapped-module.pt")
save_file({n: v.clone() for n, v in state.items()}, out / "wrapped.safetensors")


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(2, 3))
        self.register_buffer("mean", torch.arange(3.0))
        self.register_buffer("passing", torch.ones(1), persistent=False)
        self.plain = torch.full((4,), 9.0)
        self.sizes = [2, 3]

    def forward(self, x):
        return (x - self.mean) @ self.weight.t() + self.plain[0] + torch.tensor([1.0, 2.0])


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Inner()
        self.blocks = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
        self.scale = torch.nn.Parameter(torch.tensor(3.0))
        self.resolution = 224

    def forward(self, x):
        return self.blocks(self.first(x)) * self.scale


model = Outer().eval()
script = torch.jit.script(model)
script.save(str(out / "torchscript.pt"))
script.half().save(str(out / "torchscript-half.pt"))
script.float()
save_file({n: v.clone() for n, v in torch.jit.load(str(out / "torchscript.pt")).state_dict().items()}, out / "torchscript.safetensors")
torch.jit.freeze(torch.jit.script(Outer().eval())).save(str(out / "torchscript-frozen.pt"))

# refused by name
torch.save({"c": torch.zeros(2, dtype=torch.complex64)}, out / "refused-complex.pth")
torch.save({"s": torch.eye(2).to_sparse()}, out / "refused-sparse.pth")
torch.save({"q": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, out / "refused-quantised.pth")
