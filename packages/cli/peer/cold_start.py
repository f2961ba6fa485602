"""From the start of a Python process to the first features of a photograph.

    cold_start.py THREADS

The plan is where encode.py reads it.
"""

import sys

import torch

import encode


def main():
    torch.set_num_threads(int(sys.argv[1]))
    plan = encode.read_plan()
    model, _ = encode.load(plan["folder"])
    source = encode.batches(plan["photographs"][:1], 1, 0)
    with torch.inference_mode():
        features = model(next(source))
    assert torch.isfinite(features).all()


main()
