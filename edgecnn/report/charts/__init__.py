"""Charts: data to an SVG in one pure function each, coloured by the classes of ``theme``."""
