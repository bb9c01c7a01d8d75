// A planted data race: the thread sanitizer must find it, or its silence about the suite means nothing.
#include <cstdio>

int main() {
  int count = 0;
#pragma omp parallel for num_threads(2)
  for (int i = 0; i < 1000; ++i) ++count;
  std::printf("%d\n", count);
}
