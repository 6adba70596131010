/* SPDX-License-Identifier: Apache-2.0
 *
 * What kernels for cores with MVE share.
 */
#ifndef FEDTINY_MVE_H
#define FEDTINY_MVE_H

#include "fedtiny_nn_internal.h"

#if defined(__ARM_FEATURE_MVE)

#include <arm_mve.h>

/** Divided by 2^exponent > 1, halves away from zero: those of negative numbers go down. */
FEDTINY_INLINE int32x4_t fedtiny_mve_divide(int32x4_t values, int32_t exponent)
{
    return vrshlq_n_s32(vaddq_s32(values, vshrq_n_s32(values, 31)), -exponent);
}

FEDTINY_INLINE int32x4_t fedtiny_mve_clamp(int32x4_t values, int32_t min, int32_t max)
{
    return vminq_s32(vmaxq_s32(values, vdupq_n_s32(min)), vdupq_n_s32(max));
}

#endif

#endif /* FEDTINY_MVE_H */
