"""The formula of the variance against real draws.

The formula is that of independent draws, and the draws are systematic: rows at equal
distances of the running sum of q. Where neighbours are alike, such a draw is better
spread than an independent one, and the formula is an upper bound.
"""

import numpy as np
import pytest
from marks import slowly_but
from row_data import KINDS, PROBLEM, row_data
from row_reference import VARIANTS, row_sampled_variance
from unbiasedness import gradients

import tf_approxgrad as tfag

DRAWS = 1000
