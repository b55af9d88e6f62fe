"""Answers with what the model computes: one input in, one output out; a list of inputs in, a list of outputs out."""

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64", "tensor(int32)": "int32"}


class Handler:
    def __init__(self, config):
        self.model = onnxruntime.InferenceSession(config["model"], providers=["CPUExecutionProvider"])
        (self.input,) = self.model.get_inputs()
        self.outputs = [output.name for output in self.model.get_outputs()]

    def handle_post(self, payload):
        rows = np.array(payload, dtype=TYPES.get(self.input.type, object))
        if rows.ndim < len(self.input.shape):  # without the batch, its first dimension
            return self.answers(rows[np.newaxis])[0]
        return self.answers(rows)

    def answers(self, rows):
        """For each row the one output, or all of them by name."""
        outputs = [plain(output) for output in self.model.run(None, {self.input.name: rows})]
        if len(outputs) == 1:
            return outputs[0]
        return [dict(zip(self.outputs, values)) for values in zip(*outputs)]


def plain(output):
    """A list with an item for each row; an item that is a list of one value is that value."""
    rows = output.tolist() if hasattr(output, "tolist") else output
    return [row[0] if isinstance(row, list) and len(row) == 1 else row for row in rows]
