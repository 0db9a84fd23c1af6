// SPDX-License-Identifier: Apache-2.0
// A conformance case asks one clause of an interface's contract of one implementation. It needs no
// test framework: a host runs the cases from whatever it tests with (conformance/gtest.h is the
// glue for GoogleTest).
//
//   for (const auto& c : sipheal::conformance::SessionStoreCases()) {
//     MyHarness harness;
//     absl::Status result = c.run(harness);   // a new harness for each case
//   }
//
// OK: the clause holds. Unimplemented: the harness cannot bring about what the case needs, and the
// case was skipped; the text says what. Anything else: the implementation broke the clause, and the
// text says how.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace sipheal::inline v0_1::conformance {

template <typename Harness>
struct Case {
  std::string_view id;           // of the clause: "SS-5"
  std::string_view name;         // of the case, unique: "PutReplacesTheRecord"
  std::string_view requirement;  // what is asked, for a person
  absl::Status (*run)(Harness& harness);
};

}  // namespace sipheal::inline v0_1::conformance
