/*
 * Runs the C library on the cases of the conformance corpus, which cases.py lists.
 *
 *     cases.py CORPUS/manifest.json | corpus CORPUS FOLDER
 *
 * FOLDER is an empty folder for outputs. Every valid file must have the digests of the manifest, as a
 * path, in memory and through a callback that returns few bytes at a time. Every invalid one must be
 * refused with its rule in the same three ways.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"
#include "unweight.h"

#define MOST_FIELDS 8

/* A file in memory that ends where its allocation ends. */
typedef struct file {
    unsigned char *bytes;
    size_t length;
} file;

/* What the manifest has of a tensor: its line, and the fields in it. */
typedef struct tensor_line {
    char *line;
    char *fields[MOST_FIELDS];
} tensor_line;

typedef struct test {
    const char *corpus;
    const char *folder;
    const char *id;
    unsigned passed, failed;
    int case_failed;
} test;

enum way { BY_PATH, IN_MEMORY, BY_CALLBACK, WAYS };
static const char *const WAY_NAMES[WAYS] = {"by path", "in memory", "by callback"};

static void fail(test *test, const char *what, const char *found, const char *expected)
{
    fprintf(stderr, "%s: %s: found %s, expected %s\n", test->id, what, found, expected);
    test->case_failed = 1;
}

static void expect_text(test *test, const char *what, const char *found, const char *expected)
{
    if (strcmp(found, expected) != 0)
        fail(test, what, found, expected);
}

static void expect_number(test *test, const char *what, uint64_t found, uint64_t expected)
{
    char texts[2][24];
    sprintf(texts[0], "%" PRIu64, found);
    sprintf(texts[1], "%" PRIu64, expected);
    expect_text(test, what, texts[0], texts[1]);
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes == 0 ? 1 : bytes);
    if (memory == NULL) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(3);
    }
    return memory;
}

static void path_to(char path[1024], const char *folder, const char *name)
{
    if (snprintf(path, 1024, "%s/%s", folder, name) >= 1024) {
        fprintf(stderr, "%s/%s: the path is too long\n", folder, name);
        exit(3);
    }
}

static file read_file(const char *path)
{
    FILE *stream = fopen(path, "rb");
    long length = -1;
    if (stream == NULL || fseek(stream, 0, SEEK_END) != 0 || (length = ftell(stream)) < 0) {
        perror(path);
        exit(3);
    }
    rewind(stream);
    file file = {allocate((size_t)length), (size_t)length};
    if (fread(file.bytes, 1, file.length, stream) != file.length) {
        perror(path);
        exit(3);
    }
    fclose(stream);
    return file;
}

/* Returns 1 to 997 bytes, another number at each offset. */
static int64_t read_some(void *user, uint64_t offset, uint8_t *buffer, size_t length)
{
    const file *file = user;
    size_t most = (size_t)(offset * 2654435761u % 997 + 1);
    if (length > most)
        length = most;
    memcpy(buffer, file->bytes + offset, length);
    return (int64_t)length;
}

static unweight_status open_by(enum way way, const char *path, file *file,
                               const unweight_open_options *options, unweight_model **model,
                               unweight_error *error)
{
    unweight_reader reader = {.struct_size = sizeof reader,
                              .byte_length = file->length,
                              .user = file,
                              .read_at = read_some};
    switch (way) {
    case BY_PATH:
        return unweight_open_path(path, options, model, error);
    case IN_MEMORY:
        return unweight_open_memory(file->bytes, file->length, options, model, error);
    default:
        return unweight_open_reader(&reader, options, model, error);
    }
}

/* Compares ranges of bytes and of weights with the whole tensor. */
static void check_ranges(test *test, const unweight_model *model, const unweight_tensor_info *info,
                         const unsigned char *whole)
{
    unweight_error error;
    uint64_t end = info->data_bytes, size = info->weight_bytes, weights = end / size;
    uint64_t ranges[4][2] = {{0, 1}, {end - 1, 1}, {end / 3, end / 3}, {end / 2, end - end / 2}};
    for (int i = 0; i < 4; i++) {
        uint64_t first = ranges[i][0], count = ranges[i][1];
        unsigned char *part = allocate((size_t)count);
        if (unweight_read_bytes(model, info->number, first, part, (size_t)count, &error) != 0)
            fail(test, "range of bytes", error.message, "success");
        else if (memcmp(part, whole + first, (size_t)count) != 0)
            fail(test, "range of bytes", "other bytes", "those of the whole");
        free(part);
    }
    uint64_t first = weights / 2, count = weights - first;
    size_t bytes = (size_t)(count * size);
    unsigned char *part = allocate(bytes);
    if (unweight_read_weights(model, info->number, first, count, part, bytes, &error) != 0)
        fail(test, "range of weights", error.message, "success");
    else if (memcmp(part, whole + first * size, bytes) != 0)
        fail(test, "range of weights", "other bytes", "those of the whole");
    free(part);
}

/* fields: tensor ID NAME-IN-HEX DTYPE DIMS LENGTH SHA256 */
static void check_tensor(test *test, const unweight_model *model, uint32_t number, char **fields)
{
    unweight_error error;
    unweight_tensor_info info = {.struct_size = sizeof info};
    unweight_tensor_info by_name = {.struct_size = sizeof by_name};
    if (unweight_get_tensor(model, number, &info, &error) != 0) {
        fail(test, "tensor by number", error.message, "success");
        return;
    }
    char *hex = allocate(2 * info.name_bytes + 1);
    for (size_t i = 0; i < info.name_bytes; i++)
        sprintf(hex + 2 * i, "%02x", (unsigned char)info.name[i]);
    hex[2 * info.name_bytes] = '\0';
    expect_text(test, "name", hex, fields[2]);
    free(hex);
    if (unweight_find_tensor(model, info.name, info.name_bytes, &by_name, &error) != 0)
        fail(test, "tensor by name", error.message, "success");
    expect_number(test, "number by name", by_name.number, number);
    expect_text(test, "type", info.dtype_name, fields[3]);
    char dims[64 * 22] = "";
    for (uint32_t i = 0; i < info.rank; i++)
        sprintf(dims + strlen(dims), "%s%" PRIu64, i == 0 ? "" : ",", info.dims[i]);
    expect_text(test, "dimensions", dims, fields[4]);
    expect_number(test, "length", info.data_bytes, strtoull(fields[5], NULL, 10));

    unsigned char *whole = allocate((size_t)info.data_bytes);
    if (unweight_read_tensor(model, number, whole, (size_t)info.data_bytes, &error) != 0) {
        fail(test, "tensor", error.message, "success");
    } else {
        sha256 hash;
        char digest[65];
        sha256_begin(&hash);
        sha256_add(&hash, whole, (size_t)info.data_bytes);
        sha256_end(&hash, digest);
        expect_text(test, "digest of a tensor", digest, fields[6]);
        if (info.data_bytes > 0)
            check_ranges(test, model, &info, whole);
    }
    free(whole);
}

static int add_to_hash(void *user, const uint8_t *bytes, size_t length)
{
    sha256_add(user, bytes, length);
    return 0;
}

/* fields: accept ID FILE LENGTH SHA256; lines of its tensors follow. */
static void check_accept(test *test, char **fields, tensor_line *tensors, uint32_t count)
{
    char path[1024], digest[65];
    path_to(path, test->corpus, fields[2]);
    file file = read_file(path);
    for (int way = 0; way < WAYS; way++) {
        unweight_error error;
        unweight_model *model;
        /* Merged reads for the callback, and one thread for the path. */
        unweight_open_options options = {.struct_size = sizeof options,
                                         .threads = way == BY_PATH,
                                         .merge_gap_bytes = way == BY_CALLBACK ? 1000 : 0};
        if (open_by(way, path, &file, &options, &model, &error) != 0) {
            fail(test, WAY_NAMES[way], error.message, "a valid file");
            continue;
        }
        expect_number(test, "tensors", unweight_tensor_count(model), count);
        for (uint32_t number = 0; number < count; number++)
            check_tensor(test, model, number, tensors[number].fields);
        if (unweight_verify(model, NULL, NULL, &error) != 0)
            fail(test, "verification", error.message, "success");
        sha256 hash;
        sha256_begin(&hash);
        if (unweight_restore(model, add_to_hash, &hash, &error) != 0)
            fail(test, "restoration", error.message, "success");
        expect_number(test, "restored bytes", hash.length, strtoull(fields[3], NULL, 10));
        expect_number(test, "stated bytes", unweight_restored_bytes(model), hash.length);
        sha256_end(&hash, digest);
        expect_text(test, "digest of the source", digest, fields[4]);
        unweight_close(model);
    }
    free(file.bytes);
}

/* Decodes all tensors of an invalid file that memory can hold. The results do not matter. */
static void decode_all(const unweight_model *model)
{
    for (uint32_t number = 0; number < unweight_tensor_count(model); number++) {
        unweight_tensor_info info = {.struct_size = sizeof info};
        if (unweight_get_tensor(model, number, &info, NULL) != 0 || info.data_bytes > 1 << 24)
            continue;
        unsigned char *bytes = allocate((size_t)info.data_bytes);
        unweight_read_tensor(model, number, bytes, (size_t)info.data_bytes, NULL);
        unweight_read_bytes(model, number, 0, bytes, (size_t)info.data_bytes, NULL);
        free(bytes);
    }
}

static void expect_rule(test *test, enum way way, const char *path, file *file, const char *rule)
{
    unweight_error error;
    unweight_model *model;
    unweight_status status = open_by(way, path, file, NULL, &model, &error);
    if (status == UNWEIGHT_STATUS_OK) {
        decode_all(model);
        status = unweight_verify(model, NULL, NULL, &error);
    } else if (model != NULL) {
        fail(test, WAY_NAMES[way], "a model", "NULL after a failure");
    }
    expect_number(test, WAY_NAMES[way], status, UNWEIGHT_STATUS_INVALID_FILE);
    expect_number(test, "status in the report", error.status, status);
    expect_text(test, WAY_NAMES[way], error.rule, rule);
    unweight_close(model);
}

/* fields: reject ID FILE RULE */
static void check_reject(test *test, char **fields)
{
    char path[1024];
    path_to(path, test->corpus, fields[2]);
    file file = read_file(path);
    for (int way = 0; way < WAYS; way++)
        expect_rule(test, way, path, &file, fields[3]);
    free(file.bytes);
}

/* fields: prefixes ID FILE RULE */
static void check_prefixes(test *test, char **fields)
{
    char path[1024];
    path_to(path, test->corpus, fields[2]);
    file whole = read_file(path);
    for (size_t length = 0; length < whole.length; length++) {
        file prefix = {allocate(length), length};
        memcpy(prefix.bytes, whole.bytes, length);
        expect_rule(test, IN_MEMORY, NULL, &prefix, fields[3]);
        expect_rule(test, BY_CALLBACK, NULL, &prefix, fields[3]);
        free(prefix.bytes);
    }
    free(whole.bytes);
}

static void expect_same(test *test, const char *what, const char *path, const char *expected_path)
{
    file found = read_file(path), expected = read_file(expected_path);
    if (found.length != expected.length || memcmp(found.bytes, expected.bytes, found.length) != 0)
        fail(test, what, "other bytes", expected_path);
    free(found.bytes);
    free(expected.bytes);
}

/* fields: encode ID FILE SOURCE ENCODING CHUNK */
static void check_encode(test *test, char **fields)
{
    char expected[1024], source[1024], output[1024], restored[1024];
    path_to(expected, test->corpus, fields[2]);
    path_to(source, test->corpus, fields[3]);
    path_to(output, test->folder, "output.unw");
    path_to(restored, test->folder, "restored.safetensors");
    unweight_error error;
    unweight_file_report report = {.struct_size = sizeof report};
    unweight_file_options options = {
        .struct_size = sizeof options,
        .encoding = strcmp(fields[4], "palette") == 0 ? UNWEIGHT_ENCODING_PALETTE
                                                      : UNWEIGHT_ENCODING_HUFFMAN,
        .chunk_size_log2 = (uint32_t)atoi(fields[5]),
        .flags = UNWEIGHT_FILE_FORCE | UNWEIGHT_FILE_VERIFY};
    if (unweight_compress_file(source, output, &options, &report, &error) != 0) {
        fail(test, "compression", error.message, "success");
        return;
    }
    expect_same(test, "compressed file", output, expected);
    if (unweight_restore_file(output, restored, &options, NULL, &error) != 0) {
        fail(test, "restoration", error.message, "success");
        return;
    }
    expect_same(test, "restored file", restored, source);
}

/* fields: encode-refuse ID SOURCE */
static void check_encode_refuse(test *test, char **fields)
{
    char source[1024], output[1024];
    path_to(source, test->corpus, fields[2]);
    path_to(output, test->folder, "refused.unw");
    unweight_error error;
    unweight_status status = unweight_compress_file(source, output, NULL, NULL, &error);
    expect_number(test, error.message, status, UNWEIGHT_STATUS_INVALID_SOURCE);
    FILE *left = fopen(output, "rb");
    if (left != NULL) {
        fclose(left);
        remove(output);
        fail(test, "output", "a file", "none");
    }
}

/* A line of any length without its end. NULL after the last one. */
static char *read_line(void)
{
    size_t length = 0, capacity = 256;
    char *line = allocate(capacity);
    int byte;
    while ((byte = getchar()) != EOF && byte != '\n') {
        if (length + 1 == capacity) {
            char *longer = allocate(2 * capacity);
            memcpy(longer, line, length);
            free(line);
            line = longer;
            capacity *= 2;
        }
        line[length++] = (char)byte;
    }
    line[length] = '\0';
    if (byte == EOF && length == 0) {
        free(line);
        return NULL;
    }
    return line;
}

/* Splits a line at its tabs. */
static void split(char *line, char *fields[MOST_FIELDS])
{
    for (int i = 0; i < MOST_FIELDS; i++) {
        fields[i] = line;
        char *tab = strchr(line, '\t');
        if (tab != NULL)
            *tab = '\0';
        line = tab == NULL ? strchr(line, '\0') : tab + 1;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: cases.py CORPUS/manifest.json | corpus CORPUS FOLDER\n");
        return 2;
    }
    test test = {.corpus = argv[1], .folder = argv[2]};
    size_t capacity = 64;
    tensor_line *tensors = allocate(capacity * sizeof *tensors);
    char *next = read_line();
    while (next != NULL) {
        char *line = next, *fields[MOST_FIELDS];
        split(line, fields);
        test.id = fields[1];
        test.case_failed = 0;
        uint32_t count = 0;
        while ((next = read_line()) != NULL && strncmp(next, "tensor\t", 7) == 0) {
            if (count == capacity) {
                tensor_line *more = allocate(2 * capacity * sizeof *tensors);
                memcpy(more, tensors, capacity * sizeof *tensors);
                free(tensors);
                tensors = more;
                capacity *= 2;
            }
            split(next, tensors[count].fields);
            tensors[count++].line = next;
        }
        if (strcmp(fields[0], "accept") == 0)
            check_accept(&test, fields, tensors, count);
        else if (strcmp(fields[0], "reject") == 0)
            check_reject(&test, fields);
        else if (strcmp(fields[0], "prefixes") == 0)
            check_prefixes(&test, fields);
        else if (strcmp(fields[0], "encode") == 0)
            check_encode(&test, fields);
        else if (strcmp(fields[0], "encode-refuse") == 0)
            check_encode_refuse(&test, fields);
        else
            fail(&test, "kind", fields[0], "a kind of case");
        if (test.case_failed)
            test.failed++;
        else
            test.passed++;
        while (count > 0)
            free(tensors[--count].line);
        free(line);
    }
    free(tensors);
    printf("%u passed, %u failed\n", test.passed, test.failed);
    return test.failed > 0 || test.passed == 0;
}
