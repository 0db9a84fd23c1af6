// SPDX-License-Identifier: Apache-2.0
// How the messages of a dialog point to other dialogs. What comes of it needs those, too:
// link_dialogs.cc.
#include <algorithm>
#include <array>
#include <tuple>

#include "sip/derive_internal.h"
#include "sip/message_notes.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

// The entry as message_notes.cc writes it.
std::optional<ToldDialog> ReadTold(std::string_view text) {
  std::array<std::string_view, 5> parts;
  for (std::string_view& part : parts) {
    const std::size_t end = text.find('\x01');
    part = text.substr(0, end);
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
  }
  ToldDialog told;
  told.call_id = parts[0];
  told.notifier_tag = parts[1];
  told.other_tag = parts[2];
  const std::optional<std::uint32_t> own = ParseUnsigned(parts[3], 0x7fffffffu);
  const std::optional<std::uint32_t> other = ParseUnsigned(parts[4], 0x7fffffffu);
  if (!own || !other) return std::nullopt;
  told.notifier_seq = *own;
  told.other_seq = *other;
  return told;
}

}  // namespace

void Derivation::DeriveReferences(Draft& draft) const {
  DialogReferences& references = draft.state->references;
  const auto take = [](std::string_view text, std::string* value) {
    if (value->empty()) *value = text;
  };
  for (const Transaction* at : draft.creating) {
    if (!at->has_request) continue;
    const std::string_view notes = NotesOf(at->request);
    take(FindNote(notes, Note::kReplaces), &references.replaces);
    take(FindNote(notes, Note::kSession), &references.session_id);
    take(FindNote(notes, Note::kCharging), &references.charging_id);
    take(FindNote(notes, Note::kOtherLeg), &references.other_call_id);
  }
  for (const Transaction* at : draft.theirs) {
    if (at->method != Method::kNotify || !at->has_request) continue;
    const AnswerFact* final = FinalOf(draft, *at);
    if (final == nullptr || final->status >= 300) continue;
    std::string_view notes = NotesOf(at->request);
    Note key;
    std::string_view value;
    while (NextNote(&notes, &key, &value)) {
      if (key != Note::kDialogInfo) continue;
      if (std::optional<ToldDialog> told = ReadTold(value)) {
        told->message = RefOf(at->request);
        references.told.push_back(std::move(*told));
      }
    }
  }
  std::sort(references.told.begin(), references.told.end(),
            [](const ToldDialog& a, const ToldDialog& b) {
              return std::tie(a.message.time, a.message.sequence, a.call_id, a.other_tag) <
                     std::tie(b.message.time, b.message.sequence, b.call_id, b.other_tag);
            });
}

}  // namespace sipheal::inline v0_1::sip
