/* Section 8: CRC-32 of ISO 3309, zlib and PNG. */
#include "unweight.h"

/* Continues with further bytes the checksum of those before them. */
uint32_t crc32_more(uint32_t crc, const uint8_t *bytes, uint64_t count)
{
    static uint32_t table[256];
    if (table[1] == 0) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int bit = 0; bit < 8; bit++)
                c = (c & 1) != 0 ? 0xEDB88320u ^ c >> 1 : c >> 1;
            table[i] = c;
        }
    }
    crc ^= 0xFFFFFFFFu;
    for (uint64_t i = 0; i < count; i++)
        crc = table[(crc ^ bytes[i]) & 0xFF] ^ crc >> 8;
    return crc ^ 0xFFFFFFFFu;
}

uint32_t crc32(const uint8_t *bytes, uint64_t count)
{
    return crc32_more(0, bytes, count);
}

/* With UNWEIGHT_ACCEPT_ANY_CHECKSUM, tests reach the code behind the checksums with damaged
 * files. Such a build is not a decoder. */
status check_crc(const char *rule, uint32_t found, uint32_t expected)
{
#ifdef UNWEIGHT_ACCEPT_ANY_CHECKSUM
    (void)rule;
    (void)found;
    (void)expected;
#else
    if (found != expected)
        return reject(rule, "found checksum 0x%08lX, expected 0x%08lX", (unsigned long)found,
                      (unsigned long)expected);
#endif
    return ACCEPTED;
}
