// SPDX-License-Identifier: Apache-2.0
// Reads what a body of type application/dialog-info+xml (RFC 4235) tells of dialogs: no more of XML
// than that takes, and nothing from a body that is not well formed enough to be sure.
#pragma once

#include <cstdint>
#include <string_view>

namespace sipheal::inline v0_1::sip {

// As the notifier sees it: "local" is the notifier's side. Views into the body; nothing is
// unescaped.
struct DialogInfoView {
  std::string_view call_id;
  std::string_view local_tag;
  std::string_view remote_tag;
  std::uint32_t local_cseq = 0;  // 0: not told
  std::uint32_t remote_cseq = 0;
};

// Takes the next dialog element off that names Call-ID and both tags; false at the end.
bool NextDialogInfo(std::string_view* body, DialogInfoView* info);

}  // namespace sipheal::inline v0_1::sip
