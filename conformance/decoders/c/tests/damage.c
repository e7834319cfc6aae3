/* damage RUNS SEED FILE...: flips bytes of files and cuts them, and runs the codec on each result.
 *
 * A crash, a report of a sanitizer, a run of more than two seconds or a result other than accepted
 * and rejected ends it. Files that end in .safetensors are encoded; all others are decoded, and
 * transcoded where they are accepted. */
#include "../unweight.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t state;

static uint64_t random_below(uint64_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
}

/* One of: another byte, another bit, a byte one more or less, an extreme byte, a copied byte,
 * eight random bytes, a shorter file. */
static void damage(uint8_t *bytes, uint64_t *length)
{
    static const uint8_t extremes[] = {0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF};
    uint64_t span = random_below(2) == 0 && *length > 256 ? 256 : *length;
    uint64_t at = random_below(span);
    switch (random_below(16)) {
    case 0:
        *length = random_below(*length);
        break;
    case 1:
    case 2:
        bytes[at] = (uint8_t)random_below(256);
        break;
    case 3:
    case 4:
        bytes[at]++;
        break;
    case 5:
    case 6:
        bytes[at]--;
        break;
    case 7:
    case 8:
        bytes[at] = extremes[random_below(sizeof extremes)];
        break;
    case 9:
        bytes[at] = bytes[random_below(*length)];
        break;
    case 10:
        for (uint64_t i = at; i < at + 8 && i < *length; i++)
            bytes[i] = (uint8_t)random_below(256);
        break;
    default:
        bytes[at] ^= (uint8_t)(1u << random_below(8));
        break;
    }
}

static status run_codec(const uint8_t *bytes, uint64_t length, bool is_source, FILE *output)
{
    uint8_t encoding = random_below(2) == 0 ? FORM_HUFFMAN : FORM_PALETTE;
    struct file file;
    rewind(output);
    if (is_source)
        return encode(bytes, length, encoding, 12 + (unsigned)random_below(5), output);
    TRY(prepare_transcoding(bytes, length, &file));
    return transcode(&file, encoding, output);
}

static uint8_t *read_or_exit(const char *path, uint64_t *length)
{
    uint8_t *bytes;
    if (read_input(path, &bytes, length) != ACCEPTED)
        exit(report_exit(FAILED));
    return bytes;
}

int main(int count, char **words)
{
    unsigned long results[2] = {0, 0}, damages = 0;
    FILE *output = tmpfile();
    if (count < 4 || output == NULL)
        return 2;
    unsigned long runs = strtoul(words[1], NULL, 10);
    state = 0x9E3779B97F4A7C15u + strtoul(words[2], NULL, 10);
    double slowest = 0;
    for (unsigned long i = 0; i < runs; i++) {
        uint64_t length;
        const char *path = words[3 + random_below((uint64_t)count - 3)];
        uint8_t *whole = read_or_exit(path, &length);
        bool is_source = strstr(path, ".safetensors") != NULL;
        for (uint64_t n = 1 + random_below(3); n > 0 && length > 0; n--, damages++)
            damage(whole, &length);
        uint8_t *exact = malloc(length == 0 ? 1 : (size_t)length);
        if (exact == NULL)
            return 2;
        memcpy(exact, whole, (size_t)length);
        clock_t start = clock();
        status result = run_codec(exact, length, is_source, output);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        if (result == FAILED || seconds > 2) {
            printf("run %lu, %s: status %d, %.1f s\n", i, path, (int)result, seconds);
            return report_exit(result) + 1;
        }
        slowest = seconds > slowest ? seconds : slowest;
        results[result]++;
        free(exact);
        free(whole);
    }
    printf("%lu runs, %lu damages: %lu accepted, %lu rejected, slowest %.2f s\n", runs, damages,
           results[ACCEPTED], results[REJECTED], slowest);
    fclose(output);
    return 0;
}
