/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_code.h"

#define PRECISION 12
#define LEAST (1u << 24)

/* One channel of one row of pixels into its rows of cells; inlined where the channels are one. */
static inline void row_into_cells(const int8_t *table, const uint8_t *pixels, size_t cells,
                                  size_t channels, int8_t *out) {
    for (; cells > 0; cells--) {
        out[0] = table[pixels[0]];
        out[channels] = table[pixels[channels]];
        out[2 * channels] = table[pixels[2 * channels]];
        out[3 * channels] = table[pixels[3 * channels]];
        pixels += FEDTINY_CODE_CELL * channels;
        out += FEDTINY_CODE_CELL * FEDTINY_CODE_CELL * channels;
    }
}

void fedtiny_code_input(const int8_t *input_of, const uint8_t *picture, size_t height, size_t width,
                        size_t channels, int8_t *input) {
    const size_t cells = width / FEDTINY_CODE_CELL;
    for (size_t row = 0; row < height; row++, picture += width * channels) {
        const size_t inside = row % FEDTINY_CODE_CELL; /* its row of the cells */
        int8_t *out =
            input + ((row - inside) * width + inside * FEDTINY_CODE_CELL) * channels;
        if (channels == 1) {
            row_into_cells(input_of, picture, cells, 1, out);
            continue;
        }
        for (size_t channel = 0; channel < channels; channel++) {
            row_into_cells(input_of + 256 * channel, picture + channel, cells, channels,
                           out + channel);
        }
    }
}

typedef struct {
    uint64_t low; /* below 2^33: bit 32 is a carry into bytes that wait */
    uint32_t range;
    uint32_t waiting; /* bytes that a carry may change: one of any value, then 0xff */
    uint8_t first;    /* of them */
    uint8_t begun;    /* the very first byte is always 0, and is left out */
    uint8_t *out;
    size_t size, written;
} encoder;

static void emit(encoder *e, uint8_t byte) {
    if (e->begun && e->written < e->size) {
        e->out[e->written++] = byte;
    }
    e->begun = 1;
}

static void shift_out(encoder *e) {
    uint8_t carry = (uint8_t)(e->low >> 32);
    if (carry || e->low < 0xff000000u) {
        emit(e, (uint8_t)(e->first + carry));
        for (; e->waiting > 1; e->waiting--) {
            emit(e, (uint8_t)(0xff + carry));
        }
        e->waiting = 0;
        e->first = (uint8_t)(e->low >> 24);
    }
    e->waiting++;
    e->low = (e->low & 0x00ffffffu) << 8;
}

static void put(encoder *e, const uint16_t *table, uint8_t symbol) {
    uint32_t step = e->range >> PRECISION;
    e->low += (uint64_t)step * table[symbol];
    e->range = step * (uint32_t)(table[symbol + 1] - table[symbol]);
    while (e->range < LEAST) {
        shift_out(e);
        e->range <<= 8;
    }
}

/* The shortest bytes whose every continuation lies in the interval. */
static void finish(encoder *e) {
    uint64_t end = e->low + e->range;
    int kept = 1;
    for (; kept < 4; kept++) {
        uint64_t step = (uint64_t)1 << (32 - 8 * kept);
        uint64_t value = (e->low + step - 1) & ~(step - 1);
        if (value + step <= end) {
            e->low = value;
            break;
        }
    }
    for (int i = 0; i <= kept; i++) {
        shift_out(e);
    }
}

size_t fedtiny_code_encode(const fedtiny_code *code, const int8_t *latent, uint8_t *out,
                           size_t size) {
    encoder e = {0, 0xffffffffu, 1, 0, 0, out, size, 0};
    const uint16_t *table = code->cumulative;
    for (size_t map = 0; map < code->maps && e.written < size; map++) {
        for (size_t i = 0; i < code->positions; i++) {
            put(&e, table, code->symbol_of[latent[i * code->maps + map] + 128]);
        }
        table += code->symbols + 1;
    }
    finish(&e);
    return e.written;
}

typedef struct {
    uint32_t code, range;
    uint32_t unknown; /* the code is at most this much larger */
    const uint8_t *bytes;
    size_t left;
} decoder;

static void shift_in(decoder *d) {
    d->code <<= 8;
    if (d->left > 0) {
        d->code |= *d->bytes++;
        d->left--;
        d->unknown <<= 8; /* 0: bytes go missing at the end only */
    } else {
        d->unknown = d->unknown >> 24 ? 0xffffffffu : d->unknown << 8 | 0xffu;
    }
}

/* The next symbol; -1 if the bytes do not determine it. */
static int get(decoder *d, const uint16_t *table) {
    uint32_t step = d->range >> PRECISION, end = step << PRECISION;
    if (d->code >= end) {
        return -1; /* no encoder's */
    }
    uint64_t most = (uint64_t)d->code + d->unknown;
    uint32_t here = d->code / step, last = (most < end ? (uint32_t)most : end - 1) / step;
    int symbol = 0;
    while (table[symbol + 1] <= here) {
        symbol++;
    }
    if (last >= table[symbol + 1]) {
        return -1;
    }
    d->code -= step * table[symbol];
    d->range = step * (uint32_t)(table[symbol + 1] - table[symbol]);
    while (d->range < LEAST) {
        d->range <<= 8;
        shift_in(d);
    }
    return symbol;
}

uint16_t fedtiny_code_decode(const fedtiny_code *code, const uint8_t *bytes, size_t size,
                             uint8_t *symbols) {
    decoder d = {0, 0xffffffffu, 0, bytes, size};
    const uint16_t *table = code->cumulative;
    for (int i = 0; i < 4; i++) {
        shift_in(&d);
    }
    for (uint16_t map = 0; map < code->maps; map++) {
        for (size_t i = 0; i < code->positions; i++) {
            int symbol = get(&d, table);
            if (symbol < 0) {
                return map;
            }
            *symbols++ = (uint8_t)symbol;
        }
        table += code->symbols + 1;
    }
    return code->maps;
}
