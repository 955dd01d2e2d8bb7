"""The methods in TensorFlow's own ops, for functions that XLA compiles."""
