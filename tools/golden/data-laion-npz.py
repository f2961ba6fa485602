"""Images in NumPy's files, for @aligntok/data-laion: python tools/golden/data-laion-npz.py (NumPy 2.4)

Pixel k of image i, in row-major order, is (7 i + 3 k) mod 256.
"""
from pathlib import Path

import numpy as np

folder = Path(__file__).parents[2] / "packages/data-laion/test/fixtures/archives"


def images(count: int, *shape: int) -> np.ndarray:
    pixels = np.arange(int(np.prod(shape)))
    return ((7 * np.arange(count)[:, None] + 3 * pixels) % 256).astype("u1").reshape(count, *shape)


samples = {"arr_0": images(40, 5, 4, 3), "arr_1": np.arange(40) % 3}
statistics = {"mu": np.zeros(4), "sigma": np.zeros((4, 4))}
np.savez(folder / "samples.npz", **samples, **statistics)
np.savez_compressed(folder / "samples-compressed.npz", **samples)
np.savez_compressed(folder / "gray.npz", pictures=images(2, 5, 4))
np.savez(folder / "none.npz", **statistics)
np.savez(folder / "labels.npz", arr_0=images(2, 5, 4, 3), arr_1=np.zeros(3, "i4"))
