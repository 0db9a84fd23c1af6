// SPDX-License-Identifier: Apache-2.0
#include "sip/message_notes.h"

#include <array>

#include "sip/dialog_info.h"
#include "sip/sdp_lines.h"
#include "sip/text.h"
#include "sip/unfold.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

// What is longer is nothing that a conforming peer writes.
constexpr std::size_t kMaxValue = 256;
constexpr std::size_t kMaxNotes = 1024;
constexpr int kMaxAlternatives = 8;

void Add(Note key, std::string_view value, std::string* out) {
  if (value.size() > kMaxValue || out->size() + value.size() + 2 > kMaxNotes) return;
  std::string flat;
  if (value.find('\n') != value.npos) {
    Unfold(value, &flat);
    value = flat;
  }
  if (HasUnsafeBytes(value)) return;
  *out += static_cast<char>(key);
  *out += value;
  *out += '\n';
}

void AddIfThere(const MessageView& view, HeaderId id, Note key, std::string* out) {
  if (view.Has(id)) Add(key, view.Get(id), out);
}

// The value of a parameter of a comma list such as "Digest realm="x", nonce="y"".
std::string_view DigestParam(std::string_view list, std::string_view name) {
  std::size_t begin = list.find(' ');
  while (begin < list.size()) {
    std::size_t end = begin;
    bool quoted = false;
    while (end < list.size() && (quoted || list[end] != ',')) {
      if (list[end] == '"') quoted = !quoted;
      if (quoted && list[end] == '\\') ++end;
      ++end;
    }
    const std::string_view one = TrimLws(list.substr(begin, end - begin));
    const std::size_t equals = one.find('=');
    if (equals != one.npos && EqualsIgnoreCase(TrimLws(one.substr(0, equals)), name)) {
      std::string_view value = TrimLws(one.substr(equals + 1));
      if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
        value = value.substr(1, value.size() - 2);
      }
      return value;
    }
    begin = end + 1;
  }
  return {};
}

void AddNonces(const MessageView& view, HeaderId id, Note key, std::string* out) {
  view.ForEach(id, [&](std::string_view value) {
    const std::string_view nonce = DigestParam(value, "nonce");
    if (nonce.empty()) return;
    constexpr std::string_view kHex = "0123456789abcdef";
    std::array<char, 16> text;
    std::uint64_t hash = HashBytes(nonce);
    for (char& c : text) {
      c = kHex[hash & 0xf];
      hash >>= 4;
    }
    Add(key, std::string_view(text.data(), text.size()), out);
  });
}

// Whether Supported lists from-change. Its hyphen is looked for, which few option tags have.
bool SupportsFromChange(const MessageView& view) {
  constexpr std::string_view kToken = "from-change";
  constexpr std::size_t kHyphen = 4;
  bool found = false;
  view.ForEach(HeaderId::kSupported, [&](std::string_view list) {
    if (!HasAny<'-'>(list)) return;
    for (std::size_t at = list.find('-'); at != list.npos; at = list.find('-', at + 1)) {
      if (at < kHyphen || !EqualsIgnoreCase(list.substr(at - kHyphen, kToken.size()), kToken)) {
        continue;
      }
      const std::string_view before = TrimLws(list.substr(0, at - kHyphen));
      const std::string_view after = TrimLws(list.substr(at - kHyphen + kToken.size()));
      found = found ||
              ((before.empty() || before.back() == ',') && (after.empty() || after.front() == ','));
    }
  });
  return found;
}

void ReadLinks(const MessageView& view, std::string* out) {
  AddIfThere(view, HeaderId::kReplaces, Note::kReplaces, out);
  std::string_view session = view.Get(HeaderId::kSessionId);
  session = TrimLws(session.substr(0, session.find(';')));
  if (!session.empty()) Add(Note::kSession, session, out);
  // "icid-value=...;icid-generated-at=...": only the later parameters have a semicolon before them.
  std::string_view charging = view.Get(HeaderId::kChargingVector);
  constexpr std::string_view kIcid = "icid-value=";
  while (!charging.empty()) {
    const std::size_t end = charging.find(';');
    const std::string_view one = TrimLws(charging.substr(0, end));
    if (EqualsIgnoreCase(one.substr(0, kIcid.size()), kIcid)) {
      Add(Note::kCharging, one.substr(kIcid.size()), out);
      break;
    }
    charging = end == charging.npos ? std::string_view() : charging.substr(end + 1);
  }
  AddIfThere(view, HeaderId::kOtherLegCallId, Note::kOtherLeg, out);
}

void ReadDialogInfo(const MessageView& view, std::string* out) {
  constexpr std::string_view kType = "application/dialog-info+xml";
  constexpr int kMaxDialogs = 8;
  if (IsBodyCut(view) ||
      !EqualsIgnoreCase(view.Get(HeaderId::kContentType).substr(0, kType.size()), kType)) {
    return;
  }
  std::string_view body = view.body();
  DialogInfoView info;
  for (int count = 0; count < kMaxDialogs && NextDialogInfo(&body, &info); ++count) {
    const std::size_t size = info.call_id.size() + info.local_tag.size() + info.remote_tag.size();
    const auto holds_separator = [](std::string_view text) {
      return text.find('\x01') != text.npos;
    };
    if (size > kMaxValue || holds_separator(info.call_id) || holds_separator(info.local_tag) ||
        holds_separator(info.remote_tag)) {
      continue;
    }
    std::string text(info.call_id);
    for (const std::string_view tag : {info.local_tag, info.remote_tag}) {
      text += '\x01';
      text += tag;
    }
    for (const std::uint32_t cseq : {info.local_cseq, info.remote_cseq}) {
      text += '\x01';
      text += std::to_string(cseq);
    }
    Add(Note::kDialogInfo, text, out);
  }
}

// Without a comma and a second row there is one.
bool NamesSeveralContacts(const MessageView& view) {
  int rows = 0;
  bool comma = false;
  view.ForEach(HeaderId::kContact, [&](std::string_view list) {
    ++rows;
    comma = comma || list.find(',') != list.npos;
  });
  if (rows < 2 && !comma) return false;
  int count = 0;
  view.ForEach(HeaderId::kContact, [&count](std::string_view list) {
    NameAddrView contact;
    while (count < 2 && NextNameAddr(&list, &contact) == ListStep::kValue) ++count;
  });
  return count > 1;
}

void ReadAlternatives(const MessageView& view, std::string* out) {
  int count = 0;
  view.ForEach(HeaderId::kContact, [&](std::string_view list) {
    NameAddrView contact;
    while (count < kMaxAlternatives && NextNameAddr(&list, &contact) == ListStep::kValue) {
      if (!UriView::Parse(contact.uri)) continue;
      ++count;
      Add(Note::kAlternative, contact.uri, out);
    }
  });
}

}  // namespace

void ReadNotes(const MessageView& view, std::string* out) {
  const Method method = view.method();
  const bool subscription = method == Method::kSubscribe || method == Method::kNotify;
  if (subscription || method == Method::kRefer) {
    AddIfThere(view, HeaderId::kEvent, Note::kEvent, out);
    AddIfThere(view, HeaderId::kSubscriptionState, Note::kSubscriptionState, out);
    AddIfThere(view, HeaderId::kExpires, Note::kExpires, out);
    if (EqualsIgnoreCase(view.Get(HeaderId::kReferSub).substr(0, 5), "false")) {
      Add(Note::kNoReferSub, "", out);
    }
  }
  if (method == Method::kInvite || method == Method::kUpdate) {
    if (SupportsFromChange(view)) Add(Note::kFromChange, "", out);
    if (view.status() < 300 && NamesSeveralContacts(view)) Add(Note::kSeveralContacts, "", out);
  }
  if (view.Has(HeaderId::kMinSe)) {
    const std::string_view seconds = view.Get(HeaderId::kMinSe);
    Add(Note::kMinInterval, TrimLws(seconds.substr(0, seconds.find(';'))), out);
  }
  if (view.is_request()) {
    if (method == Method::kNotify) ReadDialogInfo(view, out);
    if (method == Method::kInvite) ReadLinks(view, out);
    if (method == Method::kPrack) {
      const std::string_view rack = view.Get(HeaderId::kRack);
      Add(Note::kRack, rack.substr(0, rack.find_first_of(" \t")), out);
    }
    AddNonces(view, HeaderId::kAuthorization, Note::kNonceUsed, out);
    AddNonces(view, HeaderId::kProxyAuthorization, Note::kNonceUsed, out);
    return;
  }
  if (view.status() == 401 || view.status() == 407) {
    AddNonces(view, HeaderId::kWwwAuthenticate, Note::kNonceIssued, out);
    AddNonces(view, HeaderId::kProxyAuthenticate, Note::kNonceIssued, out);
  }
  if (view.status() / 100 == 3) ReadAlternatives(view, out);
}

bool NextNote(std::string_view* notes, Note* key, std::string_view* value) {
  const std::size_t end = notes->find('\n');
  if (notes->empty() || end == notes->npos) return false;
  *key = static_cast<Note>(notes->front());
  *value = notes->substr(1, end - 1);
  notes->remove_prefix(end + 1);
  return true;
}

bool HasNote(std::string_view notes, Note key) {
  Note found;
  std::string_view value;
  while (NextNote(&notes, &found, &value)) {
    if (found == key) return true;
  }
  return false;
}

std::string_view FindNote(std::string_view notes, Note key) {
  Note found;
  std::string_view value;
  while (NextNote(&notes, &found, &value)) {
    if (found == key) return value;
  }
  return {};
}

}  // namespace sipheal::inline v0_1::sip
