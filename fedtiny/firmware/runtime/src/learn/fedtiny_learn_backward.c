/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "fedtiny_learn.h"
#include "fedtiny_learn_places.h"

static void descend(const fedtiny_learn_net *net, float *gradients, int8_t *arena)
{
    float *const ladder_gradient = fedtiny_learn_floats(arena, net->ladder_gradient);
    const fedtiny_learn_conv *const conv = &net->rungs[0].conv;
    const float share = 1.0f / (float)(conv->height * conv->width);
    for (int32_t m = 0; m < net->middle; m++) {
        ladder_gradient[m] *= share;
    }
    for (int32_t k = 0; k < net->rung_count; k++) {
        const fedtiny_learn_rung *const rung = &net->rungs[k];
        fedtiny_learn_conv_backward(&rung->conv, fedtiny_learn_floats(arena, rung->pooled),
                                    fedtiny_learn_bytes(arena, rung->active), ladder_gradient,
                                    gradients + rung->weight, gradients + rung->bias);
    }
}

void fedtiny_learn_backward(const fedtiny_learn_net *net, const float *values, float *gradients,
                            int8_t *arena)
{
    const float *const x = fedtiny_learn_floats(arena, net->x);
    const float *const logits_gradient = fedtiny_learn_floats(arena, net->logits);
    float *const x_gradient =
        net->rung_count > 0 ? fedtiny_learn_floats(arena, net->x_gradient) : NULL;
    fedtiny_learn_linear_backward(net->classes, net->feature_count, values + net->head_weight, x,
                                  logits_gradient, gradients + net->head_weight,
                                  gradients + net->head_bias, x_gradient);
    if (net->rung_count > 0) {
        fedtiny_learn_linear_backward(net->feature_count, net->middle, values + net->out_weight,
                                      fedtiny_learn_floats(arena, net->ladder), x_gradient,
                                      gradients + net->out_weight, gradients + net->out_bias,
                                      fedtiny_learn_floats(arena, net->ladder_gradient));
        descend(net, gradients, arena);
    }
}
