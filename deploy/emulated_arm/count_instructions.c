/* A QEMU plugin that counts the instructions a guest executes, and tells the count when the guest asks.
 *
 *     qemu-aarch64 -plugin count_instructions.so,out=FILE ...
 *
 * A guest asks by a system call whose first argument is MARK, such as close(MARK), which does nothing else. Each time,
 * a line goes to FILE: instructions executed so far by the thread that asked, and by all other threads together.
 *
 * QEMU translates a guest's code in blocks and calls `executed` before each run of one. That is slower than the inline
 * counters of its interface, but those are racy in version 1 and gone since version 2, and this is in all versions.
 * The declarations are written out because Debian's qemu-user has no header; see QEMU's qemu-plugin.h.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MARK 0x45434e4b /* odd, so it is no address that a system call takes, and not a file descriptor in use */
#define THREADS 1024

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned int, void *),
                                          enum qemu_plugin_cb_flags, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t,
                                          void (*)(qemu_plugin_id_t, unsigned int, int64_t, uint64_t, uint64_t,
                                                   uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API; /* given by plugin.py */

static uint64_t counts[THREADS]; /* a slot for each thread, so that none waits for another */
static FILE *out;

static unsigned int slot(unsigned int thread)
{
    return thread < THREADS ? thread : THREADS - 1;
}

static void executed(unsigned int thread, void *instructions)
{
    counts[slot(thread)] += (uintptr_t)instructions;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, executed, QEMU_PLUGIN_CB_NO_REGS,
                                         (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void called(qemu_plugin_id_t id, unsigned int thread, int64_t number, uint64_t first, uint64_t b, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    (void)id, (void)number, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if ((uint32_t)first != MARK)
        return;
    uint64_t others = 0;
    for (unsigned int each = 0; each < THREADS; each++)
        others += each == slot(thread) ? 0 : counts[each];
    fprintf(out, "%llu %llu\n", (unsigned long long)counts[slot(thread)], (unsigned long long)others);
    fflush(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc,
                                                               char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || (out = fopen(argv[0] + 4, "w")) == NULL) {
        fprintf(stderr, "count_instructions: out=FILE must name a file that can be written\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
