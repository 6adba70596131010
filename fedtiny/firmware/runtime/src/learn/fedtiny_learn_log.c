/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fedtiny_learn.h"

#define LN2 0.693147181f
#define SQRT2 1.41421356f
#define MANTISSA UINT32_C(0x007FFFFF)
#define ONE UINT32_C(0x3F800000)

/* x = 2^k m with m in [sqrt(2) / 2, sqrt(2)]; log m = 2 artanh t, t = (m - 1) / (m + 1). */
float fedtiny_learn_log(float x)
{
    uint32_t bits;
    float m;
    memcpy(&bits, &x, sizeof bits);
    int32_t k = (int32_t)(bits >> 23) - 127;
    bits = (bits & MANTISSA) | ONE;
    memcpy(&m, &bits, sizeof m);
    if (m > SQRT2) {
        m *= 0.5f;
        k++;
    }
    const float t = (m - 1.0f) / (m + 1.0f);
    const float square = t * t;
    float sum = 1.0f / 9.0f;
    sum = sum * square + 1.0f / 7.0f;
    sum = sum * square + 1.0f / 5.0f;
    sum = sum * square + 1.0f / 3.0f;
    sum = sum * square + 1.0f;
    return (float)k * LN2 + 2.0f * t * sum;
}
