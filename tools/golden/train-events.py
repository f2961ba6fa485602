"""An event file as TensorBoard's own code writes it (pip install tensorboard), for @aligntok/train.

    python tools/golden/train-events.py packages/train/test/fixtures

With a second argument, reads that event file instead and prints its scalars: an independent check of ours.
"""

import json
import sys
from pathlib import Path

if len(sys.argv) > 2:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(sys.argv[2])
    accumulator.Reload()
    for tag in accumulator.Tags()["scalars"]:
        print(tag, [(event.step, event.value) for event in accumulator.Scalars(tag)])
else:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    lines = [
        {"step": 1, "loss": 0.1, "learning rate": 1e-4},
        {"step": 300, "loss": -2.5},
        {"step": 2**40 + 7, "größe": 1e30},
    ]
    wall_time = 1700000000.25
    folder = Path(sys.argv[1])
    with open(folder / "scalars.tfevents", "wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=wall_time, file_version="brain.Event:2").SerializeToString())
        for line in lines:
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in line.items() if tag != "step"]
            event = Event(wall_time=wall_time, step=line["step"], summary=Summary(value=values))
            writer.write(event.SerializeToString())
        writer.flush()
    (folder / "scalars.json").write_text(json.dumps({"wallTime": wall_time, "lines": lines}))
