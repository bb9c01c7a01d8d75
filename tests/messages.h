// Checks on error messages.
#pragma once

#include <doctest/doctest.h>

#include <exception>
#include <string>

namespace norma::tests {

/// The message of the std::exception that body throws; "" when it throws none.
template <class Body>
std::string message_of(Body&& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace norma::tests

/// Checks that the expression throws and that the message holds the text.
#define CHECK_THROWS_MESSAGE_HAS(expression, text)                                                         \
  do {                                                                                                     \
    const std::string thrown = ::norma::tests::message_of([&] { static_cast<void>(expression); });         \
    CAPTURE(thrown);                                                                                       \
    CHECK_MESSAGE(thrown.find(text) != std::string::npos, "expected a message with: ", std::string(text)); \
  } while (false)
