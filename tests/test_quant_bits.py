"""Weights of 4 bits: which layers have them, what their codes are."""

import numpy as np
import pytest

from fedtiny.bench import synthetic
from fedtiny.config import RunConfig
from fedtiny.models import resnet8, smartwatch_cnn
from fedtiny.quant.fold import fold
from fedtiny.quant.layers import weight_scales
from fedtiny.quant.tensors import QuantizationError

GRAPH = smartwatch_cnn((6, 1, 128), 7)


def test_sparse_layers_have_codes_of_4_bits_and_dense_ones_keep_8():
    model = synthetic.integer_model(GRAPH, 0.05, weight_bits=4)
    sparse = {layer.name for layer in GRAPH.prunable_layers}
    assert 0 < len(sparse) < len(model.layers)
    for layer in model.layers:
        largest = np.abs(layer.weight.values.astype(int)).max()
        assert largest == 7 if layer.name in sparse else largest > 100


def test_scales_of_4_bits_are_the_nearest_of_any_clipping():
    """Against a search of each channel by itself."""
    model = synthetic.float_model(resnet8((1, 28, 28), 10), 0.1)
    layer = resnet8((1, 28, 28), 10).prunable_layers[0]
    folded = fold(layer, model)
    found = weight_scales(folded, 0.02, 7)

    def error(values, scale):
        return np.sum((values - np.clip(np.rint(values / scale), -7, 7) * scale) ** 2)

    finer = 0
    for row, scale in enumerate(found):
        values = folded.values[folded.rows == row]
        widest = max(np.abs(values).max() / 7, abs(folded.bias[row]) / (0.02 * 2**22))
        errors = [error(values, widest * share) for share in np.linspace(1, 0.5, 26)]
        assert error(values, scale) <= min(errors) * (1 + 1e-9)
        finer += scale < widest
    assert finer > len(found) / 2


def test_8_bits_are_what_they_were_and_others_are_refused():
    as_ever, said = (
        synthetic.integer_model(GRAPH, 0.05),
        synthetic.integer_model(GRAPH, 0.05, weight_bits=8),
    )
    for one, other in zip(as_ever.layers, said.layers, strict=True):
        np.testing.assert_array_equal(one.weight.values, other.weight.values)
    with pytest.raises(QuantizationError, match="4 or 8 bits, not 3"):
        synthetic.integer_model(GRAPH, 0.05, weight_bits=3)


def test_the_config_says_how_many():
    assert RunConfig().export.weight_bits == 8
    with pytest.raises(ValueError, match="weight_bits"):
        RunConfig.model_validate({"export": {"weight_bits": 5}})
