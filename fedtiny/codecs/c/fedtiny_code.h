/* SPDX-License-Identifier: Apache-2.0
 *
 * An encoder's int8 maps as bytes: a table gives symbols, a range coder with static tables bytes.
 *
 * No allocation, recursion or state; a prefix of a code is a code of fewer maps, so a buffer that is
 * too small for all gets what fits.
 */
#ifndef FEDTINY_CODE_H
#define FEDTINY_CODE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint16_t maps;
    uint16_t positions;         /* of a map: height x width */
    uint16_t symbols;           /* of the alphabet */
    const uint8_t *symbol_of;   /* [256], by value + 128 */
    const uint16_t *cumulative; /* [maps][symbols + 1], 0 to 4096 */
} fedtiny_code;

#define FEDTINY_CODE_CELL 4u

/* The encoder's input of a camera's pixels (height, width, channels), by a table [channels][256]:
 * what the model makes of the same counts, in a fraction of the instructions. The pixels of a cell
 * of 4 x 4, row by row, become its channels: (height / 4, width / 4, 16 * channels). Rows and
 * columns beyond the last whole cell must not be: height and width are multiples of 4. */
void fedtiny_code_input(const int8_t *input_of, const uint8_t *picture, size_t height, size_t width,
                        size_t channels, int8_t *input);

/* Bytes written to out, at most size. latent: [positions][maps], as the exported encoder writes. */
size_t fedtiny_code_encode(const fedtiny_code *code, const int8_t *latent, uint8_t *out,
                           size_t size);

/* Whole maps that the bytes determine, from 0 on. symbols: [maps][positions]; beyond the whole maps
 * its contents are of no meaning. */
uint16_t fedtiny_code_decode(const fedtiny_code *code, const uint8_t *bytes, size_t size,
                             uint8_t *symbols);

#ifdef __cplusplus
}
#endif

#endif
