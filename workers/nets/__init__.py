"""From a network's spec to torch modules, to folded weights, to bytes and to ONNX."""
