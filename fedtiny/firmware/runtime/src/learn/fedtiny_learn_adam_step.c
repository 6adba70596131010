/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "fedtiny_learn.h"

#define KEEP_FIRST 0.9f
#define KEEP_SECOND 0.999f
#define EPSILON 1e-8f

void fedtiny_learn_adam_step(fedtiny_learn_adam *adam, int32_t count, float scale, float *values,
                             float *gradients, float *first, float *second)
{
    adam->first_power *= KEEP_FIRST;
    adam->second_power *= KEEP_SECOND;
    const float rate = adam->rate / (1.0f - adam->first_power);
    const float correction = 1.0f / sqrtf(1.0f - adam->second_power);
    for (int32_t i = 0; i < count; i++) {
        const float g = gradients[i] * scale;
        first[i] = KEEP_FIRST * first[i] + (1.0f - KEEP_FIRST) * g;
        second[i] = KEEP_SECOND * second[i] + (1.0f - KEEP_SECOND) * g * g;
        values[i] -= rate * first[i] / (sqrtf(second[i]) * correction + EPSILON);
        gradients[i] = 0.0f;
    }
}
