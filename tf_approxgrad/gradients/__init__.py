"""Filter and input gradients of a convolution by each method, chosen by step."""
