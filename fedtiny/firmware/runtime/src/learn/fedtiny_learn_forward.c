/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_learn.h"
#include "fedtiny_learn_places.h"

static void climb(const fedtiny_learn_net *net, const float *values, int8_t *arena)
{
    float *const ladder = fedtiny_learn_floats(arena, net->ladder);
    for (int32_t m = 0; m < net->middle; m++) {
        ladder[m] = 0.0f;
    }
    for (int32_t k = 0; k < net->rung_count; k++) {
        const fedtiny_learn_rung *const rung = &net->rungs[k];
        fedtiny_learn_conv_forward(&rung->conv, fedtiny_learn_floats(arena, rung->pooled),
                                   values + rung->weight, values + rung->bias, ladder,
                                   fedtiny_learn_bytes(arena, rung->active));
    }
    const fedtiny_learn_conv *const conv = &net->rungs[0].conv;
    const float share = 1.0f / (float)(conv->height * conv->width);
    for (int32_t m = 0; m < net->middle; m++) {
        ladder[m] *= share;
    }
}

float *fedtiny_learn_forward(const fedtiny_learn_net *net, const float *values, int8_t *arena)
{
    float *const x = fedtiny_learn_floats(arena, net->x);
    float *const logits = fedtiny_learn_floats(arena, net->logits);
    if (net->rung_count > 0) {
        const float *const ladder = fedtiny_learn_floats(arena, net->ladder);
        climb(net, values, arena);
        fedtiny_learn_linear_forward(net->feature_count, net->middle, values + net->out_weight,
                                     values + net->out_bias, ladder, x, 1);
    }
    fedtiny_learn_linear_forward(net->classes, net->feature_count, values + net->head_weight,
                                 values + net->head_bias, x, logits, 0);
    return logits;
}
