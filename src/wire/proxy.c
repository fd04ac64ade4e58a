/* wire/proxy.c - strict, since who can send this says who everybody is: what a proxy could not have written is refused,
 * instead of being read in some way.
 *
 * Version 2, big-endian:   at  bytes  field
 *                           0     12  signature
 *                          12      1  version (2) << 4 | command (0 LOCAL, 1 PROXY)
 *                          13      1  family (0 none, 1 IPv4, 2 IPv6, 3 unix) << 4 | transport (0 none, 1 stream, 2 datagram)
 *                          14      2  bytes that follow
 *                          16      *  source, destination, ports: 12, 36 or 216 bytes; then type, length, value by turns */
#include "wire/proxy.h"

#include "base/crc32c.h"

enum {
    V2_HEAD_BYTES = 16,
    V2_CHECKSUM = 0x03,
    V2_CHECKSUM_BYTES = 4
};

static const uint8_t v1_signature[] = "PROXY ";
static const uint8_t v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";

enum { V1_SIGNATURE_BYTES = sizeof v1_signature - 1, V2_SIGNATURE_BYTES = sizeof v2_signature - 1 };

static uint16_t read_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static enum proxy_answer wrong(const char **problem_out, const char *problem)
{
    *problem_out = problem;
    return PROXY_WRONG;
}

/* --- version 1 ---------------------------------------------------------------------------------- */

/* The word up to the next blank, which is used too; the last one has none behind it. */
static struct span word_take(struct span *line, bool last)
{
    const uint8_t *blank = line->bytes > 0 ? memchr(line->at, ' ', line->bytes) : NULL;
    struct span    word = span_of(line->at, blank != NULL ? (size_t)(blank - line->at) : line->bytes);

    if (last != (blank == NULL))
        return span_of(line->at, 0);
    *line = span_from(*line, word.bytes + !last);
    return word;
}

static bool port_read(struct span word, uint16_t *out)
{
    unsigned value = 0;

    if (word.bytes == 0 || word.bytes > 5 || (word.bytes > 1 && word.at[0] == '0'))
        return false;
    for (size_t i = 0; i < word.bytes; i++) {
        if (word.at[i] < '0' || word.at[i] > '9')
            return false;
        value = value * 10 + (unsigned)(word.at[i] - '0');
    }
    *out = (uint16_t)value;
    return value <= 65535;
}

static bool address_read(struct span word, bool six, struct ip *out)
{
    bool colon = word.bytes > 0 && memchr(word.at, ':', word.bytes) != NULL;

    return colon == six && ip_read(word, out);
}

static enum proxy_answer v1_parse(struct span input, struct proxy_header *out, const char **problem_out)
{
    size_t         seen = input.bytes < PROXY_LINE_BYTES_MAX ? input.bytes : PROXY_LINE_BYTES_MAX;
    const uint8_t *cr = memchr(input.at, '\r', seen);
    struct span    line, family;
    bool           six;

    if (memchr(input.at, '\n', cr != NULL ? (size_t)(cr - input.at) : seen) != NULL)
        return wrong(problem_out, "LF without CR");
    if (cr == NULL)
        return seen < PROXY_LINE_BYTES_MAX ? PROXY_MORE : wrong(problem_out, "a line without an end");
    if (cr == input.at + seen - 1)
        return seen < PROXY_LINE_BYTES_MAX ? PROXY_MORE : wrong(problem_out, "a line without an end");
    if (cr[1] != '\n')
        return wrong(problem_out, "CR without LF");
    *out = (struct proxy_header){ .version = 1, .bytes = (size_t)(cr - input.at) + 2 };
    line = span_of(input.at + V1_SIGNATURE_BYTES, (size_t)(cr - input.at) - V1_SIGNATURE_BYTES);
    if (line.bytes >= 7 && memcmp(line.at, "UNKNOWN", 7) == 0 && (line.bytes == 7 || line.at[7] == ' '))
        return PROXY_DONE; /* what follows in the line is to be ignored */
    family = word_take(&line, false);
    six = span_is(family, "TCP6");
    if (!six && !span_is(family, "TCP4"))
        return wrong(problem_out, "neither TCP4 nor TCP6 nor UNKNOWN");
    out->kind = PROXY_INET;
    if (!address_read(word_take(&line, false), six, &out->source) ||
        !address_read(word_take(&line, false), six, &out->destination))
        return wrong(problem_out, "an address that is none");
    if (!port_read(word_take(&line, false), &out->source_port) || !port_read(word_take(&line, true), &out->destination_port))
        return wrong(problem_out, "a port that is none");
    return PROXY_DONE;
}

/* --- version 2 ---------------------------------------------------------------------------------- */

/* Whether the checksum that lies at `at` is right: it was made over the header with zeros in its place. */
static bool checksum_fits(struct span header, const uint8_t *at)
{
    static const uint8_t zeros[V2_CHECKSUM_BYTES];
    size_t               before = (size_t)(at - header.at);
    uint32_t             told = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3], made;

    made = crc32c(0, span_of(header.at, before));
    made = crc32c(made, span_of(zeros, sizeof zeros));
    made = crc32c(made, span_from(header, before + V2_CHECKSUM_BYTES));
    return made == told;
}

static enum proxy_answer v2_extensions(struct span header, struct span rest, const char **problem_out)
{
    bool checked = false;

    while (rest.bytes > 0) {
        size_t bytes;

        if (rest.bytes < 3 || (bytes = read_u16(rest.at + 1)) > rest.bytes - 3)
            return wrong(problem_out, "an extension longer than the header");
        if (rest.at[0] == V2_CHECKSUM) {
            if (checked || bytes != V2_CHECKSUM_BYTES || !checksum_fits(header, rest.at + 3))
                return wrong(problem_out, "a checksum that does not fit");
            checked = true;
        }
        rest = span_from(rest, 3 + bytes);
    }
    return PROXY_DONE;
}

/* size: of one address; the two are followed by their ports. */
static void v2_addresses(const uint8_t *at, size_t size, struct proxy_header *out)
{
    struct ip *const to[] = { &out->source, &out->destination };

    out->kind = PROXY_INET;
    for (size_t i = 0; i < 2; i++) {
        memset(to[i]->at, 0, 10);
        memset(to[i]->at + 10, 0xff, 2);
        memcpy(to[i]->at + 16 - size, at + i * size, size);
    }
    out->source_port = read_u16(at + 2 * size);
    out->destination_port = read_u16(at + 2 * size + 2);
}

static enum proxy_answer v2_parse(struct span input, struct proxy_header *out, const char **problem_out)
{
    static const size_t sizes[] = { 0, 12, 36, 216 }; /* by family */
    uint8_t             command, family, transport;
    size_t              length;

    if (input.bytes < V2_HEAD_BYTES)
        return PROXY_MORE;
    command = input.at[12] & 15;
    family = input.at[13] >> 4;
    transport = input.at[13] & 15;
    length = read_u16(input.at + 14);
    if (input.at[12] >> 4 != 2 || command > 1)
        return wrong(problem_out, "a version or a command that is not known");
    if (family > 3 || transport > 2)
        return wrong(problem_out, "a family or a transport that is not known");
    if (V2_HEAD_BYTES + length > PROXY_BYTES_MAX)
        return wrong(problem_out, "longer than 4096 bytes");
    if (input.bytes < V2_HEAD_BYTES + length)
        return PROXY_MORE;
    *out = (struct proxy_header){ .version = 2, .bytes = V2_HEAD_BYTES + length };
    if (command == 0)
        return PROXY_DONE; /* all that follows is to be ignored */
    if (length < sizes[family])
        return wrong(problem_out, "shorter than its addresses");
    if (family != 0 && transport == 2)
        return wrong(problem_out, "datagrams");
    if (family != 0 && transport != 0) {
        if (family == 3)
            out->kind = PROXY_UNIX;
        else
            v2_addresses(input.at + V2_HEAD_BYTES, family == 1 ? 4 : 16, out);
    }
    return v2_extensions(span_of(input.at, out->bytes), span_of(input.at + V2_HEAD_BYTES + sizes[family], length - sizes[family]),
                         problem_out);
}

/* --- both --------------------------------------------------------------------------------------- */

static bool begins(struct span input, const uint8_t *signature, size_t bytes)
{
    return memcmp(input.at, signature, input.bytes < bytes ? input.bytes : bytes) == 0;
}

enum proxy_answer proxy_parse(struct span input, struct proxy_header *out, const char **problem_out)
{
    if (input.bytes == 0)
        return PROXY_MORE;
    if (begins(input, v1_signature, V1_SIGNATURE_BYTES))
        return input.bytes < V1_SIGNATURE_BYTES ? PROXY_MORE : v1_parse(input, out, problem_out);
    if (begins(input, v2_signature, V2_SIGNATURE_BYTES))
        return input.bytes < V2_SIGNATURE_BYTES ? PROXY_MORE : v2_parse(input, out, problem_out);
    return wrong(problem_out, "no PROXY header");
}
