"""Answers with the model's outputs by name. The payload has its inputs by name; with one input, that alone will do."""

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64", "tensor(int32)": "int32"}


class Handler:
    def __init__(self, config):
        self.model = onnxruntime.InferenceSession(config["model"], providers=["CPUExecutionProvider"])
        self.inputs = {one.name: TYPES.get(one.type, object) for one in self.model.get_inputs()}
        self.outputs = [one.name for one in self.model.get_outputs()]

    def handle_post(self, payload):
        given = payload if isinstance(payload, dict) else dict.fromkeys(self.inputs, payload)
        arrays = {name: np.array(given[name], dtype=kind) for name, kind in self.inputs.items()}
        found = self.model.run(self.outputs, arrays)
        return {name: getattr(value, "tolist", lambda: value)() for name, value in zip(self.outputs, found)}
