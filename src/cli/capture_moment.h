// SPDX-License-Identifier: Apache-2.0
// `--at`: the moment of a capture at which the server is taken to have died.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "sipheal/sip/captured_message.h"

namespace sipheal::inline v0_1::cli {

// One of the two, or none: the end of the capture.
struct CaptureMoment {
  std::optional<std::uint64_t> frame;  // the last one read
  std::optional<sip::CaptureTime> time;
};

// A whole number is a frame. A time is RFC 3339 ("2026-07-01T12:00:00.25Z", "...+02:00"), or
// seconds since 1970 with a point ("1782907200.25") or behind an @ ("@1782907200"). What is finer
// than a microsecond is cut off.
absl::StatusOr<CaptureMoment> ParseMoment(const std::string& text);

}  // namespace sipheal::inline v0_1::cli
