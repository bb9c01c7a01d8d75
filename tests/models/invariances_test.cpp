// The invariance table, cell by cell, against the table as the papers print it.
#include "models/invariances.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>

using namespace norma;
using namespace norma::models;

namespace {

// Zhang & Sennrich 2019, Table 1; columns as in invariance_operations, y = unchanged.
const std::map<std::string, std::string> papers{{"BatchNorm", "ynyyyn"},
                                                {"WeightNorm", "ynynnn"},
                                                {"LayerNorm", "yynyny"},
                                                {"RMSNorm", "ynnyny"},
                                                {"pRMSNorm", "ynnyny"}};

}  // namespace

TEST_SUITE_BEGIN("invariances");

TEST_CASE("the 30 cells of the papers, and those of the other methods") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const auto rows = measure_invariances(seed);
    std::size_t found = 0;
    for (const InvarianceRow& row : rows) {
      CAPTURE(row.method);
      const auto printed = papers.find(row.method);
      CHECK(row.in_papers == (printed != papers.end()));
      found += row.in_papers;
      for (std::size_t i = 0; i < row.cells.size(); ++i) {
        CAPTURE(invariance_operations[i]);
        CAPTURE(row.cells[i].change);
        if (row.in_papers) CHECK(row.cells[i].expected == (printed->second[i] == 'y'));
        CHECK(row.cells[i].agrees());
      }
    }
    CHECK(found == papers.size());
    CHECK(rows.size() > papers.size());
  }
}

TEST_CASE("signs and shifts: where the wording matters") {
  const auto statements = measure_invariance_statements();
  CHECK(statements.size() >= 11);
  for (const InvarianceStatement& statement : statements) {
    CAPTURE(statement.text);
    CAPTURE(statement.measured.change);
    CHECK(statement.measured.agrees());
  }
}

TEST_CASE("a measurement is a yes, a no, or unclear, and a table that is wrong is told so") {
  CHECK(Measured{0, true}.verdict() == Verdict::unchanged);
  CHECK(Measured{1e-15, true}.agrees());
  CHECK_FALSE(Measured{1e-15, false}.agrees());
  CHECK(Measured{0.3, false}.agrees());
  CHECK_FALSE(Measured{0.3, true}.agrees());
  for (const double change : {1e-6, std::nan("")}) {
    CHECK(Measured{change, true}.verdict() == Verdict::unclear);
    CHECK_FALSE(Measured{change, true}.agrees());
    CHECK_FALSE(Measured{change, false}.agrees());
  }
  auto rows = measure_invariances();
  auto statements = measure_invariance_statements();
  CHECK(disagreements(rows, statements).empty());
  rows[0].cells[1].expected = !rows[0].cells[1].expected;
  statements[0].measured.change = 1e-5;
  const auto lines = disagreements(rows, statements);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].starts_with(rows[0].method + ", weight matrix re-centering: expected "));
  CHECK(lines[1].starts_with(statements[0].text + ": expected "));
  CHECK(show(rows, statements).find("unclear") != std::string::npos);
}

TEST_SUITE_END();
