"""The camera scenario: scenes, the detector's two forms, boxes, one firmware for both networks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import random_model

from fedtiny.data.dataset import Dataset
from fedtiny.data.images import GRAY
from fedtiny.data.statistics import Normalization
from fedtiny.engine import EngineOptions, Executor, available
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Pool
from fedtiny.quant import reference
from fedtiny.quant.ptq import quantize
from fedtiny.sensing.box import Box, overlap
from sims.camera import firmware
from sims.camera.detector import CELL, SIDES, boxes, detector, targets, view, window
from sims.camera.integers import IntegerCamera, quantized, table
from sims.camera.scenes import SENSOR, SIDE, scene
from sims.camera.seeing import in_one_frame, in_two_stages
from sims.camera.training import Course, Windows, best_threshold, cells_of, train, unrolled

needs_engine = pytest.mark.skipif(not available(), reason="the engine is not compiled here")


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 1, SIDE, SIDE)).astype(np.uint8)
    labels = tuple(f"class {i}" for i in range(10))
    return Dataset(x, np.arange(20) % 10, np.zeros(20, np.int64), labels, GRAY)


def test_a_scene_is_its_position_and_its_cards_lie_apart(images):
    first, again, other = (scene(images, 1, "train", i) for i in (3, 3, 4))
    assert np.array_equal(first.light, again.light)
    assert not np.array_equal(first.light, other.light)
    for i in range(12):
        one = scene(images, 0, "test", i)
        cards = [*(item.box for item in one.items), *one.scrambled]
        assert 1 <= len(one.items) <= 3
        for box in cards:
            SENSOR.check(box)
            assert SIDE <= box.width == box.height <= 3 * SIDE
        assert all(overlap(a, b) == 0 for a in cards for b in cards if a != b)


def test_boxes_of_perfect_logits_are_those_of_the_items(images):
    for i in range(20):
        one = scene(images, 2, "train", i)
        cells = targets(one.items)
        logits = 100 * np.eye(1 + len(SIDES), dtype=np.int32)[cells].transpose(2, 0, 1)
        seen = [box for box, _ in boxes(logits, 0)]
        assert len(seen) == len(one.items)
        for item in one.items:
            assert max(overlap(box, item.box) for box in seen) > 0.6


def test_no_more_than_four_boxes_best_first_and_clipped():
    logits = np.zeros((1 + len(SIDES), 30, 40), np.int32)
    for score, (row, column) in enumerate([(0, 0), (0, 39), (29, 0), (29, 39), (15, 20)], 10):
        logits[1, row, column] = score
    seen = boxes(logits, 1)
    assert [score for _, score in seen] == [14, 13, 12, 11]
    assert seen[1][0] == Box(301, 221, 19, 19)
    assert boxes(logits, 15) == []


@needs_engine
@pytest.mark.parametrize("pooling", SENSOR.poolings)
def test_what_a_cell_sees_is_what_the_frame_s_network_computes_there(pooling):
    graph, small = detector(pooling, True), view(pooling, True)
    model = random_model(small, 1.0)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, *graph.input_shape)).astype(np.float32)
    whole = Executor(graph, unrolled(model), EngineOptions(1)).logits(x)[0]
    inner = np.array([(0, 12, 15), (0, 9, 30), (0, 20, 9)])  # as far from the borders as it sees
    found = Executor(small, model, EngineOptions(4)).logits(Windows(x, pooling).of(inner))
    for logits, (_, row, column) in zip(found, inner, strict=True):
        np.testing.assert_allclose(logits, whole[:, row, column], rtol=1e-3, atol=1e-4)
    side, offset, stride = window(pooling)
    assert stride * pooling == CELL
    assert side == 2 * offset + 1


@needs_engine
def test_a_detector_learns(images):
    """An item's cells score above others of scenes that it learned: area under the ROC curve."""
    scenes = [scene(images, 0, "train", i) for i in range(12)]
    frames = np.stack([(one.light[4::8, 4::8] >> 8).astype(np.uint8) for one in scenes])
    wanted = np.stack([targets(one.items) for one in scenes]) > 0

    def area(one):
        logits = one.logits(frames)
        score = logits[:, 1:].max(axis=1) - logits[:, 0]
        return (score[wanted][:, None] > score[~wanted][None]).mean()

    before, after = (train(frames, scenes, 8, False, Course(12, n), 0) for n in (0, 12))
    assert area(after) > max(0.9, area(before) + 0.1)
    assert best_threshold(after.logits(frames), [one.items for one in scenes]) in range(-64, 65)


def test_cells_to_learn_from_are_of_the_frame_and_mostly_of_cards(images):
    one = scene(images, 0, "train", 5)
    cells = np.array(cells_of(one, np.random.default_rng(0)))
    assert len(cells) == 4 + 4 * (len(one.items) + len(one.scrambled))
    assert np.all((cells >= 0) & (cells < (30, 40)))
    assert (targets(one.items)[tuple(cells.T)] > 0).sum() >= 2 * len(one.items)


@pytest.mark.parametrize("pooling", [1, 8])
def test_both_ways_of_looking_count_what_the_formulas_say(images, pooling):
    scenes = [scene(images, 0, "test", i) for i in range(3)]
    true = [[item.box for item in one.items] for one in scenes]
    labels = iter([item.label for one in scenes for item in one.items] * 2)

    def oracle(pictures):
        assert pictures.shape[1:] == (SIDE, SIDE, 1)
        return np.array([next(labels) for _ in pictures])

    for way in (in_two_stages, in_one_frame):
        sight = way(scenes, true, pooling, False, oracle, 0)
        assert (sight.recall, sight.precision, sight.accuracy) == (1, 1, 1)
        assert sight.transfer_bytes == sight.formula_bytes
    assert sight.transfer_bytes == 320 * 240 * 3 / pooling**2
    missed = in_two_stages(scenes, [[]] * 3, pooling, True, lambda x: np.zeros(len(x)), 0)
    assert (missed.recall, missed.accuracy) == (0, 0)


def integer(graph, seed):
    model = random_model(graph, 1.0, seed)
    channels = graph.input_shape[0]
    normalization = Normalization(
        np.full(channels, 110, np.float32), np.full(channels, 60, np.float32)
    )
    if available():
        x = np.random.default_rng(seed).uniform(-1.8, 2.4, (4, *graph.input_shape))
        ranges = Executor(graph, model, EngineOptions(4)).ranges([x.astype(np.float32)])
    else:
        ranges = dict.fromkeys(graph.observed, (-4.0, 4.0))
    return quantize(graph, model, normalization, ranges)


@pytest.fixture(scope="module")
def camera():
    """Untrained networks: what they see means nothing, and must be the same in C."""
    classifier = Graph(
        "small",
        (1, SIDE, SIDE),
        (
            Conv("stem", INPUT, 1, 4, (3, 3), (2, 2), (1, 1), prunable=False),
            Pool("pool", "stem"),
            Linear("head", "pool", 4, 10, prunable=False),
        ),
    )
    return IntegerCamera(8, False, integer(detector(8, False), 1), integer(classifier, 2), 5)


def test_a_table_of_256_codes_quantizes_as_the_reference_does(camera):
    for model in (camera.detector, camera.classifier):
        channels, height, width = model.input.shape
        codes = np.random.default_rng(0).integers(0, 256, (height, width, channels))
        found = table(model)[np.arange(channels), codes]
        assert np.array_equal(found, quantized(model, codes.astype(np.uint8))[0])
        assert reference.infer(model, found[None]).shape == (1, model.output.nbytes)


@pytest.mark.firmware
@pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))),
    reason="needs arm-none-eabi-gcc and qemu-system-arm: make firmware-test",
)
def test_the_firmware_sees_what_the_reference_sees(camera, images, tmp_path, monkeypatch):
    lights = [scene(images, 0, "firmware", i).light for i in range(1)]
    assert any(camera.look(light) for light in lights)
    monkeypatch.chdir(tmp_path)
    folder = Path("firmware")  # as `make camera` gives it
    sizes = firmware.write(camera, images.labels, folder)
    assert sizes.arena == max(sizes.detector_arena, sizes.classifier_arena)
    (folder / "scenes").write_bytes(firmware.scene_file(camera, lights))
    host = firmware.check_host(folder, sanitize=True)
    assert (host.scenes, host.mismatches) == (1, 0)
    board = firmware.check_board(folder, "qemu-m4")
    assert (board.scenes, board.mismatches) == (1, 0)
    assert board.instructions > 1_000_000
