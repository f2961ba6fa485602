"""Weights of a folder as ONNX, as optimum exports transformers' Dinov2Model: pixel_values to last_hidden_state.

    export_onnx.py FOLDER

Writes FOLDER/onnx/model.onnx, which transformers.js opens; any batch, height and width.
"""

import os
import sys
import warnings

import torch
from transformers import Dinov2Model


class Tokens(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return self.model(pixel_values).last_hidden_state


def main():
    folder = sys.argv[1]
    model = Tokens(Dinov2Model.from_pretrained(folder).eval())
    os.makedirs(os.path.join(folder, "onnx"), exist_ok=True)
    warnings.simplefilter("ignore")
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, 224, 224),),
        os.path.join(folder, "onnx", "model.onnx"),
        input_names=["pixel_values"],
        output_names=["last_hidden_state"],
        dynamic_axes={
            "pixel_values": {0: "batch_size", 2: "height", 3: "width"},
            "last_hidden_state": {0: "batch_size", 1: "sequence_length"},
        },
        opset_version=18,
        dynamo=False,
    )


main()
