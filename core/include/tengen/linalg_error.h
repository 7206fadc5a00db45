// SPDX-License-Identifier: Apache-2.0
// A matrix on which an algorithm fails: singular, not positive definite, not finite. A RuntimeError with a name of its own
// (tengen.linalg.LinAlgError in Python).
#pragma once
#include <tengen/error.h>

namespace tg {

class LinalgError : public Error {
 public:
  explicit LinalgError(std::string message) : Error(ErrorKind::runtime, std::move(message)) {}
};

}  // namespace tg
