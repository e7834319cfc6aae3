/*
 * Reads a tensor of a compressed file, or a range of its weights, and writes the bytes to standard
 * output. A range reads only the chunks that contain it.
 *
 *     read_tensor MODEL.unw NAME > weights.bin
 *     read_tensor MODEL.unw NAME FIRST COUNT > some-weights.bin
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unweight.h"

/* A number of weights. Returns 0 if the text is no such number. */
static int parse(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

static int read_tensor(const unweight_model *model, const char *name, const char *first_text,
                       const char *count_text)
{
    unweight_error error;
    unweight_tensor_info tensor = {.struct_size = sizeof tensor};
    if (unweight_find_tensor(model, name, strlen(name), &tensor, &error) != UNWEIGHT_STATUS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return EXIT_FAILURE;
    }
    uint64_t first = 0, count = tensor.data_bytes / tensor.weight_bytes;
    if (first_text != NULL && (!parse(first_text, &first) || !parse(count_text, &count))) {
        fprintf(stderr, "found %s %s, expected two numbers of weights\n", first_text, count_text);
        return 2;
    }
    if (count > SIZE_MAX / tensor.weight_bytes) {
        fprintf(stderr, "%" PRIu64 " weights do not fit into memory\n", count);
        return EXIT_FAILURE;
    }
    size_t bytes = (size_t)count * tensor.weight_bytes;
    void *buffer = malloc(bytes == 0 ? 1 : bytes);
    if (buffer == NULL) {
        fprintf(stderr, "%zu bytes of memory are needed\n", bytes);
        return EXIT_FAILURE;
    }
    int code = EXIT_FAILURE;
    unweight_status status;
    if (first_text == NULL) /* Checks the checksum of the tensor too, and uses all processors. */
        status = unweight_read_tensor(model, tensor.number, buffer, bytes, &error);
    else
        status = unweight_read_weights(model, tensor.number, first, count, buffer, bytes, &error);
    if (status != UNWEIGHT_STATUS_OK)
        fprintf(stderr, "%s\n", error.message);
    else if (fwrite(buffer, 1, bytes, stdout) != bytes || fflush(stdout) != 0)
        perror("standard output");
    else
        code = EXIT_SUCCESS;
    free(buffer);
    return code;
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 5) {
        fprintf(stderr, "usage: read_tensor MODEL.unw NAME [FIRST COUNT]\n");
        return 2;
    }
    unweight_error error;
    unweight_model *model;
    if (unweight_open_path(argv[1], NULL, &model, &error) != UNWEIGHT_STATUS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return EXIT_FAILURE;
    }
    int code = read_tensor(model, argv[2], argc == 5 ? argv[3] : NULL, argc == 5 ? argv[4] : NULL);
    unweight_close(model);
    return code;
}
