"""What an exported model learns on the device: its numbers, its memory, its slots of flash."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from functools import cache
from math import exp, log

import numpy as np
import pytest
import torch
from learning import Device, Slot, model_objects, trained_model

from fedtiny import toolchain
from fedtiny.adapt.recipe import AdaptError
from fedtiny.bench import synthetic
from fedtiny.boards import host, learned, qemu
from fedtiny.config.adapt import MethodName
from fedtiny.errors import FedTinyError
from fedtiny.export.bundle import export
from fedtiny.export.run import integer_model
from fedtiny.firmware.arena import plan_arena
from fedtiny.firmware.lower import lower
from fedtiny.firmware.planner import ANY_CORTEX_M4, DoesNotFitError, Target, target_of_core
from fedtiny.learn.fitting import fit_learning
from fedtiny.learn.functions import exponential, logarithm
from fedtiny.learn.lessons import Lessons, expected, lessons_file
from fedtiny.learn.net import side_net
from fedtiny.learn.reference import Learner, read

CASES = {
    "head": ("smartwatch_cnn", (6, 1, 128), 7, MethodName.HEAD),
    "ladder": ("smartwatch_cnn", (6, 1, 128), 7, MethodName.REPNET_ONE_WAY),
    "maps": ("resnet8", (1, 20, 20), 4, MethodName.REPNET_ONE_WAY),
}
torch.set_num_threads(1)

STEPS, BATCH = 50, 4
BAD_ARGUMENT, BAD_LABEL, NO_WINDOW, ONE_CLASS, DIVERGED, UNKNOWN = -102, *range(-110, -115, -1)


class Case:
    """A model, what it learns, and lessons: windows around one of a few centres."""

    def __init__(self, name: str) -> None:
        self.name = name
        network, shape, classes, method = CASES[name]
        self.trained = trained_model(network, shape, classes, 0.2)
        self.model = integer_model(self.trained)
        self.side = side_net(self.trained, self.model, method, 0)
        self.fitted = fit_learning(self.model, self.side, ANY_CORTEX_M4)
        draw = np.random.default_rng(0)
        centres = draw.normal(0, 500, (classes, *shape))
        labels = np.arange(32) % classes
        counts = (centres[labels] + draw.normal(0, 400, (32, *shape))).astype(np.int16)
        rows = draw.integers(0, 24, (STEPS, BATCH))
        rows[7::8, -1] = -1  # smaller batches
        self.lessons = Lessons(counts[:24], labels[:24], rows, counts[24:], labels[24:])
        self.expected = expected(self.model, self.side, self.lessons)

    def export(self, directory):
        content = lessons_file(self.model, self.side, self.lessons, self.expected)
        counts = synthetic.counts(self.model, 2)
        names = synthetic.interface(self.model)
        plan, target = self.fitted.require(), self.fitted.target
        self.report = export(plan, directory, counts, names, target, lessons=content)
        return directory


@cache
def case_of(name):
    return Case(name)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The project of a case, written and compiled once."""
    return cache(lambda name: case_of(name).export(tmp_path_factory.mktemp(name) / "firmware"))


@pytest.fixture(params=CASES)
def case(request):
    return case_of(request.param)


@pytest.fixture
def project(case, exported):
    return exported(case.name)


@pytest.fixture(scope="module")
def ladder():
    return case_of("ladder")


@pytest.fixture(scope="module")
def ladder_project(exported):
    return exported("ladder")


@pytest.fixture(scope="module")
def compiled(ladder, ladder_project, tmp_path_factory):
    plan = ladder.fitted.require()
    return Device(ladder_project, ladder.side, plan.arena.nbytes, tmp_path_factory.mktemp("so"))


@pytest.fixture
def device(compiled):
    """A learner at the untrained start."""
    assert compiled.begin(compiled.newest(None, None)) == 0
    return compiled


def teach(device, lessons, windows=6):
    for counts, label in zip(lessons.counts[:windows], lessons.labels, strict=False):
        assert device.learn(counts, int(label)) == 0


def test_the_c_learns_what_the_reference_learns_bit_for_bit(case, project):
    assert host.check(project).mismatches == 0
    found = learned.check(project)
    assert (found.lessons, found.mismatches) == (STEPS, 0)
    np.testing.assert_array_equal(np.float32(found.losses), case.expected.losses)
    assert (found.correct, found.tests) == (case.expected.correct, len(case.lessons.test_labels))
    assert np.mean(found.losses[-5:]) < 0.7 * np.mean(found.losses[:5])


def torch_net(side, values, readings, rows):
    """Logits of windows by PyTorch, float64: mean after the 1x1 convolution, as in training."""
    named = {k: v.reshape(shape) for (k, shape), v in zip(side.blocks.items(), values, strict=True)}
    x = torch.tensor(readings.features[rows], dtype=torch.float64)
    if side.rungs:
        climbed = []
        for k, rung in enumerate(side.rungs):
            map_ = torch.tensor(readings.maps[k][rows], dtype=torch.float64).permute(0, 3, 1, 2)
            weight = named[f"weight {k}"].permute(0, 3, 1, 2)
            pads = tuple(size // 2 for size in rung.kernel)
            out = torch.conv2d(map_, weight, named[f"bias {k}"], padding=pads, groups=rung.groups)
            climbed.append(torch.relu(out))
        spread = named["out weight"][:, :, None, None]
        maps = torch.conv2d(sum(climbed), spread, named["out bias"])
        x = x + maps.mean(dim=(2, 3))
    return x @ named["head weight"].T + named["head bias"]


def leaves(side):
    parts = side.values(side.start).values()
    return [torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in parts]


def test_gradients_are_those_of_autograd(case):
    side, rows = case.side, list(range(8))
    jittered = side.start + np.random.default_rng(1).normal(0, 0.05, len(side.start))
    side = replace(side, start=jittered.astype(np.float32))  # a ladder whose end is not 0
    readings, values = read(case.model, side, case.lessons.counts), leaves(side)
    labels = torch.tensor(case.lessons.labels[rows])
    logits = torch_net(side, values, readings, rows)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    losses.sum().backward()
    learner = Learner(side)
    own = [learner.learn(readings, row, labels[row].item()) for row in rows]
    np.testing.assert_allclose(own, losses.detach().numpy(), rtol=1e-5, atol=1e-5)
    for (name, grad), value in zip(learner.gradients().items(), values, strict=True):
        scale = float(value.grad.abs().max())
        assert scale > 0
        own = value.grad.numpy()
        np.testing.assert_allclose(grad, own, rtol=0, atol=1e-5 * scale, err_msg=name)


def test_the_loss_curve_is_that_of_torchs_adam(case):
    readings, values = read(case.model, case.side, case.lessons.counts), leaves(case.side)
    adam = torch.optim.Adam(values, lr=case.side.rate)
    losses = []
    for rows in (step[step >= 0] for step in case.lessons.rows):
        labels = torch.tensor(case.lessons.labels[rows])
        logits = torch_net(case.side, values, readings, rows)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    np.testing.assert_allclose(case.expected.losses, losses, rtol=0, atol=1e-4)


def test_exponential_and_logarithm_are_close_to_the_true_ones():
    x = np.linspace(-87, 0, 5000, dtype=np.float32)
    true = np.array([exp(float(v)) for v in x])
    assert np.max(np.abs(exponential(x) / true - 1)) < 3e-7
    for v in np.linspace(1, 1e6, 5000, dtype=np.float32):
        assert abs(logarithm(v) - log(float(v))) < 3e-7 * max(1, log(float(v)))


def test_the_watch_learns_within_96_kib_and_no_map_is_kept(ladder):
    plan, side = ladder.fitted.require(), ladder.side
    window = 2 * plan.model.input.nbytes
    assert plan.arena.nbytes + side.learner_bytes + window <= 96 * 1024
    scratch = {step.node.name: step.scratch_bytes for step in plan.steps}
    late = side.buffers(plan.model)
    for buffer in late:
        buffer.first = buffer.last
    maps = [rung.map.tensor for rung in side.rungs]
    kept = plan_arena(plan.model, scratch, late, maps).nbytes
    assert plan.arena.nbytes < kept


def test_python_knows_the_sizes_of_c(case, project, tmp_path):
    side, text = case.side, ['#include "model_learn.h"', '#include "fedtiny_learn.h"']
    sizes = {"model_learned": side.slot_bytes, "model_learner": side.learner_bytes}
    for i, (name, nbytes) in enumerate(sizes.items()):
        text.append(f"char size_{i}[sizeof({name}) == {nbytes} ? 1 : -1];")
    text.append("int main(void) {")
    for rung in side.rungs:
        channels, height, width = rung.map.shape
        pool = f"{{{height}, {width}, {channels}, {rung.map.kernel[0]}, {rung.map.kernel[1]}}}"
        conv = f"{{{rung.map.size[0]}, {rung.map.size[1]}, {channels}, {rung.outputs}}}"
        text.append(
            f"{{ fedtiny_learn_pool p = {pool}; fedtiny_learn_conv c = {conv};"
            f"if (fedtiny_learn_pool_s8_get_buffer_size(&p) != {rung.map.nbytes} ||"
            f"fedtiny_learn_conv_forward_get_buffer_size(&c) != {rung.active_bytes}) return 1; }}"
        )
    (tmp_path / "sizes.c").write_text("\n".join([*text, "return 0; }\n"]), encoding="utf-8")
    kernels = [*(project / "build/fedtiny_nn/src/learn").glob("*.o")]
    include = [f"-I{project}", f"-I{project / 'fedtiny_nn/include'}"]
    command = ["gcc", *include, "sizes.c", *map(str, kernels), "-lm", "-o", "sizes"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run(["./sizes"], cwd=tmp_path, check=True)


def test_the_example_is_a_program_that_learns(ladder_project, tmp_path):
    objects = model_objects(ladder_project)
    include = [f"-I{ladder_project}", f"-I{ladder_project / 'fedtiny_nn/include'}"]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", *include]
    example = ladder_project / "examples/learn/main.c"
    text = example.read_text(encoding="utf-8").replace("STEPS = 100", "STEPS = 2")
    (tmp_path / "main.c").write_text(text, encoding="utf-8")
    command = ["gcc", *flags, "main.c", *map(str, objects), "-lm", "-o", "example"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run(["./example"], cwd=tmp_path, check=True)


def test_gradients_in_c_are_the_references(device, ladder):
    readings, learner = read(ladder.model, ladder.side, ladder.lessons.counts), Learner(ladder.side)
    teach(device, ladder.lessons)
    for row in range(6):
        learner.learn(readings, row, int(ladder.lessons.labels[row]))
    expected = np.concatenate([grad.ravel() for grad in learner.gradients().values()])
    np.testing.assert_array_equal(device.gradients, expected)
    assert device.update() == 0
    learner.update(6)
    np.testing.assert_array_equal(device.values, learner.vector)
    assert not device.gradients.any()


def test_labels_outside_the_classes_change_nothing(device, ladder):
    before = device.words.copy()
    for label in (-1, 7, 2**31 - 1):
        assert device.learn(ladder.lessons.counts[0], label) == BAD_LABEL
    np.testing.assert_array_equal(device.words, before)
    assert device.update() == NO_WINDOW


def test_one_class_only_is_not_sealed(device, ladder):
    counts = ladder.lessons.counts[0]
    for _ in range(3):
        assert device.learn(counts, 2) == 0
        assert device.update() == 0
    assert device.seal(None, None) == ONE_CLASS
    assert device.learn(counts, 3) == 0
    assert device.seal(None, None) == 0


def test_numbers_that_are_not_finite_stay_outside(device, ladder):
    counts, good = ladder.lessons.counts[0], device.values.copy()
    device.rate[:] = np.nan
    teach(device, ladder.lessons)
    assert device.update() == BAD_ARGUMENT
    device.rate[:] = 3e-3
    device.gradients[5] = np.inf
    assert device.update() == DIVERGED
    np.testing.assert_array_equal(device.values, good)
    assert device.windows == 0
    device.values[-1] = np.nan
    assert device.learn(counts, 0) == DIVERGED
    assert device.windows == 0
    assert device.seal(None, None) == DIVERGED


def sealed(device, a=None, b=None):
    slot = device.seal(a, b)
    return slot, Slot.of(device.slot)


def test_power_may_fail_at_every_word_of_writing(device, ladder):
    """Slot b is written while a holds the old weights; erased flash or old bytes lie behind.

    The first two words of old and new are the same: a cut before the third changes nothing.
    """
    teach(device, ladder.lessons)
    assert device.update() == 0
    slot, old = sealed(device)
    assert slot == 0
    teach(device, ladder.lessons)
    assert device.update() == 0
    slot, new = sealed(device, old, None)
    assert slot == 1
    assert device.newest(old, new) == new.address
    for behind in (np.full_like(new.memory, 0xFFFFFFFF), old.memory):
        words = len(new.memory)
        for cut in [*range(3, words, 97), *range(words - 8, words)]:
            torn = Slot(np.concatenate([new.memory[:cut], behind[cut:]]))
            assert device.newest(old, torn) == old.address
            assert device.newest(torn, old) == old.address
            assert device.newest(torn, None) == device.start
    assert device.begin(device.newest(old, torn)) == 0
    assert device.slot == old.content


def test_a_flipped_bit_anywhere_is_seen(device, ladder):
    teach(device, ladder.lessons)
    _, good = sealed(device)
    for at in range(0, len(good.memory), 61):
        flipped = Slot(good.memory.copy())
        flipped.memory[at] ^= 1 << at % 32
        assert device.newest(flipped, None) == device.start
        assert device.begin(flipped.address) == UNKNOWN


def test_slots_take_turns_and_the_newest_counts_past_the_last_number(device, ladder):
    teach(device, ladder.lessons)
    slots = [None, None]
    for turn in range(4):
        slot, content = sealed(device, *slots)
        assert slot == turn % 2
        slots[slot] = content
        assert device.newest(*slots) == content.address
    device.words[2] = 2**32 - 1  # where a sequence number begins again
    _, first = sealed(device)
    assert first.memory[2] == 1


def test_what_is_learned_is_what_classifies(device, ladder):
    learner = Learner(ladder.side)
    readings = read(ladder.model, ladder.side, ladder.lessons.test_counts)
    own = [device.classify(counts) for counts in ladder.lessons.test_counts]
    np.testing.assert_array_equal(own, learner.classes(readings))
    misaligned = device.words.ctypes.data + 1
    assert device.c.model_learn_classify(misaligned % 2**31, None, None) == BAD_ARGUMENT


def test_more_than_the_flash_reserved_is_refused_by_planner_and_compiler(ladder, ladder_project):
    small = Target("our board", target_of_core("m4").core, flash_bytes=40_000, arena_bytes=200_000)
    with pytest.raises(DoesNotFitError, match=r"46,980 of 40,000 B of flash .* learn by head"):
        fit_learning(ladder.model, ladder.side, small)
    tight = replace(small, flash_bytes=200_000, arena_bytes=70_000)
    with pytest.raises(DoesNotFitError, match="beside learning by repnet_one_way"):
        fit_learning(ladder.model, ladder.side, tight).require()
    close = replace(tight, arena_bytes=80_000)
    assert fit_learning(ladder.model, ladder.side, close).require().arena.nbytes < 16_000
    flags = ["-DMODEL_LEARN_SLOT_RESERVED=8192", "-I.", "-Ifedtiny_nn/include", "-fsyntax-only"]
    done = subprocess.run(
        ["gcc", *flags, "learn.c"], cwd=ladder_project, capture_output=True, encoding="utf-8"
    )
    assert done.returncode != 0
    assert "negative" in done.stderr


def test_what_needs_the_backbones_gradient_is_refused(ladder):
    with pytest.raises(AdaptError, match="on the device learn by head or repnet_one_way"):
        side_net(ladder.trained, ladder.model, MethodName.FULL, 0)


def test_a_project_that_does_not_learn_has_nothing_of_it(ladder, tmp_path):
    counts, names = synthetic.counts(ladder.model, 1), synthetic.interface(ladder.model)
    export(lower(ladder.model), tmp_path / "plain", counts, names, compiled=False)
    assert not [path for path in (tmp_path / "plain").rglob("*") if "learn" in path.name]
    with pytest.raises(FedTinyError, match="no project that learns"):
        learned.check(tmp_path / "plain")


@pytest.mark.firmware
def test_sanitizers_see_nothing(project):
    found = learned.check(project, "sanitize-learn")
    assert (found.lessons, found.mismatches) == (STEPS, 0)


@pytest.mark.firmware
@pytest.mark.parametrize("machine", ["qemu-m4", "qemu-m7", "qemu-m55"])
def test_boards_learn_the_same_bits(machine, ladder, ladder_project):
    toolchain.require("arm-none-eabi-gcc")
    found = learned.emulate(ladder_project, qemu.MACHINES[machine])
    assert (found.learned.lessons, found.learned.mismatches) == (STEPS, 0)
    np.testing.assert_array_equal(np.float32(found.learned.losses), ladder.expected.losses)
    assert found.learned.correct == ladder.expected.correct
    assert found.window_instructions > found.classify_instructions > found.update_instructions > 0
    assert 0 < found.stack_bytes < 4096
