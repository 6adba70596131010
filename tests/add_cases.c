/* SPDX-License-Identifier: Apache-2.0
 *
 * Additions with shifts beside the scalar arithmetic of one value at a time: prints how many of
 * their bytes differ.
 */
#include "board.h"
#include "fedtiny_nn_internal.h"
static int8_t a[4099], b[4099], o[4099];
static int32_t tables[512];
static uint32_t seed = 7;

static uint32_t rnd(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static int32_t multiplier(void)
{
    return (int32_t)((UINT32_C(1) << 30) + rnd() * 60);
}

int main(void)
{
    const cmsis_nn_context ctx = {tables, sizeof tables};
    for (int32_t i = 0; i < 4099; i++) {
        a[i] = (int8_t)rnd();
        b[i] = (int8_t)rnd();
    }
    uint32_t bad = 0;
    for (int32_t k = 0; k < 40; k++) {
        const int32_t n = (int32_t)(rnd() % 4099);
        const int32_t m1 = multiplier(), m2 = multiplier(), m3 = multiplier();
        const int32_t s1 = -(int32_t)(rnd() % 5), s2 = -(int32_t)(rnd() % 5);
        const int32_t s3 = -17 - (int32_t)(rnd() % 3);
        const int32_t lo = k % 3 ? -128 : -100, hi = k % 4 ? 127 : 90;
        const int st = fedtiny_elementwise_add_s8(&ctx, a, b, 5, m1, s1, -9, m2, s2, 20, o, -7, m3,
                                                  s3, lo, hi, n);
        const fedtiny_requantizer to = {m3, s3, -7, lo, hi};
        bad += st != 0;
        for (int32_t i = 0; i < n; i++) {
            const int32_t x = fedtiny_requantize((a[i] + 5) * (1 << 20), m1, s1);
            const int32_t y = fedtiny_requantize((b[i] - 9) * (1 << 20), m2, s2);
            bad += o[i] != fedtiny_requantize_s8(x + y, &to);
        }
    }
    board_print_u32(bad);
    board_print("\n");
    return 0;
}
