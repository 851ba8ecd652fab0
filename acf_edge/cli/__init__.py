"""The command line: one small file per verb, no logic; every verb calls into the rooms."""
