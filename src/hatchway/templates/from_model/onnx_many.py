"""Answers with what the model computes of an object with its inputs by name, or of each of a list of them."""

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64", "tensor(int32)": "int32"}


class Handler:
    def __init__(self, config):
        self.model = onnxruntime.InferenceSession(config["model"], providers=["CPUExecutionProvider"])
        self.inputs = self.model.get_inputs()
        self.outputs = [output.name for output in self.model.get_outputs()]

    def handle_post(self, payload):
        return self.answer(payload) if isinstance(payload, dict) else [self.answer(record) for record in payload]

    def answer(self, record):
        outputs = self.model.run(None, {one.name: self.array(one, record[one.name]) for one in self.inputs})
        values = [plain(output) for output in outputs]
        return values[0] if len(values) == 1 else dict(zip(self.outputs, values))

    def array(self, wanted, value):
        """One record as a batch of one: the first dimension is the batch."""
        found = np.array(value, dtype=TYPES.get(wanted.type, object))
        return found.reshape([1, *found.shape, *[1] * (len(wanted.shape) - 1 - found.ndim)])


def plain(output):
    """What belongs to the one record; a list of one value is that value."""
    (row,) = output.tolist() if hasattr(output, "tolist") else output
    return row[0] if isinstance(row, list) and len(row) == 1 else row
