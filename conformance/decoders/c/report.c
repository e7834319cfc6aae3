/* The line on stderr that names the broken rule (section 10), or says what else went wrong.
 *
 * The programs have one thread and report one thing, so the line is kept here. */
#include "unweight.h"

#include <stdarg.h>

static char place[80];
static char line[400];

void report_place_file(void)
{
    place[0] = '\0';
}

void report_place_tensor(uint32_t tensor)
{
    snprintf(place, sizeof place, "tensor %lu: ", (unsigned long)tensor);
}

void report_place_record(uint32_t tensor, uint64_t chunk, unsigned field)
{
    snprintf(place, sizeof place, "tensor %lu, chunk %llu, field %u: ", (unsigned long)tensor,
             (unsigned long long)chunk, field);
}

static void keep(const char *head, const char *format, va_list arguments)
{
    char message[256];
    vsnprintf(message, sizeof message, format, arguments);
    snprintf(line, sizeof line, "%s: %s%s", head, place, message);
}

status reject(const char *rule, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    keep(rule, format, arguments);
    va_end(arguments);
    return REJECTED;
}

status fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    place[0] = '\0';
    keep("error", format, arguments);
    va_end(arguments);
    return FAILED;
}

int report_exit(status result)
{
    if (result != ACCEPTED)
        fprintf(stderr, "%s\n", line);
    return (int)result;
}
