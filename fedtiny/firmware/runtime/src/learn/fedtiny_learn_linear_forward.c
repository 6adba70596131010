/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_learn.h"

void fedtiny_learn_linear_forward(int32_t rows, int32_t columns, const float *weight,
                                  const float *bias, const float *x, float *y, int32_t added)
{
    for (int32_t row = 0; row < rows; row++) {
        float sum = bias[row];
        for (int32_t column = 0; column < columns; column++) {
            sum += weight[column] * x[column];
        }
        y[row] = added ? y[row] + sum : sum;
        weight += columns;
    }
}
