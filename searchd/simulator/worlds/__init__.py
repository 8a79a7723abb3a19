"""Worlds to simulate in: `synthetic` (a known optimum), `table`, `surrogate` (a function or an ONNX model), `log`."""
