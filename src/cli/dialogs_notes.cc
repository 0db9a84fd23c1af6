// SPDX-License-Identifier: Apache-2.0
#include "cli/dialogs_notes.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "sip/printable.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/message_view.h"

namespace sipheal::inline v0_1::cli {

std::string NoteMalformed(std::span<const sip::CapturedMessage> messages,
                          const sip::ServerIdentity& server) {
  sip::DialogFolder folder(server);
  std::size_t malformed = 0;
  std::string first;
  for (const sip::CapturedMessage& message : messages) {
    const sip::FoldOutcome outcome = folder.Fold(message);
    folder.Forget(outcome.call_id);  // only the outcome is wanted
    if (outcome.result != sip::FoldResult::kMalformed) continue;
    if (++malformed == 1) {
      first =
          absl::StrFormat("frame %d, %s at byte %d", message.sequence,
                          std::string(sip::ToString(outcome.parse.error)), outcome.parse.offset);
    }
  }
  if (malformed == 0) return "";
  return absl::StrFormat("%d message%s malformed and of no dialog; the first: %s", malformed,
                         malformed == 1 ? " is" : "s are", first);
}

std::string NoteNoSip(std::uint64_t frames) {
  return absl::StrFormat(
      "no SIP in %d frame%s: is it another interface or port, or encrypted? Inside of TLS only HEP "
      "from the server shows it",
      frames, frames == 1 ? "" : "s");
}

std::string NoteAgents(const std::vector<std::string>& agents,
                       std::span<const sip::CapturedMessage> messages) {
  std::set<std::string> heard;
  for (const sip::CapturedMessage& message : messages) {
    if (!message.agent.empty()) heard.insert(message.agent);
  }
  if (std::any_of(agents.begin(), agents.end(),
                  [&](const std::string& agent) { return heard.contains(agent); })) {
    return "";
  }
  std::string text = "--agent " + agents.front() + ": no message came from it; ";
  if (heard.empty()) return text + "there is no HEP in the capture";
  text += "there are ";
  int shown = 0;
  for (const std::string& agent : heard) {
    if (++shown > 5) return text + ", ...";
    text += (shown == 1 ? "" : ", ") + sip::Printable(agent);
  }
  return text;
}

}  // namespace sipheal::inline v0_1::cli
