"""Golden values for CKNNA, from a dense NumPy implementation in float64.

    python eval-fid-cknna.py OUT_FOLDER [METRICS_PY]

With minyoungg/platonic-rep's metrics.py as second argument (it needs PyTorch, torchaudio and scikit-learn), its own
numbers on the same features are compared first. The features come from a generator that the test repeats.
"""
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np


def features(seed, n, d):
    x = np.empty((n, d), np.float32)
    s = seed
    for i in range(n):
        last = 0.0
        for j in range(d):
            s = (s * 1664525 + 1013904223) % 2**32
            last = 0.5 * last + (s / 2**32 - 0.5) * (1 + j * 0.125)
            x[i, j] = last
    return x


def prepared(x, quantile):
    x = x.astype(np.float64)
    if quantile < 1:
        limit = np.sort(np.abs(x).ravel())[int(quantile * x.size)]
        x = np.clip(x, -limit, limit)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def mask(kernel, k):
    kernel = kernel.copy()
    np.fill_diagonal(kernel, -np.inf)
    order = np.argsort(-kernel, axis=1, kind="stable")[:, :k]
    out = np.zeros_like(kernel)
    np.put_along_axis(out, order, 1.0, axis=1)
    return out


def hsic(k, l):
    """Song et al. (2012), equation 5, with zero diagonals."""
    m = len(k)
    one = np.ones(m)
    first = np.trace(k @ l)
    second = (one @ k @ one) * (one @ l @ one) / ((m - 1) * (m - 2))
    third = 2 / (m - 2) * (one @ k @ l @ one)
    return (first + second - third) / (m * (m - 3))


def cknna(a, b, k):
    ka, kb = a @ a.T, b @ b.T
    ma, mb = mask(ka, k), mask(kb, k)
    both = ma * mb
    cross = hsic(both * ka, both * kb)
    return cross / (np.sqrt(hsic(ma * ka, ma * ka) * hsic(mb * kb, mb * kb)) + 1e-6)


def main(out, upstream=None):
    cases = []
    for n, d1, d2, k, quantile, shared in [
        (40, 8, 6, 5, 1, 4), (97, 16, 24, 10, 1, 12), (64, 12, 12, 2, 0.95, 6), (130, 5, 9, 25, 0.9, 3), (60, 8, 8, 10, 1, 0),
    ]:
        a, b = features(n + 1, n, d1), features(n + 2, n, d2)
        b[:, :shared] += a[:, :shared]  # in float32, as the test does
        x, y = prepared(a, quantile), prepared(b, quantile)
        value = cknna(x, y, k)
        if upstream:
            import torch

            theirs = upstream.AlignmentMetrics.cknna(torch.from_numpy(x), torch.from_numpy(y), topk=k)
            print(n, k, value, theirs, abs(value - theirs))
            assert abs(value - theirs) < 1e-9
        cases.append({"n": n, "widths": [d1, d2], "k": k, "quantile": quantile, "shared": shared, "value": float(value)})
    (out / "cknna.json").write_text(json.dumps(cases) + "\n")


if len(sys.argv) > 2:
    spec = importlib.util.spec_from_file_location("metrics", sys.argv[2])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main(Path(sys.argv[1]), module)
else:
    main(Path(sys.argv[1]))
