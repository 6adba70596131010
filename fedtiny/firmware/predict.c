/* Linked with an exported model into a shared library: what fedtiny.firmware.load calls. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "model.h"

/* Sizes, in the order of the fields of fedtiny.firmware.loaded._Sizes. */
const int32_t predict_sizes[] = {
    MODEL_INPUT_CHANNELS, MODEL_INPUT_HEIGHT, MODEL_INPUT_WIDTH, MODEL_CLASSES,
    MODEL_ARENA_BYTES,    MODEL_ARENA_ALIGNMENT, MODEL_OUTPUT_ZERO_POINT,
};

const double predict_output_scale = MODEL_OUTPUT_SCALE;

int32_t predict_init(void)
{
    return model_init();
}

const char *predict_label(int32_t k)
{
    return model_labels[k];
}

const char *predict_step(int32_t status)
{
    const int32_t step = MODEL_FAILED_STEP(status);
    return step < 0 ? NULL : model_step_names[step];
}

/*
 * counts: windows x MODEL_INPUT_VALUES; arena: MODEL_ARENA_BYTES, aligned; logits: windows x
 * MODEL_CLASSES. Returns MODEL_OK, or the status of the first window that failed.
 */
int32_t predict_logits(const int16_t *counts, int64_t windows, int8_t *arena, int8_t *logits)
{
    for (int64_t i = 0; i < windows; i++) {
        int32_t status = model_quantize_input(counts + i * MODEL_INPUT_VALUES, model_input(arena));
        if (status == MODEL_OK) {
            status = model_invoke(arena);
        }
        if (status != MODEL_OK) {
            return status;
        }
        memcpy(logits + i * MODEL_CLASSES, model_output(arena), MODEL_CLASSES);
    }
    return MODEL_OK;
}
