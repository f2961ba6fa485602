"""Golden statistics of latents: NumPy's covariance, eigenvalues and 2-D FFT, SciPy's skewness and kurtosis.

    python eval-fid-latents.py OUT_FOLDER
"""
import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import kurtosis, skew


def latents(seed, n, h, w, d):
    """(n, h, w, d) float32: waves of a frequency for each channel under noise, with an offset and a heavy-tailed channel."""
    x = np.empty((n, h, w, d), np.float32)
    s = seed
    for i in np.ndindex(x.shape):
        s = (s * 1664525 + 1013904223) % 2**32
        noise = s / 2**32 - 0.5
        phase = (i[1] * (i[3] + 1) + i[2] * (i[3] // 2 + 1) + i[0]) % 8
        x[i] = i[3] - 1 + (phase - 3.5) * 0.25 + noise * (8 if i[3] == 0 and i[1] == 0 and i[2] == 0 else 1)
    return x


def spectrum(x, mean):
    n, h, w, d = x.shape
    side = max(h, w)
    power = np.abs(np.fft.fft2(x - mean, axes=(1, 2))) ** 2 / (h * w)
    power = power.mean(0)  # (h, w, d)
    radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None, :])
    ring = np.floor(radius * side + 0.5).astype(int)
    return [[power[ring == r][:, c].mean() for r in range(side // 2 + 1)] for c in range(d)]


def main(out):
    cases = []
    for seed, n, h, w, d in [(1, 7, 8, 8, 4), (2, 3, 5, 9, 6), (3, 4, 16, 4, 3), (4, 5, 1, 1, 3)]:
        x = latents(seed, n, h, w, d).astype(np.float64)
        flat = x.reshape(-1, d)
        covariance = np.cov(flat.T)
        values = np.linalg.eigvalsh(covariance)[::-1]
        shares = values[values > 1e-12 * values[0]] / values.sum()
        cases.append({
            "seed": seed, "shape": [n, h, w, d], "mean": flat.mean(0).tolist(), "std": flat.std(0, ddof=1).tolist(),
            "min": flat.min(0).tolist(), "max": flat.max(0).tolist(), "skewness": skew(flat).tolist(),
            "kurtosis": kurtosis(flat).tolist(), "eigenvalues": values.tolist(),
            "effectiveRank": float(np.exp(-(shares * np.log(shares)).sum())), "power": spectrum(x, flat.mean(0)),
        })
    (out / "latents.json").write_text(json.dumps(cases) + "\n")


main(Path(sys.argv[1]))
