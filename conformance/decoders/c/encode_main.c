/* unweight-encode INPUT OUTPUT ENCODING CHUNK: encodes a safetensors file (section 11). */
#include "unweight.h"

#include <stdlib.h>

static status parse_chunk(const char *word, unsigned *chunk_log2)
{
    char *end;
    unsigned long value = strtoul(word, &end, 10);
    if (end == word || *end != '\0' || value < MIN_CHUNK_LOG2 || value > MAX_CHUNK_LOG2)
        return fail("found chunk size %s, expected 12 to 16", word);
    *chunk_log2 = (unsigned)value;
    return ACCEPTED;
}

static status run(char **words, uint8_t **bytes)
{
    uint64_t length = 0;
    uint8_t encoding = 0;
    unsigned chunk_log2 = 0;
    TRY(parse_encoding(words[3], &encoding));
    TRY(parse_chunk(words[4], &chunk_log2));
    TRY(read_input(words[1], bytes, &length));
    FILE *output = fopen(words[2], "wb");
    if (output == NULL)
        return fail("cannot open the output %s", words[2]);
    return close_output(output, words[2], encode(*bytes, length, encoding, chunk_log2, output));
}

int main(int count, char **words)
{
    uint8_t *bytes = NULL;
    if (count != 5)
        return report_exit(fail("usage: unweight-encode INPUT OUTPUT ENCODING CHUNK"));
    status result = run(words, &bytes);
    free(bytes);
    return report_exit(result);
}
