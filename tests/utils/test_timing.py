"""Functions are timed in turns."""

from tf_approxgrad.utils.timing import time_in_turns


def test_functions_take_turns_in_going_first():
    called = []
    functions = {name: lambda name=name: called.append(name) for name in "abc"}
    seconds = time_in_turns(functions, rounds=3)
    assert called[6:] == [*"abc", *"bca", *"cab"]
    assert {name: len(times) for name, times in seconds.items()} == dict.fromkeys(
        "abc", 3
    )


def test_what_is_called_between_isnt_timed():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "ab"}
    time_in_turns(functions, rounds=1, between=lambda: calls.append("between"))
    # Two calls of each come first.
    assert calls == [*"aabb", "between", "a", "between", "b"]
