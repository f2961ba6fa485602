"""Writes the golden file of @aligntok/checkpoint with the Python safetensors library, or checks one of ours.

    python checkpoint-safetensors.py OUT_FOLDER           writes golden.safetensors and golden.json
    python checkpoint-safetensors.py --verify FILE        fails unless FILE holds what golden.safetensors does

Needs torch and safetensors.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
    "float8_e4m3fnuz": torch.float8_e4m3fnuz,
    "float8_e5m2fnuz": torch.float8_e5m2fnuz,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint64": torch.uint64,
    "uint32": torch.uint32,
    "uint16": torch.uint16,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
VALUES = [0, 1, 1, 0, 5, 100]  # exact in every dtype; bool keeps 0 and 1 only


def tensors():
    out = {f"block.{name}": torch.tensor(VALUES).to(dtype).reshape(2, 3) for name, dtype in DTYPES.items()}
    out["scalar"] = torch.tensor(-2.5)
    out["empty"] = torch.zeros(0, 4)
    out["odd"] = torch.tensor([7, 8, 9], dtype=torch.uint8)
    out["naïve ✓"] = torch.tensor([float("nan"), float("inf"), float("-inf"), -0.0])
    out["half"] = torch.tensor([65504.0, 6e-8, -1 / 3, float("inf")], dtype=torch.float16)
    out["brain"] = torch.tensor([3.0e38, 1e-40, -1 / 3, float("-inf")], dtype=torch.bfloat16)
    return out


def verify(path):
    expected = tensors()
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(expected), sorted(file.keys())
        assert file.metadata() == {"format": "pt"}, file.metadata()
        for name, want in expected.items():
            got = file.get_tensor(name)
            assert got.dtype == want.dtype and got.shape == want.shape, name
            assert got.contiguous().view(torch.uint8).equal(want.view(torch.uint8)) if want.dim() else got == want, name
    print(f"{path}: {len(expected)} tensors agree")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors(), folder / "golden.safetensors", metadata={"format": "pt"})
    described = {
        name: {
            "dtype": str(t.dtype).removeprefix("torch."),
            "shape": list(t.shape),
            # values as PyTorch sees them in float32; non-finite ones as text
            "float32": [x if abs(x) < float("inf") else str(x) for x in t.to(torch.float32).flatten().tolist()],
        }
        for name, t in tensors().items()
    }
    (folder / "golden.json").write_text(json.dumps(described, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    verify(sys.argv[2]) if sys.argv[1] == "--verify" else main(Path(sys.argv[1]))
