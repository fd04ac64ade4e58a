/* penstock.c - main. The command table is in command/commands.c, the roles are in command/roles.c. */
#include "command/command.h"

int main(int argc, char **argv)
{
    return command_main(argc, argv);
}
