"""The command line that all tools share: arguments, config files, and what the two make."""
