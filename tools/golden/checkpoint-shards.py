"""Writes the sharded golden folder of @aligntok/checkpoint with huggingface_hub.

    python tools/golden/checkpoint-shards.py packages/checkpoint/test/fixtures/shards
"""

import sys
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
sizes = {"b.weight": 10, "a.weight": 20, "huge": 60, "c": 5, "d": 25, "e": 1}
state = {name: torch.arange(size, dtype=torch.float32) + i for i, (name, size) in enumerate(sizes.items())}
save_torch_state_dict(state, folder, max_shard_size=130, metadata={"note": "golden"})
