/* The bare floor of the hand-off benchmark: the least that a coordinator and a shim per step can do over sockets.
 * No JSON, no files, no journal, no recovery, no checks. What podturn needs above this is what its promises cost.
 *
 *   floor coordinate SOCKET GRAPH     hands out turns; prints "waiting" once all steps but step 0 have connected
 *   floor shim SOCKET INDEX COMMAND ARGUMENTS...
 *
 * GRAPH is text: the number of steps, then for each step the number of its dependencies, the number of its
 * dependents, and those dependents. One SOCK_SEQPACKET connection a shim (unix(7)): its index when it connects, one
 * byte for the turn, one byte for the end.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS_MAX = 4096 };
struct step { int waits_for, connection, dependents, *dependent; };
static struct step steps[STEPS_MAX];
static int count;

static void give_up(const char *what) {
    perror(what);
    exit(125);
}

static int open_socket(const char *path, struct sockaddr_un *address) {
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) exit(125);
    strcpy(address->sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) give_up("socket");
    return fd;
}

static void read_graph(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%d", &count) != 1 || count > STEPS_MAX) give_up(path);
    for (int i = 0; i < count; i++) {
        struct step *step = &steps[i];
        step->connection = -1;
        if (fscanf(file, "%d %d", &step->waits_for, &step->dependents) != 2) give_up(path);
        step->dependent = calloc((size_t)step->dependents + 1, sizeof(int));
        for (int k = 0; k < step->dependents; k++)
            if (fscanf(file, "%d", &step->dependent[k]) != 1) give_up(path);
    }
    fclose(file);
}

static void grant(int index) {
    if (steps[index].waits_for == 0 && steps[index].connection >= 0 && send(steps[index].connection, "r", 1, 0) != 1)
        give_up("send");
}

static int coordinate(const char *path, const char *graph) {
    struct sockaddr_un address;
    struct epoll_event events[64], interest = {.events = EPOLLIN, .data.u64 = STEPS_MAX};
    int listener = open_socket(path, &address), poll = epoll_create1(EPOLL_CLOEXEC), connected = 0, left;
    read_graph(graph);
    left = count;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, STEPS_MAX)) give_up("bind");
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &interest);
    while (left > 0) {
        int n = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            int index = (int)events[i].data.u64;
            if (index == STEPS_MAX) {
                int fd = accept4(listener, 0, 0, SOCK_CLOEXEC);
                if (recv(fd, &index, sizeof index, 0) != sizeof index) give_up("hello");
                interest.data.u64 = (unsigned long)index;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &interest);
                steps[index].connection = fd;
                if (++connected == count - 1) puts("waiting"), fflush(stdout);
                grant(index);
            } else {
                char byte;
                if (recv(steps[index].connection, &byte, 1, 0) == 1) {
                    left--;
                    for (int k = 0; k < steps[index].dependents; k++) {
                        steps[steps[index].dependent[k]].waits_for--;
                        grant(steps[index].dependent[k]);
                    }
                } else {
                    close(steps[index].connection);
                }
            }
        }
    }
    return 0;
}

static int shim(const char *path, int index, char **command) {
    struct sockaddr_un address;
    char byte;
    int status, fd = open_socket(path, &address);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) give_up("connect");
    if (send(fd, &index, sizeof index, 0) != sizeof index || recv(fd, &byte, 1, 0) != 1) give_up("turn");
    pid_t child = vfork();
    if (child == 0) {
        execv(command[0], command);
        _exit(127);
    }
    if (waitpid(child, &status, 0) != child) give_up("waitpid");
    if (send(fd, "e", 1, 0) != 1) give_up("end");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "coordinate")) return coordinate(argv[2], argv[3]);
    if (argc > 4 && !strcmp(argv[1], "shim")) return shim(argv[2], atoi(argv[3]), argv + 4);
    fputs("usage: floor coordinate SOCKET GRAPH | floor shim SOCKET INDEX COMMAND...\n", stderr);
    return 2;
}
