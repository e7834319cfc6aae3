/*
 * Opens, reads and closes a compressed file for some seconds, and fails if memory or descriptors
 * remain. Linux alone.
 *
 *     open_close MODEL.unw SECONDS
 */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "unweight.h"

static long resident_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    if (status != NULL)
        fclose(status);
    return kib;
}

static long descriptors(void)
{
    long count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder != NULL && readdir(folder) != NULL)
        count++;
    if (folder != NULL)
        closedir(folder);
    return count;
}

static void round_of(const char *path)
{
    unweight_error error;
    unweight_model *model;
    if (unweight_open_path(path, NULL, &model, &error) != UNWEIGHT_STATUS_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(EXIT_FAILURE);
    }
    unweight_tensor_info tensor = {.struct_size = sizeof tensor};
    if (unweight_get_tensor(model, 0, &tensor, &error) != UNWEIGHT_STATUS_OK)
        exit(EXIT_FAILURE);
    void *weights = malloc(tensor.data_bytes);
    if (unweight_read_tensor(model, 0, weights, tensor.data_bytes, &error) != UNWEIGHT_STATUS_OK)
        exit(EXIT_FAILURE);
    free(weights);
    unweight_close(model);
    /* A file that is refused leaves nothing either. */
    if (unweight_open_path("/dev/null", NULL, &model, &error) == UNWEIGHT_STATUS_OK)
        exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: open_close MODEL.unw SECONDS\n");
        return 2;
    }
    for (int i = 0; i < 200; i++)
        round_of(argv[1]);
    long kib = resident_kib(), open_before = descriptors(), rounds = 0;
    time_t end = time(NULL) + atol(argv[2]);
    for (; time(NULL) < end; rounds++)
        round_of(argv[1]);
    long kib_after = resident_kib(), open_after = descriptors();
    printf("C: %ld rounds: %ld KiB and %ld descriptors before, %ld KiB and %ld after\n", rounds, kib,
           open_before, kib_after, open_after);
    return open_after > open_before || kib_after > kib + 4096;
}
