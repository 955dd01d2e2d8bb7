"""The methods composed of TensorFlow's ops, for functions that XLA compiles."""
