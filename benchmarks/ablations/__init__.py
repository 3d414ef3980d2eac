"""What each part of a recipe brings, decided on held-out training images; no test image is looked at."""
