/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "fedtiny_learn.h"

void fedtiny_learn_linear_backward(int32_t rows, int32_t columns, const float *weight,
                                   const float *x, const float *y_gradient,
                                   float *weight_gradient, float *bias_gradient,
                                   float *x_gradient)
{
    for (int32_t column = 0; x_gradient != NULL && column < columns; column++) {
        x_gradient[column] = 0.0f;
    }
    for (int32_t row = 0; row < rows; row++) {
        const float gradient = y_gradient[row];
        bias_gradient[row] += gradient;
        for (int32_t column = 0; column < columns; column++) {
            weight_gradient[column] += gradient * x[column];
            if (x_gradient != NULL) {
                x_gradient[column] += gradient * weight[column];
            }
        }
        weight += columns;
        weight_gradient += columns;
    }
}
