"""``python -m tiltz.cli`` is the command ``tiltz``."""

from tiltz.cli import main

main()
