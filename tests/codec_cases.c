/* Reads a code and latents, and says what the C makes of them, every buffer exactly as large as said.
 *
 * codec_cases CASES RESULTS; little-endian: u32 maps, positions, symbols, latents, strings; the
 * tables; int8 latents; then for each string a u32 size and its bytes. Results: the u32 size of each
 * latent's code and whether it came back, then what each string gives: u32 maps, or (as a block) 0/1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fedtiny_blocks.h"
#include "fedtiny_code.h"

static void *take(FILE *file, size_t size) {
    void *memory = malloc(size ? size : 1);
    if (memory == NULL || fread(memory, 1, size, file) != size) {
        exit(1);
    }
    return memory;
}

static void say(FILE *file, uint32_t value) {
    if (fwrite(&value, sizeof value, 1, file) != 1) {
        exit(1);
    }
}

static uint32_t back(const fedtiny_code *code, const int8_t *latent, const uint8_t *bytes,
                     size_t size) {
    size_t positions = code->positions, maps = code->maps;
    uint8_t *symbols = malloc(maps * positions);
    uint32_t same = fedtiny_code_decode(code, bytes, size, symbols) == code->maps;
    for (size_t i = 0; i < maps * positions && same; i++) {
        int8_t value = latent[i % positions * maps + i / positions];
        same = symbols[i] == code->symbol_of[value + 128];
    }
    free(symbols);
    return same;
}

int main(int argc, char **argv) {
    FILE *cases = argc == 3 ? fopen(argv[1], "rb") : NULL;
    FILE *results = argc == 3 ? fopen(argv[2], "wb") : NULL;
    if (cases == NULL || results == NULL) {
        return 1;
    }
    uint32_t *head = take(cases, 5 * sizeof *head);
    size_t values = (size_t)head[0] * head[1];
    uint8_t *symbol_of = take(cases, 256);
    uint16_t *tables = take(cases, (size_t)head[0] * (head[2] + 1) * sizeof *tables);
    fedtiny_code code = {(uint16_t)head[0], (uint16_t)head[1], (uint16_t)head[2], symbol_of,
                         tables};
    for (uint32_t i = 0; i < head[3]; i++) {
        int8_t *latent = take(cases, values);
        uint8_t large[4096];
        size_t size = fedtiny_code_encode(&code, latent, large, sizeof large);
        uint8_t *exact = malloc(size), *small = malloc(size / 2 + 1);
        size_t again = fedtiny_code_encode(&code, latent, exact, size);
        size_t half = fedtiny_code_encode(&code, latent, small, size / 2);
        int equal = again == size && half == size / 2 && memcmp(exact, large, size) == 0 &&
                    memcmp(small, large, half) == 0;
        say(results, (uint32_t)size);
        say(results, equal && back(&code, latent, exact, size));
        free(exact);
        free(small);
        free(latent);
    }
    for (uint32_t i = 0; i < head[4]; i++) {
        uint32_t *size = take(cases, sizeof *size);
        uint8_t *bytes = take(cases, *size), *symbols = malloc(values);
        fedtiny_block block;
        say(results, fedtiny_code_decode(&code, bytes, *size, symbols));
        say(results, fedtiny_block_read(bytes, *size, &block) == 0);
        free(symbols);
        free(bytes);
        free(size);
    }
    free(head);
    free(symbol_of);
    free(tables);
    return fclose(cases) || fclose(results);
}
