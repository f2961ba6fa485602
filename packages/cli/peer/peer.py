"""PyTorch's turn in `aligntok bench`: one case in this process, at the orders of another one.

    peer.py --version
    peer.py CASE THREADS [VARIANT]

Says what src/bench/measured-process.ts says: a line of JSON when ready, then one for each line of standard input.
A case that PyTorch can compute in several ways is timed in each, in processes of their own; the fastest is taken.
"""

import contextlib
import json
import resource
import subprocess
import sys
import time

import numpy  # noqa: F401  (torch complains without it)
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

import diffusion
import encoders
import optimizer
import stages
import tokenizer

CASES = {**encoders.CASES, **tokenizer.CASES, **stages.CASES, **diffusion.CASES, **optimizer.CASES}


# Orders to run the step a number of times, each with the milliseconds after which no other run starts.
LIMITS = {"run": float("inf"), "try": 10e3}


def say(**answer):
    print(json.dumps(answer), flush=True)


def timed(step, count, limit=float("inf")):
    """Milliseconds of runs, none of which starts after the limit."""
    times = []
    while len(times) < count and sum(times) <= limit:
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1000)
    return times


class Everything(contextlib.nullcontext):
    """In place of the counter's division by modules, whose hooks refuse gradients by leaves."""

    parents = {"Global"}


def count_flop(step):
    """Operations of a run, those of attention on processors included."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    counter = FlopCounterMode(
        display=False,
        custom_mapping={
            attention: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
            backward: lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(grad, q, k, v),
        },
    )
    counter.mod_tracker = Everything()
    with counter:
        step()
    return counter.get_total_flops()


def find(name):
    """How a case is built, and its variants."""
    if name in CASES:
        return CASES[name]
    import encode  # needs Pillow and safetensors, which the other cases do not

    return encode.CASES[name]


def fastest(name, threads, variants):
    """The variant with the lowest of up to five times: a disturbance makes none faster. One that fails here is out."""
    if len(variants) == 1:
        return variants[0]

    def trial(variant):
        done = subprocess.run(
            [sys.executable, __file__, name, threads, variant],
            input="try 5\nend\n",
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            return float("inf")
        return min(json.loads(done.stdout.splitlines()[1])["ms"])

    return min(variants, key=trial)


def main():
    if sys.argv[1] == "--version":
        print(torch.__version__)
        return
    name, threads = sys.argv[1:3]
    build, variants = find(name)
    variant = sys.argv[3] if len(sys.argv) > 3 else fastest(name, threads, variants)
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    step, parameters, *more = build(variant)
    answer = more[0] if more else {"gflop": count_flop(step) / 1e9}
    step()
    say(parameters=parameters, variant=variant, **answer)
    for line in sys.stdin:
        order, _, count = line.strip().partition(" ")
        if order not in LIMITS:
            break
        say(ms=timed(step, int(count), LIMITS[order]))
    who = resource.RUSAGE_CHILDREN if "children" in answer else resource.RUSAGE_SELF
    peak = resource.getrusage(who).ru_maxrss
    say(rssMb=peak / (1024 if sys.platform != "darwin" else 1024**2))


main()
