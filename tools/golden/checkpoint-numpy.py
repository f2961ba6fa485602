"""Golden fixtures of @aligntok/checkpoint: arrays as NumPy writes them, and the same as safetensors.

    python tools/golden/checkpoint-numpy.py packages/checkpoint/test/fixtures/numpy
    (NumPy 2.4, safetensors 0.8)
"""
import pathlib
import sys
import zipfile

import numpy as np
from numpy.lib import format as npy
from safetensors.numpy import save_file

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(3)
base = random.standard_normal((3, 4, 5))

arrays = {
    **{code: (base * 50).astype(code) for code in "f8 f4 f2 i8 i4 i2 i1".split()},
    **{code: (base * 50 + 120).clip(0, 255).astype(code) for code in "u8 u4 u2 u1".split()},
    "bool": base > 0,
    "scalar": np.array(2.5, dtype="f4"),
    "vector": np.arange(7, dtype="i4"),
    "empty": np.zeros((0, 3), dtype="f4"),
    "fortran": np.asfortranarray(base.astype("f4")),
    "fortran.matrix": np.asfortranarray(base[0].astype("f8")),
    "ä/ö": np.arange(3, dtype="u1"),
}
for code in "f8 f4 f2 i8 i4 i2 u8 u4 u2".split():
    arrays[f"big.{code}"] = arrays[code].astype(f">{code}")
arrays["big.fortran"] = np.asfortranarray(base.astype(">f4"))

np.savez(out / "stored.npz", **arrays)
np.savez_compressed(out / "compressed.npz", **arrays)
same = {name: np.ascontiguousarray(a.astype(a.dtype.newbyteorder("="))) for name, a in arrays.items()}
same["scalar"] = arrays["scalar"]  # ascontiguousarray makes it a vector
save_file(same, out / "same.safetensors")

np.save(out / "v1.npy", arrays["f4"])
for version in 2, 3:
    with open(out / f"v{version}.npy", "wb") as file:
        npy.write_array(file, arrays["f4"], version=(version, 0))
np.save(out / "scalar.npy", arrays["scalar"])
np.save(out / "empty.npy", arrays["empty"])
np.save(out / "fortran.npy", arrays["fortran"])

refused = {
    "object": np.array([{"a": 1}], dtype=object),
    "text": np.array(["a", "bc"]),
    "record": np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]),
    "record-unicode": np.zeros(2, dtype=[("größe", "f4")]),
    "complex": np.zeros(2, dtype="c8"),
    "dates": np.zeros(2, dtype="M8[s]"),
    "raw": np.zeros(2, dtype="V2"),
    "long": np.zeros(2, dtype="f16"),
}
for name, array in refused.items():
    np.save(out / f"refused-{name}.npy", array, allow_pickle=True)

# a zip of another kind, with a comment
with zipfile.ZipFile(out / "other.zip", "w") as file:
    file.writestr("a/readme.txt", "no array")
    file.comment = b"comment"
