/* A DNS load on one loopback server, and its figures as one line of JSON.

     load ADDRESS PORT NAME TYPE SECONDS [rate=N] [window=N] [subnets=FILE] [cookie=1] [flood=1]

   NAME in text, TYPE as a number.  `rate`: queries a second, evenly spaced; without it, as many as are answered with
   `window` (100) outstanding, as dnsperf does.  `subnets`: a file of 4-octet addresses, each query carries the /24 of
   a random one as ECS (dnsperf can send one subnet only, which every cache loves).  `cookie`: each carries a client
   cookie.  `flood`: each asks for another name below NAME.

   Latency runs from just before a batch is handed to the kernel to just after its answer was taken back.  A query
   without an answer after a second is lost. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, SIZE = 512, IDS = 65536, BINS = 200000 }; /* bins of a microsecond */

static struct mmsghdr out[BATCH], in[BATCH];
static struct iovec outv[BATCH], inv[BATCH];
static unsigned char outb[BATCH][SIZE], inb[BATCH][4096 + 64];
static double sent_at[IDS]; /* 0: not outstanding */
static uint16_t ring[IDS];   /* ids in the order of sending */
static uint32_t bins[BINS + 1];
static uint64_t rcodes[16];
static uint32_t *subnets;
static size_t subnet_count;
static uint64_t seed = 88172645463325252ULL;

static uint64_t dice(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int put_name(unsigned char *at, const char *text)
{
    unsigned char *start = at;
    while (*text) {
        size_t length = strcspn(text, ".");
        *at++ = (unsigned char)length;
        memcpy(at, text, length);
        at += length;
        text += length + (text[length] == '.');
    }
    *at++ = 0;
    return (int)(at - start);
}

static double quantile(uint64_t total, double share)
{
    uint64_t seen = 0;
    for (int bin = 0; bin <= BINS; bin++)
        if ((seen += bins[bin]) >= share * total)
            return bin;
    return BINS;
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return fputs("see the head of load.c\n", stderr), 2;
    double seconds = atof(argv[5]), rate = 0;
    int window = 100, cookie = 0, flood = 0;
    for (int i = 6; i < argc; i++) {
        if (!strncmp(argv[i], "rate=", 5))
            rate = atof(argv[i] + 5);
        else if (!strncmp(argv[i], "window=", 7))
            window = atoi(argv[i] + 7);
        else if (!strncmp(argv[i], "cookie=", 7))
            cookie = atoi(argv[i] + 7);
        else if (!strncmp(argv[i], "flood=", 6))
            flood = atoi(argv[i] + 6);
        else if (!strncmp(argv[i], "subnets=", 8)) {
            FILE *file = fopen(argv[i] + 8, "rb");
            if (!file)
                return perror(argv[i] + 8), 2;
            fseek(file, 0, SEEK_END);
            subnet_count = ftell(file) / 4;
            rewind(file);
            subnets = malloc(subnet_count * 4);
            if (fread(subnets, 4, subnet_count, file) != subnet_count)
                return 2;
        }
    }
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    int sock = socket(AF_INET, SOCK_DGRAM, 0), space = 8 << 20;
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
    if (connect(sock, (struct sockaddr *)&server, sizeof server))
        return perror("connect"), 1;

    unsigned char model[SIZE] = {0};
    int size = 12, subnet_at = 0, cookie_at = 0, label_at = 0;
    model[2] = 0;
    model[5] = 1;
    if (flood) {
        label_at = 13;
        model[12] = 12;
        memcpy(model + 13, "abcdefghijkl", 12);
        size = 25;
    }
    size += put_name(model + size, argv[3]);
    model[size++] = atoi(argv[4]) >> 8;
    model[size++] = atoi(argv[4]);
    size += 2;
    model[size - 1] = 1;
    if (subnets || cookie) {
        unsigned char opt[] = {0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0};
        model[11] = 1;
        int rdlength = size + 9;
        memcpy(model + size, opt, sizeof opt);
        size += sizeof opt;
        if (cookie) { /* BIND sends the cookie behind the subnet; both orders are legal */
            unsigned char option[] = {0, 10, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0};
            memcpy(model + size, option, sizeof option);
            cookie_at = size + 4;
            size += sizeof option;
        }
        if (subnets) {
            unsigned char option[] = {0, 8, 0, 7, 0, 1, 24, 0, 0, 0, 0};
            memcpy(model + size, option, sizeof option);
            subnet_at = size + 8;
            size += sizeof option;
        }
        model[rdlength + 1] = size - rdlength - 2;
    }
    for (int i = 0; i < BATCH; i++) {
        memcpy(outb[i], model, size);
        outv[i] = (struct iovec){outb[i], size};
        inv[i] = (struct iovec){inb[i], 4096};
        out[i].msg_hdr.msg_iov = outv + i;
        in[i].msg_hdr.msg_iov = inv + i;
        out[i].msg_hdr.msg_iovlen = in[i].msg_hdr.msg_iovlen = 1;
    }

    uint64_t sent = 0, received = 0, lost = 0;
    uint64_t first = 0; /* position in the ring of the oldest that may be outstanding */
    int outstanding = 0;
    double begin = now(), end = begin + seconds, time = begin;
    while ((time = now()) < end || (outstanding && time < end + 1)) {
        int want = 0;
        if (time < end) {
            if (rate > 0) {
                double due = (time - begin) * rate - (double)sent;
                want = due > BATCH ? BATCH : (int)due;
                if (outstanding > IDS / 2)
                    want = 0;
            } else
                want = window - outstanding < BATCH ? window - outstanding : BATCH;
        }
        if (want > 0 && (rate > 0 || want >= BATCH / 2 || outstanding < window / 2)) {
            double stamp = now();
            for (int i = 0; i < want; i++) {
                uint16_t id = (uint16_t)((sent + i) * 40503u);
                unsigned char *p = outb[i];
                p[0] = id >> 8;
                p[1] = (unsigned char)id;
                if (subnet_at)
                    memcpy(p + subnet_at, &subnets[dice() % subnet_count], 3);
                if (cookie_at) {
                    uint64_t value = dice();
                    memcpy(p + cookie_at, &value, 8);
                }
                if (label_at) {
                    uint64_t value = dice();
                    for (int k = 0; k < 12; k++, value >>= 5)
                        p[label_at + k] = 'a' + (value & 31) % 26;
                }
                sent_at[id] = stamp;
                ring[(sent + i) % IDS] = id;
            }
            int done = sendmmsg(sock, out, want, 0);
            if (done < 0)
                done = 0;
            for (int i = done; i < want; i++)
                sent_at[ring[(sent + i) % IDS]] = 0;
            sent += done;
            outstanding += done;
        }
        int got = recvmmsg(sock, in, BATCH, MSG_DONTWAIT, NULL);
        if (got > 0) {
            double stamp = now();
            for (int i = 0; i < got; i++) {
                uint16_t id = inb[i][0] << 8 | inb[i][1];
                if (in[i].msg_len < 12 || !(inb[i][2] & 0x80) || sent_at[id] == 0)
                    continue;
                double micro = (stamp - sent_at[id]) * 1e6;
                bins[micro < BINS ? (int)micro : BINS]++;
                rcodes[inb[i][3] & 15]++;
                sent_at[id] = 0;
                outstanding--;
                received++;
            }
        } else if (rate == 0) {
            struct pollfd one = {sock, POLLIN, 0};
            poll(&one, 1, 1);
        }
        for (; first < sent; first++) {
            uint16_t id = ring[first % IDS];
            if (sent_at[id] != 0 && time - sent_at[id] < 1)
                break;
            if (sent_at[id] != 0) {
                sent_at[id] = 0;
                outstanding--;
                lost++;
            }
        }
    }
    lost += outstanding;
    double took = (time < end ? time : end) - begin;
    printf("{\"sent\": %lu, \"received\": %lu, \"lost\": %lu, \"seconds\": %.3f, \"p50\": %.0f, \"p99\": %.0f, "
           "\"p999\": %.0f, \"noerror\": %lu, \"nxdomain\": %lu, \"servfail\": %lu, \"refused\": %lu}\n",
           sent, received, lost, took, quantile(received, 0.5), quantile(received, 0.99), quantile(received, 0.999),
           rcodes[0], rcodes[3], rcodes[2], rcodes[5]);
    return 0;
}
