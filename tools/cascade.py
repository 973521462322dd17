"""The command ``motivation cascade``."""

from motivation.commands.dispatch import run_command

if __name__ == '__main__':
    run_command('cascade')
