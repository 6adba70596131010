/* The smallest program that learns with a model: what all of it takes of a board, start-up code
 * included. Two slots of flash are written by a driver that is not in it. */
#include "model_learn.h"

enum { BATCH = 16 };

static int8_t arena[MODEL_ARENA_BYTES] __attribute__((aligned(MODEL_ARENA_ALIGNMENT)));
static model_learner learner;

/* A sensor's driver fills the window, its wearer the label; a flash driver writes the slot. */
int16_t counts[MODEL_INPUT_VALUES];
volatile int32_t label;
const model_learned *volatile slots[2];
volatile int32_t slot;

int main(void)
{
    if (model_init() != MODEL_OK) {
        return 1;
    }
    for (;;) {
        const model_learned *const newest = model_learn_newest(slots[0], slots[1]);
        model_learn_begin(&learner, newest);
        while (learner.windows < BATCH) {
            model_learn(&learner, counts, label, arena);
        }
        model_learn_update(&learner);
        slot = model_learn_seal(&learner, slots[0], slots[1]);
        label = model_learn_classify(newest, counts, arena);
    }
}
