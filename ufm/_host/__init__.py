"""What is done on the host by NumPy, so that nothing is compiled: functions of JAX, random numbers
and roots."""
