/* What the kernel alone costs: each datagram goes back as it came, 64 a system call.  echo ADDRESS PORT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64 };

int main(int argc, char **argv)
{
    static struct mmsghdr all[BATCH];
    static struct iovec vectors[BATCH];
    static struct sockaddr_in names[BATCH];
    static unsigned char data[BATCH][4096 + 64];
    if (argc != 3)
        return 2;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &own.sin_addr);
    int sock = socket(AF_INET, SOCK_DGRAM, 0), space = 4 << 20;
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
    if (bind(sock, (struct sockaddr *)&own, sizeof own))
        return 1;
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            vectors[i] = (struct iovec){data[i], 4096};
            all[i].msg_hdr = (struct msghdr){names + i, sizeof own, vectors + i, 1, NULL, 0, 0};
        }
        int count = recvmmsg(sock, all, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            vectors[i].iov_len = all[i].msg_len;
            data[i][2] |= 0x80; /* an answer */
        }
        for (int done = 0; done < count;) {
            int now = sendmmsg(sock, all + done, count - done, 0);
            done += now > 0 ? now : 1;
        }
    }
}
