"""StyleNeRF and the small networks around it."""
