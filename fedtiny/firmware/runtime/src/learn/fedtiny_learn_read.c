/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_learn.h"
#include "fedtiny_learn_places.h"

void fedtiny_learn_read(const fedtiny_learn_net *net, int32_t step, int8_t *arena)
{
    for (int32_t k = 0; k < net->rung_count; k++) {
        const fedtiny_learn_rung *const rung = &net->rungs[k];
        if (rung->step == step) {
            float *const pooled = fedtiny_learn_floats(arena, rung->pooled);
            fedtiny_learn_pool_s8(&rung->pool, arena + rung->map, pooled);
        }
    }
    if (step == net->features_step) {
        float *const x = fedtiny_learn_floats(arena, net->x);
        fedtiny_learn_pool_s8(&net->features, arena + net->features_map, x);
    }
}
