// SPDX-License-Identifier: Apache-2.0
// What the library throws. A user's mistake (ValueError, ...) and a fault of the library or a plugin (RuntimeError) are
// different kinds; the Python package maps each kind to the exception class of the same name.
#pragma once
#include <exception>
#include <sstream>
#include <string>

namespace tg {

enum class ErrorKind { value, type, index, overflow, memory, runtime, not_implemented, device_lost, io };

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}
  ErrorKind kind() const { return kind_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorKind kind_;
  std::string message_;
};

namespace detail {
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}
}  // namespace detail

// raise(ErrorKind::value, "[conv] expected ", a, ", got ", b)
template <class... Parts>
[[noreturn]] void raise(ErrorKind kind, const Parts&... parts) {
  throw Error(kind, detail::concat(parts...));
}

// A user's mistake: check(x > 0, "[op] expected ..., got ", x)
template <class... Parts>
void check(bool ok, const Parts&... parts) {
  if (!ok) [[unlikely]] throw Error(ErrorKind::value, detail::concat(parts...));
}

// The library's own mistake.
template <class... Parts>
void ensure(bool ok, const Parts&... parts) {
  if (!ok) [[unlikely]]
    throw Error(ErrorKind::runtime, detail::concat("internal error (please report it): ", parts...));
}

}  // namespace tg
