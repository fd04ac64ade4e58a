/* wire/json_scan_body.h - the walk over one value; included once per path by json_scan_*.c, which define
 *   SCAN(name)   the name with the path's suffix
 *   SCAN_TARGET  the function attribute, or nothing
 *   SCAN_NEAR, SCAN_FAR   whether the path is for steps from member to member, and for whole containers and
 *                         several members at once; most are for both
 *   SCAN(plain_end)(start, at, end, window)   the first byte in at..end that is a quote, a backslash, below
 *                                     0x20 or above 0x7f; end when there is none
 *
 * Why one state machine and not recursion: J2, and because the position then stays in a register from
 * the first byte of an event to the last. The open containers are bits of one word, which is what
 * bounds JSON_DEPTH_MAX to 64. Strings are the bulk of an event; how their ends are found is all that
 * differs between the paths.
 * The road not taken: a bitmap of the whole text first (two passes). It is faster on large documents,
 * but needs memory, and an event of 1 KB is too short to win it back. */

_Static_assert(JSON_DEPTH_MAX <= 64, "open containers are bits of a uint64_t");

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* An event is 70 strings and 30 values: a call for each, with what it must save, was a sixth of the walk. */
#define SCAN_INLINE __attribute__((always_inline)) static inline

/* From behind the opening quote to the closing one; NULL: failed. */
SCAN_TARGET SCAN_INLINE const uint8_t *SCAN(string)(struct json_reader *reader, const uint8_t *at, bool *escaped,
                                                    struct json_window *window)
{
    const uint8_t *end = reader->end;

    for (;;) {
        at = SCAN(plain_end)(reader->start, at, end, window);
        if (UNLIKELY(at == end))
            break;
        if (LIKELY(*at == '"'))
            return at;
        if (*at >= 0x80) {
            do {
                size_t bytes = utf8_sequence(at, end);

                if (bytes == 0) {
                    json_scan_fail(reader, at, JSON_BAD_UTF8);
                    return NULL;
                }
                at += bytes;
            } while (at < end && *at >= 0x80);
        } else if (*at == '\\') {
            *escaped = true;
            at = json_scan_escape(reader, at);
            if (at == NULL)
                return NULL;
        } else {
            json_scan_fail(reader, at, JSON_BAD_STRING);
            return NULL;
        }
    }
    json_scan_fail(reader, end, JSON_END_EARLY);
    return NULL;
}

/* What is at `at` cannot be there, or the text ends there. */
SCAN_TARGET static inline int SCAN(unexpected)(struct json_reader *reader, const uint8_t *at)
{
    return json_scan_fail(reader, at, at == reader->end ? JSON_END_EARLY : JSON_SYNTAX);
}

/* The same, for those who return a position. */
SCAN_TARGET static inline const uint8_t *SCAN(lost)(struct json_reader *reader, const uint8_t *at)
{
    (void)SCAN(unexpected)(reader, at);
    return NULL;
}

/* From the first byte of a value, at < end and no white space, to behind its last; NULL: failed. *escaped: of
 * the value itself, when it is a string; else without meaning. */
SCAN_TARGET SCAN_INLINE const uint8_t *SCAN(value)(struct json_reader *reader, const uint8_t *at, bool *escaped,
                                                   struct json_window *window)
{
    const uint8_t *const end = reader->end;
    const unsigned       open_max = JSON_DEPTH_MAX - reader->depth;
    uint64_t             objects = 0; /* bit 0 is the innermost: 1 object, 0 array */
    unsigned             open = 0;

value: /* at < end, no white space */
    switch (*at) {
    case '"':
        at = SCAN(string)(reader, at + 1, escaped, window);
        if (UNLIKELY(at == NULL))
            return NULL;
        at++;
        break;
    case '{':
        if (UNLIKELY(open == open_max)) {
            json_scan_fail(reader, at, JSON_TOO_DEEP);
            return NULL;
        }
        open++;
        objects = objects << 1 | 1;
        at = json_pass_space(at + 1, end);
        if (UNLIKELY(at == end))
            return SCAN(lost)(reader, at);
        if (*at == '}')
            goto close;
        goto key;
    case '[':
        if (UNLIKELY(open == open_max)) {
            json_scan_fail(reader, at, JSON_TOO_DEEP);
            return NULL;
        }
        open++;
        objects = objects << 1;
        at = json_pass_space(at + 1, end);
        if (UNLIKELY(at == end))
            return SCAN(lost)(reader, at);
        if (*at == ']')
            goto close;
        goto value;
    case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        if (LIKELY(end - at >= 8)) { /* the usual number is short, and whole */
            const uint8_t *behind = json_number_usual(at, end);

            if (LIKELY(behind != NULL)) {
                at = behind;
                break;
            }
        }
        at = json_scan_number(reader, at);
        if (UNLIKELY(at == NULL))
            return NULL;
        break;
    case '-': case '0':
        at = json_scan_number(reader, at);
        if (UNLIKELY(at == NULL))
            return NULL;
        break;
    case 't': case 'f': case 'n':
        if (LIKELY(end - at >= 6)) {
            const uint8_t *behind = at + 4 + (*at == 'f');

            if (LIKELY(json_is_word(at) && json_ends_value(*behind))) {
                at = behind;
                break;
            }
        }
        at = json_scan_word(reader, at);
        if (UNLIKELY(at == NULL))
            return NULL;
        break;
    default:
        return SCAN(lost)(reader, at);
    }

after:
    if (open == 0)
        return at;
    at = json_pass_space(at, end);
    if (UNLIKELY(at == end))
        return SCAN(lost)(reader, at);
    if (LIKELY(*at == ',')) {
        at = json_pass_space(at + 1, end);
        if (UNLIKELY(at == end))
            return SCAN(lost)(reader, at);
        if (objects & 1)
            goto key;
        goto value;
    }
    if (UNLIKELY(*at != (objects & 1 ? '}' : ']')))
        return SCAN(lost)(reader, at);
close:
    at++;
    open--;
    objects >>= 1;
    goto after;

key: /* at < end, no white space */
    if (UNLIKELY(*at != '"'))
        return SCAN(lost)(reader, at);
    at = SCAN(string)(reader, at + 1, escaped, window);
    if (UNLIKELY(at == NULL))
        return NULL;
    at = json_pass_space(at + 1, end);
    if (UNLIKELY(at == end || *at != ':'))
        return SCAN(lost)(reader, at);
    at = json_pass_space(at + 1, end);
    if (UNLIKELY(at == end))
        return SCAN(lost)(reader, at);
    goto value;
}

SCAN_TARGET int SCAN(json_scan_skip)(struct json_reader *reader, struct json_value *value_out)
{
    const uint8_t *first = json_pass_space(reader->at, reader->end), *at;
    bool           escaped = false;
    enum json_kind kind;

    if (UNLIKELY(first == reader->end))
        return SCAN(unexpected)(reader, first);
    switch (*first) {
    case '"': kind = JSON_STRING; break;
    case '{': kind = JSON_OBJECT; break;
    case '[': kind = JSON_ARRAY; break;
    case 't': kind = JSON_TRUE; break;
    case 'f': kind = JSON_FALSE; break;
    case 'n': kind = JSON_NULL; break;
    default: kind = JSON_NUMBER; break;
    }
    at = SCAN(value)(reader, first, &escaped, &reader->window);
    if (UNLIKELY(at == NULL))
        return -1;
    reader->at = at;
    *value_out = (struct json_value){ .kind = kind,
                                      .escaped = kind == JSON_STRING && escaped,
                                      .raw = span_of(first, (size_t)(at - first)) };
    return 0;
}

/* From where the member before ended to the value of the next one, which may be the end; NULL: failed, or no
 * member is left, and then reader->at is behind the bracket. */
SCAN_TARGET static inline const uint8_t *SCAN(key)(struct json_reader *reader, const uint8_t *at, const uint8_t **first_out,
                                                   const uint8_t **behind_out, bool *escaped, struct json_window *window)
{
    const uint8_t *const end = reader->end;
    uint8_t             *level = &reader->levels[reader->depth];

    at = json_pass_space(at, end);
    if (UNLIKELY(at == end))
        return SCAN(lost)(reader, at);
    if (*at == '}') {
        reader->depth--;
        reader->at = at + 1;
        return NULL;
    }
    if (*level & LEVEL_FRESH) {
        *level = LEVEL_OBJECT;
    } else {
        if (UNLIKELY(*at != ','))
            return SCAN(lost)(reader, at);
        at = json_pass_space(at + 1, end);
    }
    if (UNLIKELY(at == end || *at != '"'))
        return SCAN(lost)(reader, at);
    *first_out = at;
    at = SCAN(string)(reader, at + 1, escaped, window);
    if (UNLIKELY(at == NULL))
        return NULL;
    *behind_out = at + 1;
    at = json_pass_space(at + 1, end);
    if (UNLIKELY(at == end || *at != ':'))
        return SCAN(lost)(reader, at);
    return json_pass_space(at + 1, end);
}

#if SCAN_NEAR
SCAN_TARGET int SCAN(json_scan_object_next)(struct json_reader *reader, struct json_value *key_out)
{
    const uint8_t *first, *behind, *at;
    bool           escaped = false;

    at = SCAN(key)(reader, reader->at, &first, &behind, &escaped, &reader->window);
    if (UNLIKELY(at == NULL))
        return reader->problem == JSON_FINE ? 0 : -1;
    reader->at = at;
    *key_out = (struct json_value){ .kind = JSON_STRING, .escaped = escaped, .raw = span_of(first, (size_t)(behind - first)) };
    return 1;
}
#endif

#if SCAN_FAR
SCAN_TARGET int SCAN(json_scan_object_next_of)(struct json_reader *reader, uint64_t lengths, struct json_value *key_out)
{
    const uint8_t *at = reader->at;

    for (;;) {
        const uint8_t *first, *behind;
        bool           escaped = false, passed;
        size_t         bytes;

        at = SCAN(key)(reader, at, &first, &behind, &escaped, &reader->window);
        if (UNLIKELY(at == NULL))
            return reader->problem == JSON_FINE ? 0 : -1;
        bytes = (size_t)(behind - first);
        if (escaped || bytes > JSON_KEY_BYTES_TOLD + 2 || (lengths >> (bytes - 2) & 1) != 0) {
            reader->at = at;
            *key_out = (struct json_value){ .kind = JSON_STRING, .escaped = escaped, .raw = span_of(first, bytes) };
            return 1;
        }
        if (UNLIKELY(at == reader->end))
            return SCAN(unexpected)(reader, at);
        at = SCAN(value)(reader, at, &passed, &reader->window);
        if (UNLIKELY(at == NULL))
            return -1;
    }
}
#endif
