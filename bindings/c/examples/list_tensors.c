/*
 * Lists the tensors of a compressed file.
 *
 *     list_tensors MODEL.unw
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "unweight.h"

/* Prints a name, which may hold any bytes, without control characters. */
static void print_name(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)name[i];
        if (byte < 0x20 || byte == 0x7f)
            printf("\\x%02x", byte);
        else
            putchar(byte);
    }
}

static void print_tensor(const unweight_tensor_info *tensor)
{
    print_name(tensor->name, tensor->name_bytes);
    printf("  %s [", tensor->dtype_name);
    for (uint32_t i = 0; i < tensor->rank; i++)
        printf("%s%" PRIu64, i == 0 ? "" : ", ", tensor->dims[i]);
    printf("]  %" PRIu64 " bytes in %" PRIu64 "\n", tensor->data_bytes, tensor->stored_bytes);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: list_tensors MODEL.unw\n");
        return 2;
    }
    if (unweight_abi_version() != UNWEIGHT_ABI_VERSION) {
        fprintf(stderr, "found library %s of another ABI version, expected %d\n",
                unweight_version(), UNWEIGHT_ABI_VERSION);
        return 3;
    }
    unweight_error error;
    unweight_model *model;
    if (unweight_open_path(argv[1], NULL, &model, &error) != UNWEIGHT_STATUS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return EXIT_FAILURE;
    }
    int code = EXIT_SUCCESS;
    uint32_t count = unweight_tensor_count(model);
    for (uint32_t number = 0; number < count; number++) {
        unweight_tensor_info tensor = {.struct_size = sizeof tensor};
        if (unweight_get_tensor(model, number, &tensor, &error) != UNWEIGHT_STATUS_OK) {
            fprintf(stderr, "%s\n", error.message);
            code = EXIT_FAILURE;
            break;
        }
        print_tensor(&tensor);
    }
    unweight_close(model);
    return code;
}
