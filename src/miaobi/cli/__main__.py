"""``python -m miaobi.cli``: for environments whose scripts are not on the path."""

from miaobi.cli import main

main()
