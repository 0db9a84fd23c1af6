// SPDX-License-Identifier: Apache-2.0
// The frames of a capture file, whatever its format.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "sipheal/sip/captured_message.h"

namespace sipheal::inline v0_1::pcap {

struct Frame {
  sip::CaptureTime time{};
  int link_type = 0;  // as files name it (LINKTYPE_...)
  std::string_view bytes;
};

class CaptureFile {
 public:
  virtual ~CaptureFile() = default;
  // The next frame, whose bytes are good until the next call; empty at the end.
  virtual std::optional<Frame> Next() = 0;
  // Why the end came too early, and at which byte of the file; empty: it was the true end.
  virtual std::string damage() const = 0;
};

// NotFound or InvalidArgument when there is nothing to read. Reads forward only, so that a pipe
// will do.
absl::StatusOr<std::unique_ptr<CaptureFile>> OpenCapture(const std::string& path);

// What a person calls a link type: "IEEE802_11", or its number.
std::string LinkTypeName(int link_type);

}  // namespace sipheal::inline v0_1::pcap
