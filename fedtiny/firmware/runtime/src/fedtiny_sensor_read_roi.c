/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_sensor_internal.h"

arm_cmsis_nn_status fedtiny_sensor_read_roi(const fedtiny_sensor *sensor,
                                            const fedtiny_sensor_box *box, uint8_t *output)
{
    if (!fedtiny_sensor_is_valid(sensor) || !fedtiny_sensor_holds(sensor, box) || output == NULL) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    for (int32_t row = box->y; row < box->y + box->h; row++) {
        const uint16_t *line = sensor->line(sensor->context, row);
        if (line == NULL) {
            return FEDTINY_SENSOR_NO_LINE;
        }
        line += box->x * sensor->channels;
        for (int32_t i = 0; i < box->w * sensor->channels; i++) {
            *output++ = fedtiny_sensor_code(line[i], sensor->bits);
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}
