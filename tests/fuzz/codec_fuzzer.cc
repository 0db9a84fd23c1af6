// SPDX-License-Identifier: Apache-2.0
// Written after it was read is a fixed point: a stored dialog state. What is sent of such a state
// is for request_fuzzer.cc.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sipheal/sip/dialog_codec.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipheal::sip;  // NOLINT: a fuzz target is one function
  const auto decoded = DecodeDialog(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!decoded.ok()) return 0;
  const DialogState& dialog = decoded->dialog;
  const std::string written = EncodeDialog(dialog);
  const auto again = DecodeDialog(written);
  Require(again.ok() && again->damaged_fields == 0);
  Require(again->dialog == dialog);
  Require(EncodeDialog(again->dialog) == written);
  return 0;
}
