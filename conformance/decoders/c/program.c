/* What the programs share: files and arguments. */
#include "unweight.h"

#include <stdlib.h>
#include <string.h>

static status read_stream(FILE *stream, uint8_t **bytes, uint64_t *length)
{
    size_t capacity = 0, used = 0;
    for (;;) {
        if (used == capacity) {
            capacity = capacity == 0 ? 65536 : 2 * capacity;
            uint8_t *larger = realloc(*bytes, capacity);
            if (larger == NULL)
                return fail("no memory for the input");
            *bytes = larger;
        }
        size_t read = fread(*bytes + used, 1, capacity - used, stream);
        used += read;
        if (read == 0)
            break;
    }
    if (ferror(stream))
        return fail("cannot read the input");
    *length = used;
    return ACCEPTED;
}

/* Reads a whole file. Whatever the result, the caller frees the bytes. */
status read_input(const char *path, uint8_t **bytes, uint64_t *length)
{
    *bytes = NULL;
    FILE *stream = fopen(path, "rb");
    if (stream == NULL)
        return fail("cannot open the input %s", path);
    status result = read_stream(stream, bytes, length);
    fclose(stream);
    return result;
}

/* Closes the output, and removes it unless all was written. */
status close_output(FILE *output, const char *path, status result)
{
    if (fclose(output) != 0 && result == ACCEPTED)
        result = fail("cannot write the output %s", path);
    if (result != ACCEPTED)
        remove(path);
    return result;
}

status parse_encoding(const char *word, uint8_t *encoding)
{
    if (strcmp(word, "huffman") == 0)
        *encoding = FORM_HUFFMAN;
    else if (strcmp(word, "palette") == 0)
        *encoding = FORM_PALETTE;
    else
        return fail("found encoding %s, expected huffman or palette", word);
    return ACCEPTED;
}
