// How a product is cut: ranges, and the tasks of a parallel loop.
#pragma once

#include <algorithm>
#include <cstdint>

namespace norma {

constexpr std::int64_t cut(std::int64_t n, std::int64_t part) { return (n + part - 1) / part; }

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
  /// Part i of `parts` of nearly equal size.
  Range part(std::int64_t i, std::int64_t parts) const {
    return {begin + size() * i / parts, begin + size() * (i + 1) / parts};
  }
};

struct Tasks {
  std::int64_t rows, columns;
};

struct TaskLimits {
  std::int64_t count;    // of tasks, at least, where there is enough work
  std::int64_t rows;     // panels of rows in a task, at most
  std::int64_t columns;  // panels of columns in a task, at least, where the rows do not make enough tasks
  double work;           // multiply-adds in a task, at least
};

/// Parts of the rows and of the columns of c, in panels, whose pairs are the tasks: enough for any number of
/// threads that the work deserves, few enough to use a packed panel several times.
inline Tasks tasks_of(std::int64_t row_panels, std::int64_t column_panels, double work, TaskLimits limits) {
  std::int64_t wanted = limits.count;
  while (wanted * limits.rows < row_panels) wanted *= 2;
  while (wanted > 1 && work < limits.work * static_cast<double>(wanted)) wanted /= 2;
  const std::int64_t rows = std::min(wanted, row_panels);
  const std::int64_t most_columns = std::max<std::int64_t>(1, column_panels / limits.columns);
  return {rows, std::clamp(wanted / rows, std::int64_t{1}, most_columns)};
}

}  // namespace norma
