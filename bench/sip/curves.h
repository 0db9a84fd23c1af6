// SPDX-License-Identifier: Apache-2.0
// Whether any cost grows faster than the bytes: messages that are large in one way each.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace sipheal::bench {

struct CurvePoint {
  std::size_t count = 0;  // of what the curve counts
  std::size_t bytes = 0;  // of the message
  double ns = 0;          // to parse it and fold it
  bool taken = false;     // a limit may refuse it, which must be cheap, too

  double ns_per_byte() const { return ns / static_cast<double>(bytes); }
};

struct Curve {
  std::string name;
  std::vector<CurvePoint> points;
};

std::vector<Curve> MeasureCurves();

}  // namespace sipheal::bench
