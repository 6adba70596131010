/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_learn.h"

int32_t fedtiny_learn_argmax(const float *values, int32_t count)
{
    int32_t best = 0;
    for (int32_t k = 1; k < count; k++) {
        if (values[k] > values[best]) {
            best = k;
        }
    }
    return best;
}
