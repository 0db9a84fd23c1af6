// SPDX-License-Identifier: Apache-2.0
// Written after it was read is a fixed point: a stored dialog state, and the channel variables that
// are made of it, which read back as what they were made from.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

std::vector<std::string> Uris(std::string_view list) {
  std::vector<std::string> uris;
  sipheal::sip::NameAddrView entry;
  sipheal::sip::ListStep step;
  while ((step = sipheal::sip::NextNameAddr(&list, &entry)) == sipheal::sip::ListStep::kValue) {
    uris.emplace_back(entry.uri);
  }
  Require(step == sipheal::sip::ListStep::kEnd);
  return uris;
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

  const auto variables = RecoveryVariables(dialog);
  if (!variables.ok()) return 0;
  for (const auto& [name, value] : *variables) {
    const std::string_view field = std::string_view(name).substr(15);  // behind PJSIP_RECOVERY_
    if (field == "FROM_URI") Require(value == dialog.local.uri && UriView::Parse(value));
    if (field == "TO_URI") Require(value == dialog.remote.uri && UriView::Parse(value));
    if (field == "FROM_TAG") Require(value == dialog.local.tag);
    if (field == "TO_TAG") Require(value == dialog.remote.tag);
    if (field == "CALL-ID") Require(value == dialog.call_id);
    if (field == "ROUTES") Require(Uris(value) == dialog.route_set);
    if (field == "REQUEST_URI") {
      const auto uri = UriView::Parse(value);
      Require(uri.has_value());
      if (uri->is_sip) Require(uri->headers.empty() && !uri->Param("method"));
    }
    Require(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
  }
  return 0;
}
