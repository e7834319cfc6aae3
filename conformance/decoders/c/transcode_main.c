/* unweight-transcode INPUT OUTPUT ENCODING: transcodes an Unweight file (11.9). */
#include "unweight.h"

#include <stdlib.h>

static status run(char **words, uint8_t **bytes)
{
    uint64_t length = 0;
    uint8_t encoding = 0;
    struct file file;
    TRY(parse_encoding(words[3], &encoding));
    TRY(read_input(words[1], bytes, &length));
    TRY(prepare_transcoding(*bytes, length, &file));
    FILE *output = fopen(words[2], "wb");
    if (output == NULL)
        return fail("cannot open the output %s", words[2]);
    return close_output(output, words[2], transcode(&file, encoding, output));
}

int main(int count, char **words)
{
    uint8_t *bytes = NULL;
    if (count != 4)
        return report_exit(fail("usage: unweight-transcode INPUT OUTPUT ENCODING"));
    status result = run(words, &bytes);
    free(bytes);
    return report_exit(result);
}
