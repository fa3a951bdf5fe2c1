/* The objects of a piece of RPSL text, one pass over the bytes: where each begins and ends, and what plain routes and
   aut-nums say.

   What is plain is what columns.py says: one key without comment or continuation, one origin `AS1234`, one source, dates
   of eight digits, no `member-of:`.  Whatever is doubtful gets kind OTHER and goes to the exact reader (objects.py), which
   alone mends and rejects.  Reserved space, host bits, names of sources and codes of countries are judged by columns.py
   afterwards, as they are for the columns of text.py, which does the same work where there is no C compiler.

   It reads only text[0 .. size] (the last is a zero), writes only rows[0 .. most - 1], and owns no memory: a line ends
   with "\n", which is in no name, so no comparison goes beyond it.  tests/properties/test_table_columns.py holds it equal to the exact reader. */

#include <stdint.h>
#include <string.h>

enum { OTHER = 0, AUT_NUM = 1, ROUTE = 4, ROUTE6 = 6 };

struct row { /* scan.py has the same */
    uint64_t value, newest, source_low, source_high;
    uint32_t begin, end, line, asn;
    uint8_t kind, length;
    uint16_t country; /* two letters, the first the lower byte; 0: none said */
    uint32_t spare;
};

struct object {
    struct row row;
    int plain, origins, sources, countries;
    uint32_t modified, changed;
};

struct value {
    const uint8_t *at, *end;
    int alone;
};

static int is(const uint8_t *line, const char *name, int size) {
    for (int i = 0; i < size; i++) {
        uint8_t byte = line[i], wanted = (uint8_t)name[i];
        if (wanted >= 'a' && wanted <= 'z')
            byte |= 0x20;
        if (byte != wanted)
            return 0;
    }
    return 1;
}

/* What follows `name:` on this line, and whether it is all there is of it. */
static struct value value_of(const uint8_t *line, int name, const uint8_t *end) {
    struct value value = {line + name, end, 0};
    while (value.at < end && (*value.at == ' ' || *value.at == '\t'))
        value.at++;
    if (value.at >= end)
        return value;
    uint8_t next = end[1];
    value.alone = *value.at > ' ' && end[-1] > ' ' && next != ' ' && next != '\t' && next != '+' && next != '%' &&
                  next != '#';
    return value;
}

/* A decimal number of at most `most` digits; those of two or more do not begin with 0 unless `zeros`.  -1: none. */
static int64_t number(const uint8_t **at, const uint8_t *end, int most, int zeros) {
    const uint8_t *begin = *at;
    int64_t number = 0;
    while (*at < end && *at - begin < most && (uint8_t)(**at - '0') < 10)
        number = number * 10 + (*(*at)++ - '0');
    if (*at == begin || (!zeros && *begin == '0' && *at - begin > 1))
        return -1;
    return number;
}

static int read_length(const uint8_t *at, const uint8_t *end, int most, struct row *row) {
    int64_t length = number(&at, end, 2, 0);
    row->length = (uint8_t)length;
    return at == end && length > 0 && length <= most;
}

static int read_prefix4(struct value v, struct row *row) {
    const uint8_t *at = v.at;
    uint64_t value = 0;
    for (int i = 0; i < 4; i++) {
        int64_t octet = number(&at, v.end, 3, 0);
        if (octet < 0 || octet > 255 || at >= v.end || *at++ != (i < 3 ? '.' : '/'))
            return 0;
        value = value << 8 | (uint64_t)octet;
    }
    row->value = value;
    return read_length(at, v.end, 32, row);
}

static int read_prefix6(struct value v, struct row *row) {
    const uint8_t *at = v.at;
    uint64_t value = 0;
    for (int group = 0; group < 4; group++) {
        const uint8_t *begin = at;
        uint64_t number = 0;
        for (; at < v.end && at - begin < 4; at++) {
            uint8_t digit = (uint8_t)(*at - '0'), letter = (uint8_t)((*at | 0x20) - 'a');
            if (digit < 10)
                number = number << 4 | digit;
            else if (letter < 6)
                number = number << 4 | (letter + 10u);
            else
                break;
        }
        if (at == begin || at >= v.end || *at++ != ':')
            return 0;
        value |= number << (48 - 16 * group);
        if (at < v.end && *at == ':') {
            if (++at >= v.end || *at++ != '/')
                return 0;
            row->value = value;
            return read_length(at, v.end, 64, row);
        }
    }
    return 0;
}

static int read_asn(struct value v, uint32_t *asn) {
    const uint8_t *at = v.at + 2;
    if (v.end - v.at < 3 || (v.at[0] | 0x20) != 'a' || (v.at[1] | 0x20) != 's')
        return 0;
    int64_t found = number(&at, v.end, 10, 1);
    *asn = (uint32_t)found;
    return at == v.end && found >= 0 && found <= 0xFFFFFFFF;
}

/* Eight digits at these offsets, as one number; -1 where one is none. */
static int64_t date(const uint8_t *at, const int8_t offsets[8]) {
    int64_t found = 0;
    for (int i = 0; i < 8; i++) {
        uint8_t digit = (uint8_t)(at[offsets[i]] - '0');
        if (digit > 9)
            return -1;
        found = found * 10 + digit;
    }
    return found;
}

static void take_first(struct object *object, const uint8_t *line, const uint8_t *end) {
    struct row *row = &object->row;
    if (is(line, "route:", 6)) {
        struct value value = value_of(line, 6, end);
        row->kind = ROUTE;
        object->plain = value.alone && read_prefix4(value, row);
    } else if (is(line, "route6:", 7)) {
        struct value value = value_of(line, 7, end);
        row->kind = ROUTE6;
        object->plain = value.alone && read_prefix6(value, row);
    } else if (is(line, "aut-num:", 8)) {
        struct value value = value_of(line, 8, end);
        row->kind = AUT_NUM;
        object->plain = value.alone && read_asn(value, &row->asn);
    }
}

static void take(struct object *object, const uint8_t *line, const uint8_t *end) {
    static const int8_t COMPACT[8] = {0, 1, 2, 3, 4, 5, 6, 7}, DASHED[8] = {0, 1, 2, 3, 5, 6, 8, 9};
    struct row *row = &object->row;
    switch (line[0] | 0x20) {
    case 'o':
        if (row->kind != AUT_NUM && is(line, "origin:", 7)) {
            struct value value = value_of(line, 7, end);
            object->origins++;
            object->plain &= value.alone && read_asn(value, &row->asn);
        }
        break;
    case 's':
        if (is(line, "source:", 7)) {
            struct value value = value_of(line, 7, end);
            uint64_t words[2] = {0, 0};
            size_t size = (size_t)(value.end - value.at);
            object->sources++;
            object->plain &= value.alone && size <= 16;
            if (object->plain)
                memcpy(words, value.at, size);
            row->source_low = words[0], row->source_high = words[1];
        }
        break;
    case 'c':
        if (row->kind == AUT_NUM && is(line, "country:", 8)) {
            struct value value = value_of(line, 8, end);
            object->countries++;
            object->plain &= value.alone && value.end - value.at == 2;
            row->country = (uint16_t)(value.at[0] | value.at[1] << 8);
        } else if (row->kind != AUT_NUM && is(line, "changed:", 8)) {
            struct value value = value_of(line, 8, end);
            size_t size = (size_t)(value.end - value.at);
            int64_t day = value.alone && size > 8 && !memchr(value.at, '#', size) ? date(value.end - 8, COMPACT) : -1;
            object->plain &= day >= 0;
            if (day > object->changed)
                object->changed = (uint32_t)day;
        }
        break;
    case 'l':
        if (row->kind != AUT_NUM && is(line, "last-modified:", 14)) {
            struct value value = value_of(line, 14, end);
            int dashes = value.alone && value.end - value.at >= 10 && value.at[4] == '-' && value.at[7] == '-';
            int64_t day = dashes ? date(value.at, DASHED) : -1;
            object->plain &= day >= 0;
            if (day > object->modified)
                object->modified = (uint32_t)day;
        }
        break;
    case 'm':
        if (is(line, "member-of:", 10))
            object->plain = 0;
        break;
    }
}

static void finish(struct object *object, struct row *row) {
    *row = object->row;
    row->newest = (uint64_t)object->modified << 32 | object->changed;
    if (!object->plain || object->sources != 1 || object->countries > 1 ||
        object->origins != (row->kind == AUT_NUM ? 0 : 1))
        row->kind = OTHER;
}

/* Fills `rows` with up to `most` objects of text[*at .. size - 1], which *line lines precede; how many they are.  *at and
   *line move behind them: there is no more where *at is `size`. */
int64_t scan(const uint8_t *text, uint64_t size, struct row *rows, int64_t most, uint64_t *at, uint64_t *line) {
    const uint8_t *here = text + *at, *stop = text + size;
    uint32_t number = (uint32_t)*line;
    int64_t count = 0;
    struct object object;
    int inside = 0;
    while (here < stop) {
        const uint8_t *end = memchr(here, '\n', (size_t)(stop - here));
        if (!end)
            break; /* no line, since it does not end */
        if (here == end) {
            if (inside) {
                finish(&object, rows + count++);
                inside = 0;
            }
        } else if (inside) {
            object.row.end = (uint32_t)(end - text);
            if (object.plain)
                take(&object, here, end);
        } else {
            if (count == most)
                break;
            memset(&object, 0, sizeof object);
            object.row.begin = (uint32_t)(here - text), object.row.end = (uint32_t)(end - text);
            object.row.line = number;
            inside = 1;
            take_first(&object, here, end);
        }
        here = end + 1, number++;
    }
    if (inside)
        finish(&object, rows + count++);
    if (count < most || here >= stop)
        here = stop;
    *at = (uint64_t)(here - text);
    *line = number;
    return count;
}
