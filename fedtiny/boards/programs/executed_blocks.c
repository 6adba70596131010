/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin of QEMU's that counts executed blocks, on the host. A run is cut into segments wherever
 * the instruction at `mark` begins a block; at its end the file `out` has a line for each block of
 * each segment:
 *
 *     segment address bytes instructions executed left
 *
 * `left`: how often the block that followed began elsewhere than at its end, hence by a branch.
 *
 *     -plugin file=executed_blocks.so,mark=ADDRESS,out=FILE
 *
 * The part of QEMU's interface that it takes is declared here, since few distributions ship its
 * header. PLUGIN_VERSION is the interface's version: 1 of QEMU 6.0 to 8.1, 2 of 8.2 and later.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*callback)(qemu_plugin_id_t,
                                                            struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
                                          void (*callback)(unsigned int, void *), int flags,
                                          void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id,
                                    void (*callback)(qemu_plugin_id_t, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int qemu_plugin_version = PLUGIN_VERSION;

typedef struct block {
    uint64_t address;
    uint64_t end;
    size_t instructions;
    uint64_t executed;
    uint64_t left;
    struct block *next;
} block;

enum { BUCKETS = 4096 };

static block *buckets[BUCKETS];
static block *before;
static uint64_t mark, segment;
static FILE *out;

static void end_segment(void)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (block *b = buckets[i]; b != NULL; b = b->next) {
            if (b->executed > 0) {
                fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %zu %" PRIu64 " %" PRIu64 "\n",
                        segment, b->address, b->end - b->address, b->instructions, b->executed,
                        b->left);
            }
            b->executed = 0;
            b->left = 0;
        }
    }
    segment++;
}

static void execute(unsigned int cpu, void *data)
{
    block *const now = data;
    (void)cpu;
    if (before != NULL && before->end != now->address) {
        before->left++;
    }
    if (now->address == mark) {
        end_segment();
    }
    now->executed++;
    before = now;
}

/** QEMU translates the same block again whenever it has thrown its code away. */
static block *block_of(uint64_t address, uint64_t end, size_t instructions)
{
    block **const bucket = &buckets[(address / 2) % BUCKETS];
    for (block *b = *bucket; b != NULL; b = b->next) {
        if (b->address == address && b->end == end) {
            return b;
        }
    }
    block *const made = calloc(1, sizeof *made);
    if (made == NULL) {
        abort();
    }
    made->address = address;
    made->end = end;
    made->instructions = instructions;
    made->next = *bucket;
    *bucket = made;
    return made;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    const size_t count = qemu_plugin_tb_n_insns(tb);
    const struct qemu_plugin_insn *const last = qemu_plugin_tb_get_insn(tb, count - 1);
    const uint64_t end = qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last);
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, execute, NO_REGISTERS,
                                         block_of(qemu_plugin_tb_vaddr(tb), end, count));
}

static void finish(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    end_segment();
    fclose(out);
}

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "mark=", 5) == 0) {
            mark = strtoull(argv[i] + 5, NULL, 0);
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            out = fopen(argv[i] + 4, "w");
        }
    }
    if (out == NULL) {
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
