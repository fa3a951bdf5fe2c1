/* The common packet, without the interpreter: queries in, answers out, 64 a system call.

   What it knows is what nearly every resolver sends: one question that the plan answers with records, or a name or type
   that plainly does not exist (a flood of random names is the cheapest attack there is), in any case of letters, bare
   or with an OPT record that holds nothing, ECS, a COOKIE, or both.  Everything else - other options, wildcards,
   aliases, delegations, what is malformed, an answer that is too long, a client over its limit, a cookie that is not
   plainly good - is left in its slot for Python's Responder.respond(), which alone says what is right.  What is answered
   here is octet for octet what respond() would say; tests/properties/test_dns_step.py holds it so.

   It owns no memory: all tables are Python's (dns/serving/step.py), or the mapped plan itself.  It is compiled by the `cc` of
   the machine it runs on; where there is none, dns/serving/batch.py does the same work. */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    BATCH = 64,
    QUERY = 4096, /* octets read of a datagram */
    REPLY = 1232, /* the longest answer by UDP, edns.py */
    ODD = 64,     /* octets between buffers, lest all of them share a line of the cache */
    CONTROL = 64,
    PORTS = 64,
    ROUNDS = 16, /* batches from one port before others get their turn */
    UDP_MINIMUM = 512,
    BETWEEN = 255,  /* planfile.py: the scope is reckoned from the range's borders */
    FRESH = 1800,   /* cookies.py, seconds */
    AHEAD = 300,    /* likewise */
    SAMPLES = 128,  /* kept of a worker: samples.py */
    SAMPLED = 336,  /* octets kept of a query */
    RING_HEAD = 64,
    LEFT = -1,      /* this packet is Python's */
    NXDOMAIN = 3,
};

enum { /* counters.py; step.py compares */
    C_UDP = 0,
    C_ECS = 3,
    C_NXDOMAIN = 4,
    C_NODATA = 5,
    C_UNSENT = 17,
    C_TAILORED = 18,
    C_ANYWHERE = 19,
    C_STATIC = 21,
    C_TYPE_A = 22,
    C_TYPE_OTHER = 31,
    C_LATENCY = 32,
    C_LATENCY_NS = 43,
};

/* ---- tables; dns/serving/step.py has the same structures ---- */

struct answer {
    uint32_t at, size;  /* its records in `records`, owner c00c each; size 0: there are none */
    int32_t slot;       /* of the TTL, or -1: as written */
    uint32_t count;
};

struct partition {
    const uint32_t *starts4, *answers4;
    const uint8_t *scopes4;
    const uint64_t *starts6;
    const uint32_t *answers6;
    const uint8_t *scopes6;
    uint64_t count4, count6;
    uint32_t *index4; /* 65537: the first range that starts in each /16 or behind it */
};

struct entry {
    uint32_t key, key_size; /* lower-case name, type and class in `keys` */
    int32_t partition;      /* -1: one answer for everybody; for what is not there: octets of the zone's name */
    uint32_t first;         /* of its answers; for what is not there: the SOA, or NONE where it is not that plain */
};

struct table {
    const uint8_t *keys, *records;
    const struct entry *entries;
    const struct answer *answers;
    struct partition *partitions;
    const uint32_t *ttls;
    uint32_t *places; /* the hash table: number of an entry + 1, or 0 */
    uint32_t entry_count, partition_count, mask;
};

struct gate { /* cookies.py, rate.py */
    uint64_t cookie_key[2], limit_key[2];
    double *full;
    double interval, burst;
    uint32_t cookies, limits, places; /* whether they are on; a power of two */
};

struct port {
    int32_t file, family, anywhere, count; /* count: datagrams of the batch */
    int32_t lengths[BATCH], sizes[BATCH];  /* of queries; of replies, 0 for silence, LEFT for Python's */
    double began;                          /* when the batch was read, Unix seconds */
    struct sockaddr_in6 names[BATCH];      /* large enough for either family */
    uint8_t controls[BATCH][CONTROL];
    uint64_t control_sizes[BATCH];
    uint8_t queries[BATCH][QUERY + ODD];
    uint8_t replies[BATCH][2048 + ODD];
};

struct step {
    const struct table *table; /* none: everything is left */
    const struct gate *gate;
    struct port *ports[PORTS];
    int32_t port_count, left; /* left: the port whose batch waits for Python, or -1 */
    uint64_t *counts;          /* a row of the control page: counters.py */
    uint32_t *hits;            /* answers by TTL slot: hits.py */
    uint8_t *ring;            /* samples.py */
    double rate, credit, last; /* samples a second; how many may be taken, as of when */
    uint32_t every, until;     /* one of so many answers is a sample, 0: none; how many are left until the next */
    uint32_t generation;       /* of the plan */
    int32_t slot;              /* of the last answer, or -1 */
};

/* ---- SipHash-2-4 (Aumasson and Bernstein, 2012) ---- */

static inline uint64_t turned(uint64_t x, int by) { return x << by | x >> (64 - by); }

static uint64_t siphash(const uint64_t key[2], const uint8_t *data, size_t size)
{
    uint64_t a = key[0] ^ 0x736f6d6570736575ULL, b = key[1] ^ 0x646f72616e646f6dULL;
    uint64_t c = key[0] ^ 0x6c7967656e657261ULL, d = key[1] ^ 0x7465646279746573ULL;
#define ROUND                                                                                                          \
    do {                                                                                                               \
        a += b, b = turned(b, 13) ^ a, a = turned(a, 32), c += d, d = turned(d, 16) ^ c;                                \
        a += d, d = turned(d, 21) ^ a, c += b, b = turned(b, 17) ^ c, c = turned(c, 32);                                \
    } while (0)
    uint64_t word;
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        memcpy(&word, data + at, 8); /* little-endian machines only: step.py asks */
        d ^= word;
        ROUND;
        ROUND;
        a ^= word;
    }
    word = (uint64_t)size << 56;
    for (int shift = 0; at < size; at++, shift += 8)
        word |= (uint64_t)data[at] << shift;
    d ^= word;
    ROUND;
    ROUND;
    a ^= word;
    c ^= 0xff;
    ROUND;
    ROUND;
    ROUND;
    ROUND;
    return a ^ b ^ c ^ d;
}

/* ---- look-up ---- */

static uint32_t hashed(const uint8_t *key, size_t size)
{
    uint64_t h = 0xcbf29ce484222325ULL; /* FNV-1a: the keys are the operator's, and their number is fixed */
    for (size_t i = 0; i < size; i++)
        h = (h ^ key[i]) * 0x100000001b3ULL;
    return (uint32_t)(h ^ h >> 32);
}

/* Fills the hash table and the indices, whose room step.py has made. */
void step_index(struct table *t)
{
    for (uint32_t n = 0; n < t->entry_count; n++) {
        const struct entry *e = t->entries + n;
        uint32_t place = hashed(t->keys + e->key, e->key_size) & t->mask;
        while (t->places[place])
            place = (place + 1) & t->mask;
        t->places[place] = n + 1;
    }
    for (uint32_t n = 0; n < t->partition_count; n++) {
        struct partition *p = t->partitions + n;
        uint32_t at = 0;
        for (uint32_t block = 0; block < 65536; block++) {
            while (at < p->count4 && p->starts4[at] < block << 16)
                at++;
            p->index4[block] = at;
        }
        p->index4[65536] = (uint32_t)p->count4;
    }
}

static const struct entry *found(const struct table *t, const uint8_t *key, size_t size)
{
    for (uint32_t place = hashed(key, size) & t->mask; t->places[place]; place = (place + 1) & t->mask) {
        const struct entry *e = t->entries + t->places[place] - 1;
        if (e->key_size == size && !memcmp(t->keys + e->key, key, size))
            return e;
    }
    return NULL;
}

/* What says that the question of `size` octets at `key` has no answer: the entry of its zone's SOA; or none.

   A name that exists has a key that ends in type and class 0; one below which nothing else exists, nor a wildcard, has
   besides one that ends in class 1 (step.py).  Types that are not data are Python's. */
static const struct entry *missing(const struct table *t, uint8_t *key, size_t size, int *rcode)
{
    uint32_t type = (uint32_t)key[size - 4] << 8 | key[size - 3];
    if (!type || type == 41 || (type >= 128 && type < 256) || key[size - 2] || key[size - 1] != 1)
        return NULL;
    memset(key + size - 4, 0, 4);
    const struct entry *e = found(t, key, size);
    *rcode = e ? 0 : NXDOMAIN;
    for (size_t at = 0; !e && key[at];) {
        at += 1 + key[at];
        if (found(t, key + at, size - at)) {
            key[size - 1] = 1;
            e = found(t, key + at, size - at);
            break;
        }
    }
    return e && e->first != UINT32_MAX ? e : NULL;
}

static uint32_t look4(const struct partition *p, uint32_t value, int *scope)
{
    uint32_t low = p->index4[value >> 16], high = p->index4[(value >> 16) + 1];
    while (low < high) { /* the first that starts behind `value` */
        uint32_t middle = (low + high) / 2;
        if (p->starts4[middle] <= value)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t at = low - 1;
    *scope = p->scopes4[at];
    if (*scope == BETWEEN) { /* planfile.Ranges.scope() */
        int common = 99, other;
        if (p->starts4[at])
            common = 32 - __builtin_clz(value ^ (p->starts4[at] - 1));
        if (at + 1 < p->count4 && (other = 32 - __builtin_clz(value ^ p->starts4[at + 1])) < common)
            common = other;
        *scope = 33 - common;
    }
    return p->answers4[at];
}

static uint32_t look6(const struct partition *p, uint64_t value, int *scope)
{
    uint64_t low = 0, high = p->count6;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (p->starts6[middle] <= value)
            low = middle + 1;
        else
            high = middle;
    }
    uint64_t at = low - 1;
    *scope = p->scopes6[at];
    if (*scope == BETWEEN) {
        int common = 99, other;
        if (p->starts6[at])
            common = 64 - __builtin_clzll(value ^ (p->starts6[at] - 1));
        if (at + 1 < p->count6 && (other = 64 - __builtin_clzll(value ^ p->starts6[at + 1])) < common)
            common = other;
        *scope = 65 - common;
    }
    return p->answers6[at];
}

/* Whether an IPv6, by its upper 64 bits, may carry an IPv4 (model/address.py); those are Python's. */
static int may_carry(uint64_t high)
{
    return high >> 48 == 0x2002 || high >> 32 == 0x20010000 || high >> 32 == 0x0064ff9b || !(high >> 32);
}

/* ---- one packet ---- */

static inline uint32_t two(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

static inline uint32_t four(const uint8_t *at) { return two(at) << 16 | two(at + 2); }

static inline void put_two(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put_four(uint8_t *at, uint32_t value)
{
    put_two(at, value >> 16);
    put_two(at + 2, value);
}

static uint64_t leading(const uint8_t *data, size_t size) /* the first 8 octets, or fewer and zeroes */
{
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value = value << 8 | (i < size ? data[i] : 0);
    return value;
}

struct options {
    const uint8_t *subnet, *cookie; /* data of the options, or none */
    uint32_t subnet_size, cookie_size;
};

static int read_options(const uint8_t *at, const uint8_t *end, struct options *o)
{
    while (at < end) {
        if (end - at < 4)
            return 0;
        uint32_t code = two(at), size = two(at + 2);
        at += 4;
        if (size > (size_t)(end - at))
            return 0;
        if (code == 8 && !o->subnet)
            o->subnet = at, o->subnet_size = size;
        else if (code == 10 && !o->cookie)
            o->cookie = at, o->cookie_size = size;
        else
            return 0;
        at += size;
    }
    return 1;
}

/* The 24 octets of the COOKIE to send, at `to`; 0 where this cookie is not plainly new or plainly good. */
static int make_cookie(const struct gate *g, const struct options *o, const uint8_t *peer, size_t peer_size,
                       uint32_t now, uint8_t *to, int *valid)
{
    uint8_t message[32];
    *valid = o->cookie_size == 24;
    if (*valid) {
        int32_t age = (int32_t)(now - four(o->cookie + 12));
        if (o->cookie[8] != 1 || age < -AHEAD || age > FRESH)
            return 0;
        memcpy(message, o->cookie, 16);
    } else {
        if (o->cookie_size != 8)
            return 0;
        memcpy(message, o->cookie, 8);
        memcpy(message + 8, "\1\0\0", 4);
        put_four(message + 12, now);
    }
    memcpy(message + 16, peer, peer_size);
    uint64_t proof = siphash(g->cookie_key, message, 16 + peer_size);
    if (*valid && memcmp(&proof, o->cookie + 16, 8))
        return 0;
    memcpy(to, message, 16);
    memcpy(to + 16, &proof, 8);
    return 1;
}

/* Takes a token; 0 where there is none, which Python will find and act upon. */
static int admitted(const struct gate *g, const uint8_t *peer, size_t peer_size, double now)
{
    double *place = g->full + (siphash(g->limit_key, peer, peer_size == 4 ? 3 : 7) & (g->places - 1));
    double full = *place;
    if (full < now)
        full = now;
    else if (full - now > g->burst + g->interval)
        full = now + g->burst;
    if (full + g->interval - now > g->burst + 1e-9)
        return 0;
    *place = full + g->interval;
    return 1;
}

/* Where a query of this type is counted: counters.of_type(). */
static inline uint32_t kind(uint32_t type)
{
    static const uint8_t kinds[257] = {[1] = 1, [28] = 2, [2] = 3, [6] = 4, [16] = 5, [33] = 6,
                                       [256] = 7, [65] = 8, [255] = 9};
    return type > 256 || !kinds[type] ? C_TYPE_OTHER : C_TYPE_A + kinds[type] - 1;
}

/* The answer to `in` at `out` (REPLY octets of room) and its size, or LEFT.  `peer` has 4 or 16 octets. */
int step_answer(struct step *s, const uint8_t *in, size_t size, const uint8_t *peer, size_t peer_size, double now,
                uint8_t *out)
{
    const struct table *t = s->table;
    const struct gate *g = s->gate;
    uint8_t key[260];
    if (!t || size < 17 || in[2] > 1 || four(in + 4) != 0x10000 || two(in + 8) || two(in + 10) > 1)
        return LEFT; /* flags other than RD, or other sections than one question and one OPT */
    size_t at = 12, limit = size < 12 + 255 ? size : 12 + 255;
    for (;;) {
        if (at >= limit)
            return LEFT;
        uint8_t length = in[at];
        key[at - 12] = length;
        at++;
        if (!length)
            break;
        if (length > 63 || at + length > limit)
            return LEFT;
        for (size_t end = at + length; at < end; at++)
            key[at - 12] = (uint8_t)(in[at] >= 'A' && in[at] <= 'Z' ? in[at] + 32 : in[at]);
    }
    if (at + 4 > size)
        return LEFT;
    memcpy(key + at - 12, in + at, 4);
    at += 4;
    if (!two(in + at - 4) || two(in + at - 2) != 1)
        return LEFT; /* in the table, type 0 is not a type */
    const struct entry *e = found(t, key, at - 12);
    int edns = in[11], carried = 0, scope = 0, rcode = 0, negative = !e;
    if (negative && !(e = missing(t, key, at - 12, &rcode)))
        return LEFT;

    uint32_t flags = 0, most = UDP_MINIMUM, number = 0;
    struct options o = {0};
    if (edns) {
        if (size - at < 11 || in[at] || two(in + at + 1) != 41 || in[at + 6] || two(in + at + 9) != size - at - 11)
            return LEFT;
        uint32_t room = two(in + at + 3);
        most = room < UDP_MINIMUM ? UDP_MINIMUM : room > REPLY ? REPLY : room;
        flags = in[at + 7] & 0x80u;
        if (!read_options(in + at + 11, in + size, &o))
            return LEFT;
    } else if (size != at)
        return LEFT;
    const struct partition *p = negative || e->partition < 0 ? NULL : t->partitions + e->partition;
    if (o.subnet) {
        if (o.subnet_size < 5)
            return LEFT;
        uint32_t family = two(o.subnet), source = o.subnet[2], octets = o.subnet_size - 4;
        if (!source || o.subnet[3] || octets != (source + 7) >> 3)
            return LEFT;
        uint64_t value = leading(o.subnet + 4, octets);
        if (source < 64 && value << source)
            return LEFT; /* bits beyond the source */
        if (family == 1 && source <= 32) {
            if (p)
                number = look4(p, (uint32_t)(value >> 32), &scope);
        } else if (family == 2 && source <= 64 && !may_carry(value)) {
            if (p)
                number = look6(p, value, &scope);
        } else
            return LEFT;
        carried = (int)o.subnet_size + 4;
    } else if (p) {
        uint64_t value = leading(peer, peer_size);
        if (peer_size == 4)
            number = look4(p, (uint32_t)(value >> 32), &scope);
        else if (!may_carry(value))
            number = look6(p, value, &scope);
        else
            return LEFT;
    }
    const struct answer *a = t->answers + e->first + number;
    int valid = 0, cookie = 0;
    uint8_t option[24];
    if (o.cookie) {
        if (o.cookie_size != 8 && (o.cookie_size < 16 || o.cookie_size > 40))
            return LEFT;
        if (g->cookies) {
            if (!make_cookie(g, &o, peer, peer_size, (uint32_t)(int64_t)now, option, &valid))
                return LEFT;
            cookie = 28;
        }
    }
    size_t total = at + a->size + (edns ? 11 + carried + cookie : 0);
    if (!a->size || total > most)
        return LEFT;
    if (g->limits && !valid && !admitted(g, peer, peer_size, now))
        return LEFT;

    memcpy(out, in, at);
    out[2] |= 0x84; /* QR, AA */
    out[3] = (uint8_t)rcode;
    put_two(out + (negative ? 8 : 6), a->count);
    uint8_t *to = out + at;
    memcpy(to, t->records + a->at, a->size);
    s->slot = a->slot;
    s->counts[kind(two(in + at - 4))]++;
    if (a->slot >= 0) {
        for (uint8_t *record = to; record < to + a->size; record += 12 + two(record + 10))
            put_four(record + 6, t->ttls[a->slot]);
        s->hits[a->slot]++;
        s->counts[C_TAILORED]++;
        s->counts[C_ANYWHERE] += p && !number;
    } else if (!negative)
        s->counts[C_STATIC]++;
    if (negative) { /* its owner is the zone, which ends the question's name */
        put_two(to, (uint32_t)(0xc000 | (at - 4 - (size_t)e->partition)));
        s->counts[rcode ? C_NXDOMAIN : C_NODATA]++;
    }
    to += a->size;
    if (edns) {
        memcpy(to, "\0\0\x29\x04\xd0\0\0", 7);
        to[7] = (uint8_t)flags;
        to[8] = 0;
        put_two(to + 9, (uint32_t)(carried + cookie));
        to += 11;
        if (carried) {
            memcpy(to, o.subnet - 4, carried);
            to[7] = (uint8_t)scope;
            to += carried;
            s->counts[C_ECS]++;
        }
        if (cookie) {
            memcpy(to, "\0\x0a\0\x18", 4);
            memcpy(to + 4, option, 24);
        }
    }
    return (int)total;
}

/* ---- samples (samples.py) ---- */

struct sample {
    uint64_t number; /* from 1; written last */
    double at;
    uint32_t generation;
    int32_t slot;
    uint16_t size, reply_size, flags; /* octets of the query and of the reply; the reply's flags */
    uint8_t transport, peer_size;
    uint8_t peer[16];
    uint8_t query[SAMPLED];
};

static void take_sample(struct step *s, const uint8_t *in, size_t size, const uint8_t *peer, size_t peer_size,
                        const uint8_t *out, int reply_size, double now)
{
    s->until = s->every;
    if (now > s->last || now < s->last - 1)
        s->credit += now > s->last ? (now - s->last) * s->rate : 0, s->last = now;
    if (s->credit > s->rate)
        s->credit = s->rate;
    if (s->credit < 1)
        return;
    s->credit -= 1;
    uint64_t *head = (uint64_t *)s->ring, number = *head + 1;
    struct sample *one = (struct sample *)(s->ring + RING_HEAD) + number % SAMPLES;
    __atomic_store_n(&one->number, 0, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    one->at = now;
    one->generation = s->generation;
    one->slot = s->slot;
    one->size = (uint16_t)size;
    one->reply_size = (uint16_t)reply_size;
    one->flags = (uint16_t)two(out + 2);
    one->transport = 0;
    one->peer_size = (uint8_t)peer_size;
    memcpy(one->peer, peer, peer_size);
    memcpy(one->query, in, size < SAMPLED ? size : SAMPLED);
    __atomic_store_n(&one->number, number, __ATOMIC_RELEASE);
    __atomic_store_n(head, number, __ATOMIC_RELEASE);
}

/* ---- batches ---- */

static double seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Counts the latency of a batch: counters.took(). */
static void took(struct step *s, int count, double passed)
{
    static const double bounds[] = {10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 5e-3, 25e-3, 100e-3};
    uint32_t place = 0;
    if (passed < 0)
        passed = 0; /* a clock that was set back */
    while (place < sizeof bounds / sizeof *bounds && passed > bounds[place])
        place++;
    s->counts[C_LATENCY + place] += (uint64_t)count;
    s->counts[C_LATENCY_NS] += (uint64_t)(passed * 1e9) * (uint64_t)count;
}

/* Sends what has a size, from the address that was asked. */
void step_send(struct step *s, struct port *p)
{
    struct mmsghdr all[BATCH];
    struct iovec vectors[BATCH];
    int count = 0, done = 0;
    for (int i = 0; i < p->count; i++) {
        if (p->sizes[i] <= 0)
            continue;
        vectors[count] = (struct iovec){p->replies[i], (size_t)p->sizes[i]};
        struct msghdr *h = &all[count++].msg_hdr;
        memset(h, 0, sizeof *h);
        h->msg_name = p->names + i;
        h->msg_namelen = p->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        h->msg_iov = vectors + count - 1;
        h->msg_iovlen = 1;
        if (p->anywhere) {
            h->msg_control = p->controls[i];
            h->msg_controllen = p->control_sizes[i];
        }
    }
    while (done < count) {
        int now = sendmmsg(p->file, all + done, (unsigned)(count - done), MSG_DONTWAIT);
        if (now <= 0)
            now = 1, s->counts[C_UNSENT]++;
        done += now;
    }
    took(s, p->count, seconds() - p->began);
    p->count = 0;
}

/* datagrams.echoed(): in_pktinfo is interface, local address, address in the header. */
static void echo_info(struct port *p, int i, struct msghdr *h)
{
    p->control_sizes[i] = h->msg_controllen;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            info.ipi_ifindex = 0;
            info.ipi_spec_dst = info.ipi_addr;
            info.ipi_addr.s_addr = 0;
            memcpy(CMSG_DATA(c), &info, sizeof info);
        }
}

/* Answers a batch.  How many datagrams there were; `left` counts those that are Python's. */
static int batch(struct step *s, struct port *p, int *left)
{
    struct mmsghdr all[BATCH];
    struct iovec vectors[BATCH];
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){p->queries[i], QUERY};
        all[i].msg_hdr = (struct msghdr){p->names + i, sizeof p->names[i], vectors + i, 1,
                                         p->anywhere ? p->controls[i] : NULL, p->anywhere ? CONTROL : 0, 0};
    }
    int count = recvmmsg(p->file, all, BATCH, MSG_DONTWAIT, NULL);
    *left = 0;
    if (count <= 0)
        return 0; /* drained, or an error that an earlier reply met */
    double now = seconds();
    s->counts[C_UDP] += (uint64_t)count;
    p->count = count;
    p->began = now;
    for (int i = 0; i < count; i++) {
        const struct sockaddr_in *old = (const struct sockaddr_in *)(p->names + i);
        const uint8_t *peer = p->family == AF_INET ? (const uint8_t *)&old->sin_addr : p->names[i].sin6_addr.s6_addr;
        p->lengths[i] = (int32_t)all[i].msg_len;
        if (p->anywhere)
            echo_info(p, i, &all[i].msg_hdr);
        p->sizes[i] = step_answer(s, p->queries[i], all[i].msg_len, peer, p->family == AF_INET ? 4 : 16, now,
                                  p->replies[i]);
        if (p->sizes[i] == LEFT)
            *left += 1;
        else if (s->every && !--s->until)
            take_sample(s, p->queries[i], all[i].msg_len, peer, p->family == AF_INET ? 4 : 16, p->replies[i],
                        p->sizes[i], now);
    }
    if (!*left)
        step_send(s, p);
    return count;
}

static int64_t milliseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Answers for `timeout` milliseconds, or until `other` is readable, a signal comes, or packets are left for Python:
   then `left` is their port, and step_send() sends the whole batch. */
void step_run(struct step *s, int other, int timeout)
{
    int64_t end = milliseconds() + timeout;
    struct pollfd files[PORTS + 1];
    int left;
    s->left = -1; /* whatever was left of a batch has been sent */
    for (int i = 0; i < s->port_count; i++)
        files[i] = (struct pollfd){s->ports[i]->file, POLLIN, 0};
    files[s->port_count] = (struct pollfd){other, POLLIN, 0};
    for (;;) {
        if (poll(files, (nfds_t)s->port_count + 1, timeout) <= 0)
            return;
        for (int i = 0; i < s->port_count; i++)
            for (int round = 0; files[i].revents && round < ROUNDS; round++) {
                int count = batch(s, s->ports[i], &left);
                if (left) {
                    s->left = i;
                    return;
                }
                if (count < BATCH)
                    break;
            }
        if (files[s->port_count].revents || milliseconds() >= end)
            return;
    }
}

/* What step.py compares with its own idea of the structures, and with counters.py. */
void step_sizes(uint32_t sizes[20])
{
    const uint32_t own[20] = {
        sizeof(struct answer), sizeof(struct partition), sizeof(struct entry), sizeof(struct table),
        sizeof(struct gate),   sizeof(struct port),      sizeof(struct step),  sizeof(struct sample),
        C_UDP,                 C_ECS,                    C_NXDOMAIN,           C_NODATA,
        C_UNSENT,              C_TAILORED,               C_ANYWHERE,           C_STATIC,
        C_TYPE_A,              C_TYPE_OTHER,             C_LATENCY,            C_LATENCY_NS,
    };
    memcpy(sizes, own, sizeof own);
}
