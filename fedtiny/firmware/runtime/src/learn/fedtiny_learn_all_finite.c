/* SPDX-License-Identifier: Apache-2.0 */
#include <float.h>

#include "fedtiny_learn.h"

int32_t fedtiny_learn_all_finite(const float *values, int32_t count)
{
    for (int32_t k = 0; k < count; k++) {
        if (!(values[k] >= -FLT_MAX && values[k] <= FLT_MAX)) {
            return 0;
        }
    }
    return 1;
}
