// The one main() of the test binary; every other file under tests/ adds suites.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
