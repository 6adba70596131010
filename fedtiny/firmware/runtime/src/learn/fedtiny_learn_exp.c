/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fedtiny_learn.h"

/* e^x = 2^k e^r with |r| <= ln(2) / 2; ln(2) in two parts, of which the first times k is exact. */
#define LOWEST (-87.0f)
#define LOG2_E 1.44269504f
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)

static float power_of_two(int32_t k)
{
    const uint32_t bits = (uint32_t)(k + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

float fedtiny_learn_exp(float x)
{
    if (!(x >= LOWEST)) {
        return 0.0f;
    }
    const int32_t k = (int32_t)(x * LOG2_E - 0.5f);
    const float high = x - (float)k * LN2_HIGH;
    const float r = high - (float)k * LN2_LOW;
    float sum = 1.0f / 720.0f;
    sum = sum * r + 1.0f / 120.0f;
    sum = sum * r + 1.0f / 24.0f;
    sum = sum * r + 1.0f / 6.0f;
    sum = sum * r + 0.5f;
    sum = sum * r + 1.0f;
    sum = sum * r + 1.0f;
    return sum * power_of_two(k);
}
