"""``python -m motivation``, the command line."""

from motivation.commands.dispatch import main

if __name__ == '__main__':
    main()
