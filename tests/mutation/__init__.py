"""Is a slip of the pen noticed? Single changes of the library, each against the tests that name
what it changed."""
