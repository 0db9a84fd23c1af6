// SPDX-License-Identifier: Apache-2.0
#include "sip/call_mentions.h"

#include <algorithm>

#include "sip/link_dialogs.h"
#include "sip/message_notes.h"

namespace sipheal::inline v0_1::sip {
namespace {

// Calls that others speak of, and how many others of one.
constexpr std::size_t kMaxNamed = 65'536;
constexpr std::size_t kMaxMentions = 8;
// A call with a longer Call-ID than any that is written is not held for another's sake: it would be
// held once for each that it names.
constexpr std::size_t kMaxMentioningCallId = 256;

}  // namespace

void CallMentions::Note(std::string_view call_id, std::string_view notes, bool certain) {
  if (call_id.size() > kMaxMentioningCallId) return;
  const std::size_t share = certain ? 1 : 2;
  sip::Note key;
  std::string_view value;
  while (NextNote(&notes, &key, &value)) {
    std::string_view name;
    if (key == sip::Note::kReplaces) name = CallIdInReplaces(value);
    if (key == sip::Note::kDialogInfo) name = value.substr(0, value.find('\x01'));
    if (name.empty()) continue;
    auto named = named_.find(name);
    if (named == named_.end()) {
      if (named_.size() >= kMaxNamed / share) {
        refused_ |= !certain;
        continue;
      }
      named = named_.emplace(std::string(name), Mentions()).first;
    }
    std::vector<std::string>& by = named->second.by;
    if (std::find(by.begin(), by.end(), call_id) != by.end()) continue;
    if (by.size() >= kMaxMentions / share) {
      refused_ |= !certain;
      continue;
    }
    by.emplace_back(call_id);
  }
}

const CallMentions::Named* CallMentions::Find(std::string_view call_id) const {
  if (named_.empty()) return nullptr;
  const auto named = named_.find(call_id);
  return named == named_.end() ? nullptr : &*named;
}

void CallMentions::Retire(std::span<const DialogState> dialogs) {
  for (const DialogState& dialog : dialogs) {
    const auto keep = [&](std::string_view name) {
      const auto named = named_.find(name);
      if (named == named_.end()) return;
      std::vector<std::string>& retired = named->second.retired;
      std::string kept = KeepReferences(dialog, name);
      if (!kept.empty() && retired.size() < kMaxMentions &&
          std::find(retired.begin(), retired.end(), kept) == retired.end()) {
        retired.push_back(std::move(kept));
      }
    };
    keep(CallIdInReplaces(dialog.references.replaces));
    for (const ToldDialog& told : dialog.references.told) keep(told.call_id);
  }
}

std::size_t CallMentions::size_bytes() const {
  std::size_t total = 0;
  for (const auto& [call_id, mentions] : named_) {
    total += EntryBytes<Mentions>(call_id);
    for (const auto* list : {&mentions.by, &mentions.retired}) {
      for (const std::string& text : *list) total += EntryBytes<char>(text);
    }
  }
  return total;
}

}  // namespace sipheal::inline v0_1::sip
