"""Both gradients of a convolution by each method, and the choice by step."""
