"""The commands of the command line, one in each file: ``add`` gives it a parser, ``run`` does it."""
