"""Trained codecs: both halves agree, drops and masks do what they say, exports match."""

import ctypes
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedtiny import toolchain
from fedtiny.boards import host, kernels, qemu
from fedtiny.codecs.blocks import Receiver, crc16, split
from fedtiny.codecs.emulated import encode
from fedtiny.codecs.encoders import PNC_KEPT, VAE_KEPT, WIDTH, pnc_encoder, vae_encoder
from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.exporting import export_codec
from fedtiny.codecs.folding import fold, folded_shape, picture_shape
from fedtiny.codecs.latent_code import ABSENT
from fedtiny.codecs.native import SOURCES, NativeCode
from fedtiny.codecs.salient_order import BASE, SalientOrder
from fedtiny.codecs.server.classifying import classify, train_classifier
from fedtiny.codecs.server.federated import Rounds, dealt, train_encoder
from fedtiny.codecs.server.fitting import Lesson, Pictures
from fedtiny.codecs.server.networks import ContextModel
from fedtiny.codecs.server.pnc import Drop, JointLoss, Recipe, salient_drop, tail_drop, train_pnc
from fedtiny.codecs.server.sparse_encoder import SparseEncoder
from fedtiny.codecs.server.vae import Centres, VaeRecipe, prices_of, train_vae
from fedtiny.data.dataset import Dataset, SensorSpec
from fedtiny.quant import reference

FEATURES = 20
"""So many that a code takes more than one block."""


def drawn(number, seed):
    """Bright squares in one of four corners, and noise: the corner is the class."""
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 4, number)
    x = draw.integers(0, 80, (number, 1, 28, 28))
    for picture, corner in zip(x, y, strict=True):
        row, column = 3 + 14 * (corner // 2), 3 + 14 * (corner % 2)
        picture[0, row : row + 8, column : column + 8] += draw.integers(60, 170)
    labels = tuple("abcd")
    sensor = SensorSpec(("grey",), ("1",), (1.0,))
    return Dataset(x.astype(np.uint8), y, np.zeros(number, np.int64), labels, sensor)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that wait for each other are slow where cores are few."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures():
    return Pictures.of(drawn(320, 0), drawn(60, 1))


@pytest.fixture(scope="module")
def classifier(pictures):
    return train_classifier(pictures[0], Lesson(4))


@pytest.fixture(scope="module")
def pnc(pictures, classifier):
    recipe = Recipe(joint_epochs=15, bits=5, features=FEATURES)
    return train_pnc(pictures[0], classifier, recipe, 0)


@pytest.fixture(scope="module")
def networks(pictures):
    return train_vae(pictures[0], VaeRecipe(2, 3, epochs=8), 0)


def test_a_teacher_says_what_is_right(pictures, classifier):
    part = Pictures(pictures[0].data.take(np.arange(128)), pictures[0].normalization)
    recipe = VaeRecipe(2, 2, epochs=1)
    taught, told = (train_vae(part, recipe, 0, teacher) for teacher in (classifier, None))
    first = [one.encoder.tensor("first.weight") for one in (taught, told)]
    assert not torch.equal(*first)


@pytest.fixture(scope="module")
def vae(networks, pictures):
    return networks.codec(pictures[0])


def accuracy(codec, test, budget):
    codes = [codec.encode(x, budget) for x in test.data.x]
    found = [int(codec.decode(code).argmax()) for code in codes]
    return float(np.mean(np.array(found) == test.data.y))


def test_pnc_answers_from_any_prefix(pnc, pictures):
    test = pictures[1]
    whole = [pnc.encode(x, 4096) for x in test.data.x]
    everything = np.full(len(whole), FEATURES * pnc.half.code.positions)
    assert accuracy(pnc, test, 4096) == pnc.right(test, everything).mean() > 0.9
    size = int(np.median([len(code) for code in whole]) // 2)
    sent = np.array([len(pnc.half.code.determined(code[:size])) for code in whole])
    assert 0 < sent.min() < everything[0]
    assert (sent % pnc.half.code.positions).any()  # a feature in part
    assert accuracy(pnc, test, size) == pnc.right(test, sent).mean()
    assert all(pnc.payload_bytes(code) == len(code) for code in whole)
    with pytest.raises(CodecError, match="say nothing yet"):
        pnc.decode(b"")
    with pytest.raises(CodecError, match="is expected"):
        pnc.encode(test.data.x[0, :, :8], 64)


def test_lost_and_shuffled_blocks_are_fewer_features(pnc, pictures):
    x = pictures[1].data.x[0]
    code = pnc.encode(x, 4096)
    receiver = Receiver(5)
    blocks = split(code, 5)
    for block in reversed(blocks[:-1]):
        receiver.offer(block)
    assert receiver.code == code[: 60 * (len(blocks) - 1)]
    assert np.array_equal(pnc.decode(receiver.code), pnc.decode(pnc.encode(x, len(receiver.code))))


def test_the_vae_codec_has_one_rate(vae, pictures):
    test = pictures[1]
    assert accuracy(vae, test, 4096) == vae.right(test).mean() > 0.9
    code = vae.encode(test.data.x[0], 4096)
    with pytest.raises(CodecError, match="rate is fixed"):
        vae.encode(test.data.x[0], len(code) - 1)
    with pytest.raises(CodecError, match=r"hold 0 of 2 maps"):
        vae.decode(code[:2])
    symbols = vae.half.symbols(test.data.x)
    table = np.array([vae.half.code.bits(one) for one in symbols])
    coded = np.array([len(vae.encode(x, 4096)) for x in test.data.x])
    assert (coded <= table / 8 * 1.02 + 8).all()
    assert vae.context_bits(symbols).shape == table.shape
    assert set(symbols.ravel().tolist()) == {0, 1, 2}


def test_every_joint_loss_and_drop_trains(pictures, classifier):
    part = Pictures(pictures[0].data.take(np.arange(128)), pictures[0].normalization)
    recipes = [Recipe(joint=joint, joint_epochs=1) for joint in JointLoss]
    recipes.append(Recipe(alone_weight=0.3, joint_epochs=1))
    recipes += [Recipe(drop=drop, joint_epochs=1) for drop in (Drop.SALIENT, *[Drop.NOTHING] * 2)]
    trained = [
        train_pnc(part, classifier, recipe, 0)
        .server.decoder.out[-1]
        .weight.detach()
        .numpy()
        .tobytes()
        for recipe in recipes
    ]
    assert len(set(trained)) == 6
    assert trained[-1] == trained[-2]  # a function of the seed


def test_tail_drop_leaves_the_first_symbols():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kept = tail_drop(torch.ones(5000, 5, 1, 2)).flatten(1)
    assert set(kept.unique().tolist()) == {ABSENT, 1.0}
    assert (kept.diff() <= 0).all()
    counts = np.bincount((kept > 0).sum(1).numpy(), minlength=11)
    assert not counts[:2].any()  # a whole feature at least
    assert np.abs(counts[2:] - 5000 / 9).max() < 100  # L is uniform


def test_dropped_symbols_are_those_that_a_shorter_code_lacks(pnc):
    code = pnc.half.code
    order, draw = SalientOrder(code), np.random.default_rng(4)
    symbols = draw.integers(0, 32, (code.shape[0], code.positions)).astype(np.uint8)
    data = order.encode(symbols)
    patterns = set()
    for size in range(len(data) + 1):
        found, arrived = order.decode(data[:size])
        assert np.array_equal(found, symbols * arrived)
        assert arrived[:BASE].all() or not arrived[BASE:].any()
        patterns.add(arrived.tobytes())
    assert arrived.all()
    assert np.array_equal(order.values(data), code.values(symbols))
    maps = torch.from_numpy(symbols.astype(np.float32) + 1).view(1, *code.shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kept = salient_drop(maps.repeat(20_000, 1, 1, 1)).numpy() > 0
    assert kept[:, 0].all()  # the first map always is
    trained = {one.reshape(arrived.shape).tobytes() for one in kept}
    assert {one for one in patterns if np.frombuffer(one, bool)[: code.positions].all()} <= trained


@given(data=st.binary(max_size=80))
def test_any_bytes_are_symbols_in_the_order_by_content(pnc, data):
    symbols, arrived = SalientOrder(pnc.half.code).decode(data)
    assert not symbols[~arrived].any()


def test_centres_are_nearest_forward_and_soft_backward():
    centres, z = Centres(3), torch.tensor([[[[-1.2, 0.1, 0.9]]]], requires_grad=True)
    quantised, shares, symbols = centres(z)
    assert symbols.ravel().tolist() == [0, 1, 2]
    assert torch.equal(quantised.ravel(), centres.values[symbols.ravel()])
    quantised.sum().backward(retain_graph=True)
    soft = (shares * centres.values[None, :, None, None, None]).sum(1)
    (wanted,) = torch.autograd.grad(soft.sum(), z)
    assert torch.equal(z.grad, wanted)
    assert z.grad.abs().min() > 0


def test_the_context_model_sees_only_what_came_before():
    torch.manual_seed(1)
    model, one_hot = ContextModel(3), torch.rand(1, 3, 3, 5, 5)
    before = model(one_hot)
    at = (1, 2, 2)
    one_hot[0, :, *at] += 1.0
    changed = (model(one_hot) != before).any(1)[0].flatten().numpy()
    position = np.ravel_multi_index(at, (3, 5, 5))
    assert not changed[: position + 1].any()
    assert changed[position + 1 :].any()


def test_encoders_are_small(pnc, vae):
    shape = (1, 28, 28)
    ours = (pnc, pnc_encoder(shape, FEATURES), PNC_KEPT), (vae, vae_encoder(shape, 2), VAE_KEPT)
    for codec, graph, kept in ours:
        first, code = codec.half.encoder.layers
        assert codec.half.parameters <= WIDTH * 17 + kept + graph.shapes["code"][0]
        assert 0 < first.weight.nnz <= WIDTH * 16
        assert 0 < code.weight.nnz <= min(kept, int(np.prod(code.weight.shape)))


def test_weights_leave_while_the_lesson_lasts_and_do_not_come_back():
    encoder = SparseEncoder(pnc_encoder((1, 8, 8)), 0, 400)
    size, steps, counts = WIDTH * 16 * 9, 100, []
    for step in range(steps):
        gone = ~encoder.masks["code"].to_bool()
        with torch.no_grad():
            encoder.tensor("code.weight").add_(0.1)  # a step that moves all of them
        encoder.prune(step, steps)
        weight = encoder.tensor("code.weight").detach().numpy()
        assert not weight[gone].any()
        counts.append(encoder.masks["code"].nnz)
        assert np.count_nonzero(weight) <= counts[-1]
    assert counts[0] == size > counts[20] > counts[40] == counts[-1] == 400
    assert set(encoder.masks) == {"code"}
    before = encoder.masks["code"].indices.copy()
    with torch.no_grad():
        encoder.tensor("code.weight").add_(0.1)
    encoder.stay(0, 1)
    assert np.count_nonzero(encoder.tensor("code.weight").detach().numpy()) <= 400
    assert np.array_equal(encoder.masks["code"].indices, before)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_folded_into_cells_alike_in_python_and_c(channels, tmp_path):
    draw = np.random.default_rng(channels)
    x = draw.integers(0, 256, (1, channels, 8, 12)).astype(np.uint8)
    table = draw.integers(-128, 128, (channels, 256)).astype(np.int8)
    cells = fold(x)
    assert cells.shape == (1, *folded_shape(x.shape[1:]))
    assert picture_shape(cells.shape[1:]) == x.shape[1:]
    assert cells[0, (2 * 4 + 3) * channels + channels - 1, 1, 2] == x[0, -1, 4 + 2, 8 + 3]
    found = folded_by_c(table, x[0].transpose(1, 2, 0), tmp_path)
    wanted = table[np.arange(16 * channels) % channels, cells[0].transpose(1, 2, 0)]
    assert np.array_equal(found, wanted)
    with pytest.raises(CodecError, match="multiples of 4"):
        folded_shape((1, 28, 30))


def folded_by_c(table, picture, directory):
    """int8 (H/4, W/4, 16·C) of uint8 (H, W, C) by fedtiny_code_input, a byte beyond guarded."""
    library = directory / "code.so"
    flags = ["-O2", "-shared", "-fPIC", f"-I{SOURCES}"]
    toolchain.run_tool(
        ["gcc", *flags, str(SOURCES / "fedtiny_code.c"), "-o", str(library)], directory, 120
    )
    height, width, channels = picture.shape
    found = np.full(picture.size + 1, 77, np.int8)
    picture, table = np.ascontiguousarray(picture), np.ascontiguousarray(table)
    addresses = [ctypes.c_void_p(one.ctypes.data) for one in (table, picture)]
    sides = map(ctypes.c_size_t, (height, width, channels))
    ctypes.CDLL(str(library)).fedtiny_code_input(
        *addresses, *sides, ctypes.c_void_p(found.ctypes.data)
    )
    assert found[-1] == 77
    return found[:-1].reshape(height // 4, width // 4, 16 * channels)


def test_the_context_model_is_one_distribution_over_whole_latents():
    """By the chain rule: what it says of all 2⁶ latents of six places sums up to 1."""
    torch.manual_seed(2)
    latents = torch.tensor(list(product((0, 1), repeat=6))).view(-1, 2, 1, 3)
    prices = prices_of(ContextModel(2).double(), latents, 2)
    bits = prices.gather(1, latents[:, None]).sum((1, 2, 3, 4))
    assert float((2 ** -bits.detach()).sum()) == pytest.approx(1)


@pytest.fixture(scope="module")
def project(pnc, pictures, tmp_path_factory):
    directory = tmp_path_factory.mktemp("codec") / "firmware"
    report = export_codec(pnc.half, directory, pictures[1].data.x[:16])
    assert report.flash_bytes + pnc.half.table_bytes <= 12 * 1024
    assert report.arena_bytes <= 64 * 1024
    return directory


def test_the_exported_encoder_and_coder_match_on_the_host(project, pnc, pictures, tmp_path):
    result = host.check(project)
    assert (result.vectors, result.mismatches) == (16, 0)
    native = NativeCode(pnc.half.code, tmp_path)
    x = pictures[1].data.x[:16]
    latents = pnc.half.latents(x)
    assert [native.encode(one, 4096) for one in latents] == [pnc.half.encode(one) for one in x]


def test_a_table_quantizes_pixels_as_the_model_does(pnc, vae, pictures):
    x = pictures[1].data.x[:16]
    for half in (pnc.half, vae.half):
        cells = fold(x)
        wanted = reference.quantize_input(half.encoder, cells.astype(np.int16))
        assert np.array_equal(half.input_of[0][cells.transpose(0, 2, 3, 1)], wanted)
        assert len(set(half.input_of[0].tolist())) > 200


def test_devices_train_the_encoder_and_nothing_else(networks, pictures):
    devices = dealt(pictures[0], 3, 5.0, 0)
    sizes = [np.bincount(one.data.y, minlength=4) for one in devices]
    assert np.array_equal(sum(sizes), np.bincount(pictures[0].data.y))
    assert len({tuple(size) for size in sizes}) == 3
    before = networks.encoder.tensor("first.weight").detach().clone()
    rounds = Rounds(rounds=2)
    found = train_encoder(networks, devices, rounds, 0)
    again = train_encoder(networks, devices, rounds, 0)
    assert found.encoder.masks["code"].nnz <= VAE_KEPT
    new = found.encoder.tensor("first.weight")
    assert torch.equal(networks.encoder.tensor("first.weight"), before)  # the server's is as it was
    assert torch.equal(new, again.encoder.tensor("first.weight"))
    assert not torch.equal(new, before)
    for frozen in ("centres", "classifier"):
        ours, theirs = getattr(found, frozen).state_dict(), getattr(networks, frozen).state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert found.codec(pictures[0]).right(pictures[1]).mean() > 0.9


def test_one_device_that_trains_alone_is_the_average(networks, pictures):
    alone = train_encoder(networks, [pictures[0]], Rounds(rounds=1), 0)
    twice = train_encoder(networks, [pictures[0]] * 2, Rounds(rounds=1, lr=1e-9), 0)
    assert not torch.equal(
        alone.encoder.tensor("code.weight"), networks.encoder.tensor("code.weight")
    )
    difference = twice.encoder.tensor("code.weight") - networks.encoder.tensor("code.weight")
    assert float(difference.detach().abs().max()) < 1e-6  # nobody moved, nor did the average


@pytest.mark.firmware
@pytest.mark.parametrize("machine", ["qemu-m4", "qemu-m55"])
def test_boards_write_the_same_codes_and_blocks(project, pnc, pictures, machine, tmp_path):
    target, x = qemu.machine(machine), pictures[1].data.x[:16]
    compiled = kernels.compile_portable(target, tmp_path / "kernels")
    found = encode(target, project, x, compiled, tmp_path / "program")
    codes = [pnc.half.encode(one) for one in x]
    assert [(one.size, one.crc16) for one in found] == [(len(c), crc16(c)) for c in codes]
    blocks = [split(code, 5) for code in codes]
    assert [(one.blocks, one.blocks_crc16) for one in found] == [
        (len(parts), crc16(b"".join(parts))) for parts in blocks
    ]
    assert {one.maps for one in found} == {FEATURES}
    assert all(one.encoder_instructions > one.coder_instructions > 0 for one in found)


def test_a_classifier_takes_counts(classifier, pictures):
    test = pictures[1]
    logits = classify(classifier, test)(test.data.x)
    assert (logits.argmax(1) == test.data.y).mean() > 0.9
