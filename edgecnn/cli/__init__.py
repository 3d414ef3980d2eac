"""The command line: the frame in ``main``, shared options in ``options``, and one file per verb."""
