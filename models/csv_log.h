// A CSV file that grows by whole records: one that is killed can be read up to its last line.
#pragma once

#include <fstream>
#include <string>
#include <vector>

namespace norma::models {

class CsvLog {
 public:
  /// Starts a file with this header. With `resume` >= 0 the records of an earlier file are kept whose first
  /// column is at most `resume`; throws Error when its header is another. Missing folders are made. Throws
  /// Error naming the path when it cannot be written.
  CsvLog(const std::string& path, const std::vector<std::string>& columns, std::int64_t resume = -1);

  /// One value a column; NaN is written "nan". Empty texts stay empty.
  void write(const std::vector<std::string>& values);

 private:
  std::string path_;
  std::size_t columns_;
  std::ofstream file_;
};

/// Makes the folder that a file will stand in. Throws Error naming the path.
void make_folder_of(const std::string& path);

}  // namespace norma::models
