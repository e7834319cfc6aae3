/* unweight-decode INPUT OUTPUT: writes the restored source (3.3) of an Unweight file. */
#include "unweight.h"

#include <stdlib.h>

static status decode_to(const struct file *file, FILE *output)
{
    size_t length = (size_t)file->source_length;
    if (length > 0 && fwrite(file->source, 1, length, output) != length)
        return fail("cannot write the output");
    TRY(decode_tensors(file, output));
    return check_padding(file);
}

static status run(const char *input, const char *output_path, uint8_t **bytes)
{
    uint64_t length = 0;
    struct file file;
    TRY(read_input(input, bytes, &length));
    TRY(open_file(*bytes, length, &file));
    FILE *output = fopen(output_path, "wb");
    if (output == NULL)
        return fail("cannot open the output %s", output_path);
    return close_output(output, output_path, decode_to(&file, output));
}

int main(int count, char **words)
{
    uint8_t *bytes = NULL;
    if (count != 3)
        return report_exit(fail("usage: unweight-decode INPUT OUTPUT"));
    status result = run(words[1], words[2], &bytes);
    free(bytes);
    return report_exit(result);
}
