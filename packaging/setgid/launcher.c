/*
 * The set-group-ID face of a program (postdrop, postqueue, postlog). The runtime that the programs are compiled with obeys its
 * environment before their first line runs; so the file that carries the privilege is this one, which passes nothing of the caller on
 * but the arguments, standard input, output and error, and the name of a configuration directory that the program itself authorizes. Root's
 * working directory stays, since nothing is gained by it.
 *
 * Compiled statically, with -DPROGRAM="/absolute/path" of the real program. Exit status 71 (EX_OSERR) when it cannot go on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define EX_OSERR 71
#define CONFIG_LIMIT 1024
#define ARGUMENT_LIMIT 10000

static const char *find(char **environment, const char *name) {
    size_t length = strlen(name);
    for (; environment != NULL && *environment != NULL; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

/* Descriptors 0, 1 and 2 exist, whatever the caller closed: a file that the program opens must not become its standard output. */
static void open_standard(void) {
    int fd;
    do
        if ((fd = open("/dev/null", O_RDWR)) < 0)
            _exit(EX_OSERR);
    while (fd <= 2);
    close(fd);
}

static void close_others(void) {
    if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0)
        return;
    for (int fd = 3; fd < 65536; fd++)
        close(fd);
}

static void reset_signals(void) {
    static const struct itimerval off;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < 65; number++)
        /* a caller under nohup keeps its wish */
        if (number != SIGHUP && number != SIGTERM)
            signal(number, SIG_DFL);
    setitimer(ITIMER_REAL, &off, NULL);
    setitimer(ITIMER_VIRTUAL, &off, NULL);
    setitimer(ITIMER_PROF, &off, NULL);
}

/* Limits that would make the program fail half way are lifted as far as they may be; core dumps are off. */
static void reset_limits(void) {
    static const int lifted[] = {RLIMIT_FSIZE, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_AS, RLIMIT_NOFILE, RLIMIT_NPROC};
    struct rlimit limit;
    for (size_t index = 0; index < sizeof lifted / sizeof *lifted; index++)
        if (getrlimit(lifted[index], &limit) == 0) {
            limit.rlim_cur = limit.rlim_max;
            if (lifted[index] == RLIMIT_STACK && limit.rlim_cur > 8UL << 20)
                limit.rlim_cur = 8UL << 20;
            if (lifted[index] == RLIMIT_NOFILE && limit.rlim_cur > 4096)
                limit.rlim_cur = 4096;
            setrlimit(lifted[index], &limit);
        }
    limit.rlim_cur = limit.rlim_max = 0;
    setrlimit(RLIMIT_CORE, &limit);
}

/* What root, who gains nothing here, may say to its own scripts' programs. */
static const char *const trusted[] = {"MAIL_LOGTAG", "MAIL_VERBOSE", "TZ"};
#define TRUSTED (int)(sizeof trusted / sizeof *trusted)

int main(int argc, char **argv, char **environment) {
    static char config[sizeof "MAIL_CONFIG=" + CONFIG_LIMIT];
    char *clean[4 + TRUSTED];
    int count = 0;
    int privileged = getuid() == 0;
    const char *directory = find(environment, "MAIL_CONFIG");

    if (argc < 1 || argc > ARGUMENT_LIMIT)
        _exit(EX_OSERR);
    open_standard();
    close_others();
    reset_signals();
    reset_limits();
    umask(022);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);

    clean[count++] = "PATH=/usr/bin:/bin";
    clean[count++] = "LANG=C";
    if (directory != NULL && *directory == '/' && strlen(directory) < CONFIG_LIMIT) {
        strcpy(config, "MAIL_CONFIG=");
        strcat(config, directory);
        clean[count++] = config;
    }
    for (int index = 0; privileged && index < TRUSTED; index++) {
        const char *value = find(environment, trusted[index]);
        if (value != NULL)
            clean[count++] = (char *)value - strlen(trusted[index]) - 1;
    }
    clean[count] = NULL;
    if (!privileged && chdir("/") != 0)
        _exit(EX_OSERR);
    argv[0] = strrchr(PROGRAM, '/') + 1;
    execve(PROGRAM, argv, clean);
    _exit(EX_OSERR);
}
