"""What reaches a board, or stands in for one: ``edgecnn.deploy`` in the wheel, and in a checkout by a link."""
