"""Writes the golden GraphDef of @aligntok/checkpoint, with NumPy's values beside it.

    python tools/golden/checkpoint-graphdef.py packages/checkpoint/test/fixtures

The messages are declared here for the protobuf library, with the numbers of TensorFlow's .proto files.
"""

import json
import sys

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

F = descriptor_pb2.FieldDescriptorProto
file = descriptor_pb2.FileDescriptorProto(name="graph.proto", package="tf", syntax="proto3")


def message(name, *fields):
    m = file.message_type.add(name=name)
    for field, number, kind, *rest in fields:
        f = m.field.add(name=field, number=number, label=F.LABEL_REPEATED if "many" in rest else F.LABEL_OPTIONAL)
        if isinstance(kind, str):
            f.type, f.type_name = F.TYPE_MESSAGE, f".tf.{kind}"
        else:
            f.type = kind


message("Dim", ("size", 1, F.TYPE_INT64))
message("Shape", ("dim", 2, "Dim", "many"))
message("Tensor", ("dtype", 1, F.TYPE_INT32), ("tensor_shape", 2, "Shape"), ("tensor_content", 4, F.TYPE_BYTES),
        ("float_val", 5, F.TYPE_FLOAT, "many"), ("double_val", 6, F.TYPE_DOUBLE, "many"), ("int_val", 7, F.TYPE_INT32, "many"),
        ("string_val", 8, F.TYPE_BYTES, "many"), ("int64_val", 10, F.TYPE_INT64, "many"), ("bool_val", 11, F.TYPE_BOOL, "many"),
        ("half_val", 13, F.TYPE_INT32, "many"))
message("Attr", ("type", 6, F.TYPE_INT32), ("tensor", 8, "Tensor"))
message("Entry", ("key", 1, F.TYPE_STRING), ("value", 2, "Attr"))
message("Node", ("name", 1, F.TYPE_STRING), ("op", 2, F.TYPE_STRING), ("input", 3, F.TYPE_STRING, "many"), ("attr", 5, "Entry", "many"))
message("Graph", ("node", 1, "Node", "many"))
pool = descriptor_pool.DescriptorPool()
pool.Add(file)
make = {m.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tf.{m.name}")) for m in file.message_type}

graph = make["Graph"]()
expected = {}
TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10, "float16": 19}


def constant(name, array, **values):
    node = graph.node.add(name=name, op="Const")
    entry = node.attr.add(key="dtype")
    entry.value.type = TYPES[str(array.dtype)]
    entry = node.attr.add(key="value")
    tensor = entry.value.tensor
    tensor.dtype = TYPES[str(array.dtype)]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if values:
        for key, value in values.items():
            getattr(tensor, key).extend(value)
    else:
        tensor.tensor_content = array.tobytes()
    expected[name] = {"dtype": str(array.dtype), "shape": list(array.shape), "values": array.astype(float).flatten().tolist()}


graph.node.add(name="ExpandDims", op="Placeholder")
rng = np.random.default_rng(0)
constant("conv/conv2d_params", rng.standard_normal((3, 3, 2, 4)).astype(np.float32))
constant("half", rng.standard_normal(7).astype(np.float16))
constant("double", rng.standard_normal((2, 1)))
constant("repeated", np.full((2, 3), 0.5, np.float32), float_val=[0.5])
constant("tail", np.array([1, 2, 3, 3, 3], np.int32), int_val=[1, 2, 3])
constant("negative", np.array(-5, np.int32), int_val=[-5])
constant("long", np.array([-(2**40), 7]), int64_val=[-(2**40), 7])
constant("flag", np.array([True, False, False]), bool_val=[True, False])
constant("halves", np.array([1.5, -2, -2], np.float16), half_val=np.array([1.5, -2], np.float16).view(np.uint16).astype(int).tolist())
constant("doubles", np.array([0.1, 0.1]), double_val=[0.1])
constant("bytes", np.array([200, 200], np.uint8), int_val=[200])
text = graph.node.add(name="label", op="Const").attr.add(key="value").value.tensor
text.dtype = 7
text.string_val.append("größer".encode())

with open(f"{sys.argv[1]}/golden.pb", "wb") as out:
    out.write(graph.SerializeToString(deterministic=True))
json.dump(expected, open(f"{sys.argv[1]}/graphdef.json", "w"), indent=1)
