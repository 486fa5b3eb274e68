"""What our classes share."""
