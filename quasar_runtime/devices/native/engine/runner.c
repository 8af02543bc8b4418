/* A program on one image without Python: for CPUs that are emulated and for sanitizers.

   runner KERNELS THREADS TOKENS ROWS DEPTH ACT_WORDS RES_WORDS LOGITS COUNT OUTPUT_BYTES
          PROGRAM IMAGE OUTPUT

   Reads the files PROGRAM and IMAGE, writes OUTPUT. Exits with 0; 1 for a file or memory that is
   missing; 2 for wrong usage; 3 when the engine refuses, with cause, descriptor and address. */
#include "engine.h"
#include "quasar_interface.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *bytes;
    uint64_t size;
} q_area;

/* Zeroed and on a boundary, as device memory is; exactly so large that a sanitizer sees overruns. */
static q_area area_of(uint64_t size) {
    q_area area = {NULL, size};
    if (posix_memalign((void **)&area.bytes, Q_ALIGNMENT, size ? size : 1)) {
        fprintf(stderr, "no memory for %llu bytes\n", (unsigned long long)size);
        exit(1);
    }
    memset(area.bytes, 0, size);
    return area;
}

static q_area read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) {
        perror(path);
        exit(1);
    }
    q_area area = area_of((uint64_t)ftell(file));
    rewind(file);
    if (fread(area.bytes, 1, area.size, file) != area.size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return area;
}

static int refused(const q_engine *engine, int cause) {
    fprintf(stderr, "refused: cause %d descriptor %u address %u\n", cause,
            q_engine_register(engine, Q_REG_ERROR_DESCRIPTOR),
            q_engine_register(engine, Q_REG_ERROR_ADDRESS_LO));
    return 3;
}

int main(int argc, char **argv) {
    if (argc != 14) {
        fprintf(stderr,
                "usage: runner KERNELS THREADS TOKENS ROWS DEPTH ACT_WORDS RES_WORDS LOGITS "
                "COUNT OUTPUT_BYTES PROGRAM IMAGE OUTPUT\n");
        return 2;
    }
    uint32_t n[9];
    for (int i = 0; i < 9; i++)
        n[i] = (uint32_t)strtoul(argv[2 + i], NULL, 10);
    q_overlay overlay = {n[1], n[2], n[3], n[4], n[5], n[6], 1};
    q_engine *engine = q_engine_new(&overlay, argv[1], n[0]);
    if (!engine) {
        fprintf(stderr, "no kernels named '%s' here, or no memory\n", argv[1]);
        return 1;
    }
    q_area program = read_file(argv[11]), image = read_file(argv[12]), output = area_of(n[8]);
    q_area profile = area_of((uint64_t)n[7] * Q_PROFILE_BYTES);
    q_job job = {n[7],         program.bytes, program.size,  image.bytes, image.size,
                 output.bytes, output.size,   profile.bytes, profile.size};
    int cause = q_engine_load(engine, program.bytes, program.size, n[7]);
    if (!cause)
        cause = q_engine_start(engine, &job);
    int code = cause ? refused(engine, cause) : 0;
    /* Slices of no time: a stop after each descriptor. */
    while (!code && q_engine_run(engine, 0) == Q_RUNNING)
        ;
    FILE *file = code ? NULL : fopen(argv[13], "wb");
    if (!code &&
        (!file || fwrite(output.bytes, 1, output.size, file) != output.size || fclose(file))) {
        perror(argv[13]);
        code = 1;
    }
    q_engine_free(engine);
    free(program.bytes);
    free(image.bytes);
    free(output.bytes);
    free(profile.bytes);
    return code;
}
