"""`Execution`: numbers are named where they are wrong, and say how many work together."""

import pytest

from ufm.batch import Execution


@pytest.mark.parametrize(
    ("fields", "together"),
    [
        pytest.param({}, 10, id="what-is-best"),
        pytest.param({"chunk": 4}, 4, id="fewer"),
        pytest.param({"chunk": 40}, 40, id="more-than-is-best"),
        pytest.param({"memory": 350}, 3, id="memory"),
        pytest.param({"chunk": 2, "memory": 350}, 2, id="the-smaller-of-both"),
        pytest.param({"memory": 1}, 1, id="one-always"),
    ],
)
def test_how_many_work_together(fields, together):
    assert Execution(**fields).together(10, 100) == together


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"threads": 0}, "`Execution.threads` must be a whole number >= 1", id="none"),
        pytest.param({"devices": []}, "`Execution.devices` must hold at least one", id="devices"),
        pytest.param({"devices": ["cpu"]}, r"`Execution.devices\[0\]` must be a device", id="word"),
        pytest.param({"memory": 0.5}, "`Execution.memory` must be a whole number", id="memory"),
        pytest.param({"chunk": 0}, "`Execution.chunk` must be a whole number >= 1", id="chunk"),
    ],
)
def test_bad_numbers_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Execution(**fields)
