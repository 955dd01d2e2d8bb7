"""What the tests of `AdaptivePlan` share: times that are made up."""

import numpy as np
import pytest

from tf_approxgrad.planning import adaptation
from tf_approxgrad.planning.timings import LayerTimes
from tf_approxgrad.training import adaptive_plan


@pytest.fixture
def sampling_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixed times, by which shares of layers pay; measuring takes no time."""

    def times(filter_calls, input_calls, exact, candidates, jit_compile) -> LayerTimes:
        del filter_calls, input_calls, jit_compile
        found = dict.fromkeys(exact, 1e6)
        found |= {method: 1e6 * method.share**2 for method in candidates}
        return LayerTimes(found, {})

    monkeypatch.setattr(adaptation, "time_layer", times)
    monkeypatch.setattr(adaptive_plan, "_LARGEST_SHARE", np.inf)
