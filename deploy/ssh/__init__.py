"""A board over SSH: the connection, the program that runs there, what is prepared there, and a bench of it."""
