/* The codec of conformance/decoders/c as functions from bytes to bytes.
 *
 * The other files of the codec are compiled as they are. Only report.c is replaced: it keeps the
 * rule that the input breaks for the caller instead of printing it. */
#define _POSIX_C_SOURCE 200809L
#include "unweight.h"

#include <stdlib.h>
#include <unistd.h>

static const char *broken_rule;

void report_place_file(void)
{
}

void report_place_tensor(uint32_t tensor)
{
    (void)tensor;
}

void report_place_record(uint32_t tensor, uint64_t chunk, unsigned field)
{
    (void)tensor, (void)chunk, (void)field;
}

status reject(const char *rule, const char *format, ...)
{
    (void)format;
    broken_rule = rule;
    return REJECTED;
}

status fail(const char *format, ...)
{
    broken_rule = format;
    return FAILED;
}

int report_exit(status result)
{
    return (int)result;
}

static status restore(const uint8_t *bytes, uint64_t length, FILE *output)
{
    struct file file;
    TRY(open_file(bytes, length, &file));
    size_t source_length = (size_t)file.source_length;
    if (source_length > 0 && fwrite(file.source, 1, source_length, output) != source_length)
        return fail("cannot write the output");
    TRY(decode_tensors(&file, output));
    return check_padding(&file);
}

static status transcode_bytes(const uint8_t *bytes, uint64_t length, uint8_t encoding, FILE *output)
{
    struct file file;
    TRY(prepare_transcoding(bytes, length, &file));
    return transcode(&file, encoding, output);
}

static status read_back(FILE *stream, char **output, size_t *length)
{
    if (fseek(stream, 0, SEEK_END) != 0)
        return FAILED;
    long end = ftell(stream);
    rewind(stream);
    *output = malloc(end > 0 ? (size_t)end : 1);
    if (end < 0 || *output == NULL)
        return FAILED;
    *length = fread(*output, 1, (size_t)end, stream);
    return *length == (size_t)end ? ACCEPTED : FAILED;
}

/* What to do with the bytes. */
enum { RESTORE = 0, TRANSCODE = 1, ENCODE = 2 };

/* Gives `output` and `output_length` the result, to be passed to `c_codec_free` whatever the
 * status, and `rule` the name of the broken rule or the failure. It is not to be called by two
 * threads at a time. */
int c_codec_run(int work, uint8_t encoding, unsigned chunk_log2, const uint8_t *bytes,
                uint64_t length, char **output, size_t *output_length, const char **rule)
{
    *output = NULL;
    *output_length = 0;
    *rule = broken_rule = "";
    /* The encoder returns to the header, which memory streams do not support. */
    static FILE *stream;
    if (stream == NULL && (stream = tmpfile()) == NULL)
        return (int)FAILED;
    rewind(stream);
    if (ftruncate(fileno(stream), 0) != 0)
        return (int)FAILED;
    status result;
    switch (work) {
    case RESTORE:
        result = restore(bytes, length, stream);
        break;
    case TRANSCODE:
        result = transcode_bytes(bytes, length, encoding, stream);
        break;
    default:
        result = encode(bytes, length, encoding, chunk_log2, stream);
    }
    *rule = broken_rule;
    if (result == ACCEPTED)
        result = read_back(stream, output, output_length);
    return (int)result;
}

void c_codec_free(char *output)
{
    free(output);
}
