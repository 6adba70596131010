/* The smallest program around a model: what all of it takes of a board, start-up code included. */
#include "model.h"

static int8_t arena[MODEL_ARENA_BYTES] __attribute__((aligned(MODEL_ARENA_ALIGNMENT)));

/* A sensor's driver fills it, and reads the label. */
int16_t counts[MODEL_INPUT_VALUES];
volatile int32_t label;

int main(void)
{
    if (model_init() != MODEL_OK) {
        return 1;
    }
    for (;;) {
        label = model_classify(counts, arena);
    }
}
