"""Merging the devices' activation ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.aggregation.ranges import merge_ranges
from fedtiny.quant.tensors import QuantizationError

FINITE = st.floats(-1e6, 1e6)
RANGE = st.tuples(FINITE, FINITE).map(lambda pair: (min(pair), max(pair)))
DEVICE = st.fixed_dictionaries({"input": RANGE, "stem": RANGE})


@given(st.lists(DEVICE, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_merged_ranges_hold_every_device_in_any_order(devices, random):
    merged = merge_ranges(devices)
    for name, (low, high) in merged.items():
        assert low == min(device[name][0] for device in devices)
        assert high == max(device[name][1] for device in devices)
    shuffled = list(devices)
    random.shuffle(shuffled)
    assert merge_ranges(shuffled) == merged


@pytest.mark.parametrize("bad", [(1.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_unusable_range_names_device_and_tensor(bad):
    with pytest.raises(QuantizationError, match=r"device 1.*'stem'"):
        merge_ranges([{"stem": (0.0, 1.0)}, {"stem": bad}])


def test_devices_with_other_tensors_are_refused():
    with pytest.raises(QuantizationError, match="head"):
        merge_ranges([{"stem": (0.0, 1.0)}, {"stem": (0.0, 1.0), "head": (0.0, 1.0)}])


def test_no_device_is_refused():
    with pytest.raises(QuantizationError, match="at least one device"):
        merge_ranges([])
