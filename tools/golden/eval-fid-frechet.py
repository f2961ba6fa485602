"""Golden values for moments, eigenvalues and the Frechet distance, from NumPy and SciPy.

    python eval-fid-frechet.py OUT_FOLDER

The features come from a linear congruential generator that the test repeats, so only results are stored.
"""
import json
import sys
from pathlib import Path

import numpy as np
import scipy.linalg


def features(seed, n, d, offset=0.0, gain=1.0):
    """(n, d) float32: neighbouring columns correlated, spread growing with the column."""
    out = np.empty((n, d), np.float32)
    s = seed
    for i in range(n):
        last = 0.0
        for j in range(d):
            s = (s * 1664525 + 1013904223) % 2**32
            last = 0.5 * last + (s / 2**32 - 0.5) * (1.0 + j * 0.125)
            out[i, j] = offset + gain * last
    return out


def frechet(x, y):
    x, y = x.astype(np.float64), y.astype(np.float64)
    s1 = np.atleast_2d(np.cov(x, rowvar=False))
    s2 = np.atleast_2d(np.cov(y, rowvar=False))
    base = float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1) + np.trace(s2))
    root = scipy.linalg.sqrtm(s1 @ s2)
    a = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    b = (y - y.mean(0)) / np.sqrt(len(y) - 1)
    # tr (S1 S2)^(1/2) is the nuclear norm of A B^T: exact where sqrtm struggles with singular products
    nuclear = float(scipy.linalg.svdvals(a @ b.T).sum())
    return {"sqrtm": base - 2 * float(np.trace(root).real), "svd": base - 2 * nuclear}


def main(out):
    cases = []
    for d, n, m in [(1, 10, 12), (2, 3, 50), (2, 40, 40), (3, 2, 2), (16, 200, 150), (64, 500, 300),
                    (64, 20, 300), (64, 300, 20), (128, 40, 40), (128, 60, 90), (128, 129, 400), (128, 700, 700)]:
        x, y = features(1 + d, n, d), features(1000 + m, m, d, offset=0.25, gain=1.5)
        cases.append({"d": d, "n": n, "m": m, "deficient": min(n, m) <= d, **frechet(x, y)})

    x = features(7, 150, 6, offset=1000.0).astype(np.float64)
    m = features(11, 30, 24).astype(np.float64)
    symmetric = m.T @ m - 40 * np.eye(24)
    result = {
        "frechet": cases,
        "moments": {"mean": x.mean(0).tolist(), "covariance": np.cov(x, rowvar=False).ravel().tolist()},
        "eigenvalues": np.linalg.eigvalsh(symmetric).tolist(),
    }
    (out / "frechet.json").write_text(json.dumps(result, indent=1) + "\n")


main(Path(sys.argv[1]))
