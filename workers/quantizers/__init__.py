"""Modules that quantize in training: weights at 1 to 8 bits, activations at 8; and bits packed into bytes."""
