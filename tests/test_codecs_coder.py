"""Codes and blocks: Python and C write the same, an independent coder agrees, damage is refused."""

import binascii
from pathlib import Path

import constriction
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny import toolchain
from fedtiny.boards.native.library import STRICT_FLAGS
from fedtiny.codecs.blocks import MOST_BYTES, Receiver, Reply, crc16, split
from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.latent_code import Alphabet, LatentCode
from fedtiny.codecs.native import SOURCES, NativeCode
from fedtiny.codecs.range_coder import TOTAL

LATENTS = 100_000


def drawn_code(seed, shape=(4, 3, 3), symbols=6, skew=1.0):
    """A code with tables of its own for every map, the steeper the larger ``skew`` is."""
    draw = np.random.default_rng(seed)
    weights = np.exp(skew * draw.normal(size=(shape[0], symbols)))
    shares = weights / weights.sum(1, keepdims=True)
    counted = np.stack([draw.choice(symbols, 500, p=row) for row in shares])[None]
    of_int8 = np.sort(draw.integers(0, symbols, 256)).astype(np.uint8)
    of_int8[:symbols] = np.arange(symbols)  # every symbol is some value's
    alphabet = Alphabet(of_int8, np.arange(symbols, dtype=np.float32))
    return LatentCode.fitted(shape, alphabet, counted), shares


def drawn_symbols(shares, positions, number, seed=0):
    draw = np.random.default_rng(seed)
    columns = [draw.choice(len(row), (number, positions), p=row) for row in shares]
    return np.stack(columns, 1).astype(np.uint8)


def latents_of(symbols):
    """int8 (N, H·W·C) whose symbols these are: the first values are one each."""
    return (symbols.astype(np.int16) - 128).astype(np.int8).transpose(0, 2, 1)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    code, shares = drawn_code(3)
    return code, shares, NativeCode(code, tmp_path_factory.mktemp("codes"))


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sanitized")
    sources = [*sorted(SOURCES.glob("*.c")), Path(__file__).parent / "codec_cases.c"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", *STRICT_FLAGS, "-O1", "-g", *sanitizers, f"-I{SOURCES}"]
    program = directory / "codec_cases"
    toolchain.run_tool([*command, *map(str, sources), "-o", str(program)], directory, 120)
    return program


def run(program, code, latents, strings, directory):
    """(size, whether it came back) of every latent, (maps, whether a block) of every string."""
    sizes = (code.shape[0], code.positions, len(code.alphabet.values), len(latents), len(strings))
    parts = [np.array(sizes, "<u4").tobytes(), code.alphabet.of_int8.tobytes()]
    parts += [code.tables.tobytes(), latents.tobytes()]
    parts += [len(one).to_bytes(4, "little") + one for one in strings]
    (directory / "cases").write_bytes(b"".join(parts))
    toolchain.run_tool([str(program), "cases", "results"], directory, 120)
    found = np.fromfile(directory / "results", "<u4").reshape(-1, 2)
    return found[: len(latents)], found[len(latents) :]


def test_a_hundred_thousand_latents_come_back(sanitized, built, tmp_path):
    code, shares, _ = built
    symbols = drawn_symbols(shares, code.positions, LATENTS)
    found, _ = run(sanitized, code, latents_of(symbols), [], tmp_path)
    maps = np.arange(code.shape[0])[None, :, None]
    bits = -np.log2(code.frequencies[maps, symbols] / TOTAL).sum((1, 2))
    assert code.bits(symbols[0]) == pytest.approx(bits[0])
    assert len(found) == LATENTS
    assert found[:, 1].all()
    assert (found[:, 0] <= bits / 8 * 1.02 + 8).all()


def test_any_string_is_read_within_its_end(sanitized, built, tmp_path):
    code, shares, _ = built
    draw, strings = np.random.default_rng(4), [b""]
    for symbols in drawn_symbols(shares, code.positions, 3000, 5):
        whole = bytearray(code.encode(symbols))
        block = bytearray(split(bytes(whole), int(draw.integers(128)))[0])
        for one in (whole, block):
            strings += [bytes(one), bytes(one[: draw.integers(len(one))])]
            one[draw.integers(len(one))] ^= 1 << draw.integers(8)
            strings += [bytes(one), draw.bytes(int(draw.integers(80)))]
    _, found = run(sanitized, code, latents_of(symbols[None])[:0], strings, tmp_path)
    assert len(found) == len(strings)
    assert set(found[:, 0].tolist()) == {0, 1, 2, 3, 4}
    receivers = [Receiver(one[0] if one else 0).offer(one) for one in strings]
    assert [bool(x) for x in found[:, 1]] == [reply is not Reply.DAMAGED for reply in receivers]


@pytest.mark.parametrize("skew", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("number", [2, 64])
def test_python_and_c_write_the_same_bytes(skew, number, tmp_path):
    code, shares = drawn_code(5, (10, 7, 7), number, skew)
    native = NativeCode(code, tmp_path)
    for symbols in drawn_symbols(shares, code.positions, 8, 1):
        whole = code.encode(symbols)
        assert code.symbols(latents_of(symbols[None]))[0].tolist() == symbols.tolist()
        assert native.encode(latents_of(symbols[None])[0], 4096) == whole
        assert abs(8 * len(whole) - code.bits(symbols)) <= 16
        for size in range(0, len(whole) + 1, 11):
            assert native.encode(latents_of(symbols[None])[0], size) == whole[:size]
            found = code.decode(whole[:size])
            assert np.array_equal(found, symbols[: len(found)])
            assert np.array_equal(found, native.decode(whole[:size]))
        assert np.array_equal(code.decode(whole), symbols)


def test_carries_run_through_waiting_bytes(tmp_path):
    """Probable last symbols keep the interval at its top end, where carries are decided late."""
    alphabet = Alphabet(np.repeat(np.arange(2, dtype=np.uint8), 128), np.zeros(2, np.float32))
    code = LatentCode((1, 1, 600), alphabet, np.array([[1, TOTAL - 1]]))
    native = NativeCode(code, tmp_path)
    for rare in range(0, 600, 5):
        symbols = np.ones((1, 600), np.uint8)
        symbols[0, rare::97] = 0
        data = code.encode(symbols)
        latent = np.where(symbols[0] == 1, 0, -128).astype(np.int8)
        assert native.encode(latent, 4096) == data
        assert np.array_equal(native.decode(data), symbols)


def test_an_independent_range_coder_needs_as_many_bits(built):
    code, shares, _ = built
    models = [
        constriction.stream.model.Categorical(np.array(row, "f4") / TOTAL, perfect=False)
        for row in code.frequencies
    ]
    for symbols in drawn_symbols(shares, code.positions, 200, 2):
        oracle = constriction.stream.queue.RangeEncoder()
        for row, model in zip(symbols, models, strict=True):
            oracle.encode(row.astype(np.int32), model)
        assert abs(8 * len(code.encode(symbols)) - oracle.num_bits()) <= 64
        decoder = constriction.stream.queue.RangeDecoder(oracle.get_compressed())
        again = [decoder.decode(model, code.positions) for model in models]
        assert np.array_equal(again, code.decode(code.encode(symbols)))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_code_or_the_beginning_of_one(built, data):
    code, _, native = built
    found = code.decode(data)
    assert np.array_equal(found, native.decode(data))
    assert len(found) <= code.shape[0]
    assert found.size == 0 or found.max() < len(code.alphabet.values)


def test_tables_that_are_none_are_refused():
    alphabet = Alphabet.of_bits(1, 1.0, -128)
    for frequencies in ([[TOTAL, 0]], [[1, 1]], [[1, TOTAL - 2, 1]]):
        with pytest.raises(CodecError, match="frequencies"):
            LatentCode((1, 2, 2), alphabet, np.array(frequencies))
    with pytest.raises(CodecError, match="no value"):
        Alphabet(np.full(256, 2, np.uint8), np.zeros(2, np.float32))
    with pytest.raises(CodecError, match="2 to 64"):
        Alphabet.of_bits(7, 1.0, -128)


@given(st.binary(min_size=1, max_size=400), st.integers(0, 1000), st.randoms())
def test_blocks_in_any_order_and_twice_give_the_code(built, code, message, chance):
    blocks = split(code, message)
    assert built[2].blocks(code, message) == blocks
    sent = blocks * 2
    chance.shuffle(sent)
    receiver = Receiver(message)
    replies = [receiver.offer(block) for block in sent]
    assert receiver.code == code
    assert receiver.complete
    assert replies.count(Reply.ACCEPTED) == replies.count(Reply.DUPLICATE) == len(blocks)


@given(st.binary(min_size=1, max_size=400), st.data())
def test_lost_blocks_leave_a_prefix(code, data):
    blocks = split(code, 1)
    lost = data.draw(st.integers(0, len(blocks) - 1))
    receiver = Receiver(1)
    for index, block in enumerate(blocks):
        if index != lost:
            receiver.offer(block)
    assert receiver.code == code[: 60 * lost]
    assert not receiver.complete
    assert receiver.offer(blocks[lost]) is Reply.ACCEPTED  # sending goes on later
    assert receiver.code == code


@given(st.binary(min_size=1, max_size=130), st.data())
def test_a_damaged_block_is_refused(code, data):
    block = bytearray(data.draw(st.sampled_from(split(code, 5))))
    burst = data.draw(st.integers(1, 0xFFFF))  # a CRC-16 finds every burst of up to 16 bits
    at = data.draw(st.integers(0, 8 * len(block) - 16))
    whole = int.from_bytes(block, "big") ^ burst << at
    assert Receiver(5).offer(whole.to_bytes(len(block), "big")) is Reply.DAMAGED


@given(st.lists(st.binary(max_size=70), max_size=8), st.binary(min_size=1, max_size=200))
def test_any_blocks_give_a_prefix_of_something(noise, code):
    """Even a liar with good checksums: what it says is taken or refused, never raised."""
    receiver = Receiver(0)
    signed = [part + crc16(part).to_bytes(2, "big") for part in noise]
    for block in [*noise, *signed, *split(code, 0)]:
        assert receiver.offer(block) in Reply
    assert len(receiver.code) <= MOST_BYTES


def test_a_receiver_says_what_is_wrong():
    first, last = split(bytes(100), 3)
    receiver = Receiver(3)
    assert receiver.offer(split(b"x", 4)[0]) is Reply.OTHER_MESSAGE
    assert receiver.offer(last) is Reply.ACCEPTED
    assert receiver.offer(split(bytes(range(100)), 3)[1]) is Reply.CONTRADICTS
    assert receiver.offer(split(bytes(400), 3)[2]) is Reply.BEYOND_THE_END
    assert receiver.offer(split(bytes(60), 3)[0]) is Reply.CONTRADICTS
    assert receiver.offer(first) is Reply.ACCEPTED
    assert receiver.complete
    for size in (0, MOST_BYTES + 1):
        with pytest.raises(CodecError, match="bytes; blocks carry"):
            split(bytes(size), 0)
    assert crc16(b"any") == binascii.crc_hqx(b"any", 0xFFFF)
