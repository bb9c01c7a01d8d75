#include "models/csv_log.h"

#include <filesystem>

#include "core/check.h"
#include "core/file.h"
#include "core/number.h"

namespace norma::models {
namespace {

std::string line(const std::vector<std::string>& values) {
  std::string text;
  for (std::size_t i = 0; i < values.size(); ++i) text += (i == 0 ? "" : ",") + values[i];
  return text + "\n";
}

// The header and the whole records up to a step of an earlier file.
std::string kept_records(const std::string& path, const std::string& header, std::int64_t last) {
  if (!std::filesystem::exists(path)) return header;
  const std::string old = read_file(path);
  NORMA_CHECK(old.starts_with(header), path,
              ": the log to go on with has other columns; move it away or name another");
  std::string kept = header;
  for (std::size_t begin = header.size(), end = 0; (end = old.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    const std::string record = old.substr(begin, end + 1 - begin);
    std::int64_t step = 0;
    if (parse_number(std::string_view(record).substr(0, record.find(',')), step) && step <= last)
      kept += record;
  }
  return kept;
}

}  // namespace

CsvLog::CsvLog(const std::string& path, const std::vector<std::string>& columns, std::int64_t resume)
    : path_(path), columns_(columns.size()) {
  make_folder_of(path);
  const std::string header = line(columns);
  AtomicFile file(path);
  file.write(resume < 0 ? header : kept_records(path, header, resume));
  file.commit();
  file_.open(path, std::ios::app);
  NORMA_CHECK(file_.good(), path, ": cannot be opened for writing");
}

void CsvLog::write(const std::vector<std::string>& values) {
  NORMA_ASSERT(values.size() == columns_);
  const std::string text = line(values);
  file_.write(text.data(), static_cast<std::streamsize>(text.size()));
  file_.flush();
  NORMA_CHECK(file_.good(), path_, ": cannot be written (disk full?)");
}

void make_folder_of(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  NORMA_CHECK(!error, path, ": cannot make its folder: ", error.message());
}

}  // namespace norma::models
