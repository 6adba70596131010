/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "fedtiny_learn.h"

float fedtiny_learn_softmax(int32_t classes, int32_t label, float *logits)
{
    if (!fedtiny_learn_all_finite(logits, classes)) {
        return INFINITY;
    }
    const float top = logits[fedtiny_learn_argmax(logits, classes)];
    const float own = logits[label];
    float total = 0.0f;
    for (int32_t k = 0; k < classes; k++) {
        logits[k] = fedtiny_learn_exp(logits[k] - top);
        total += logits[k];
    }
    for (int32_t k = 0; k < classes; k++) {
        logits[k] = logits[k] / total - (k == label ? 1.0f : 0.0f);
    }
    return fedtiny_learn_log(total) + (top - own);
}
