// SPDX-License-Identifier: Apache-2.0
// What a hostile sender can make long, and how it grows.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "sipheal/sip/captured_message.h"

namespace sipheal::bench {

struct GrowthCase {
  const char* name;
  std::size_t size;  // the smaller one; the other is four times as large
  std::function<std::vector<sip::CapturedMessage>(std::size_t size)> make;
  bool refused = false;  // it is no message that is believed, and must be cheap all the same
};

const std::vector<GrowthCase>& GrowthCases();

}  // namespace sipheal::bench
