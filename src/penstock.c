/* penstock.c - main. The command table is in command/commands.c, the roles are in command/roles.c. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "command/command.h"

/* Who is started with 0, 1 or 2 closed gives that number to the first file that it opens: a topic of the log, the store of persons.
 * What is printed or logged would then be written into it. So each of them is something; writing to stdout fails, as it did. */
static int standard_files_keep(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    if (standard_files_keep() < 0)
        return EXIT_FAILED; /* no /dev/null, and nowhere to say so */
    return command_main(argc, argv);
}
